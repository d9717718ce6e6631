//! The annotations of this node's pods, from the first look at them until the agent ends.

use std::time::Duration;

use culvert::{
    announce::{Announcer, Trouble},
    cluster::Cluster,
    enroll::{HEARSAY, Standing},
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::warn;

use crate::cli::AgentOptions;

/// How long the end of an agent waits until its peers are told: the API server may be away.
const PATIENCE: Duration = Duration::from_secs(3);

/// What tells the cluster of captured pods, where there is an API server.
#[derive(Default)]
pub(super) struct Announcement {
    announcer: Option<Announcer>,
    trouble: Option<watch::Receiver<Trouble>>,
    running: Option<JoinHandle<()>>,
}

impl Announcement {
    /// One that says nothing yet.
    pub(super) fn new(client: Option<kube::Client>, options: &AgentOptions, cluster: &Cluster) -> Self {
        let announcer = client.map(|client| Announcer::new(client, options.node.clone(), cluster.clone()));
        let trouble = announcer.as_ref().map(Announcer::trouble);
        Self { announcer, trouble, running: None }
    }

    /// Tells of what stands from now on, until nobody is left to tell of it.
    pub(super) fn begin(&mut self, standing: watch::Receiver<Standing>) {
        self.running = self.announcer.take().map(|announcer| tokio::spawn(announcer.run(standing)));
    }

    /// What hinders it.
    pub(super) fn trouble(&self) -> Trouble {
        self.trouble.as_ref().and_then(|trouble| trouble.borrow().clone())
    }

    /// Waits until all is taken away and peers have heard of it; what stands must be over.
    pub(super) async fn end(self) {
        let Some(running) = self.running else { return };
        if timeout(PATIENCE, running).await.is_err() {
            warn!("pods are still announced: the API server does not take it back");
        }
        sleep(HEARSAY).await;
    }
}
