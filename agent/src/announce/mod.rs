//! The agent's word on each pod of its node that is captured: the annotation `culvert.io/captured`, by which the
//! other agents go. It is written when a pod's capture stands, and taken away when it does not.

mod patch;
mod plan;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt as _};
use kube::Client;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use self::plan::{Outcome, Patch, Plan};
use crate::{
    cluster::{Announcement, Cluster},
    enroll::Standing,
};

/// How long changes of the cluster are gathered before a look at them: few are of this node's pods.
const TOGETHER: Duration = Duration::from_millis(20);

/// What hinders the agent in telling of its pods; none when nothing does.
pub type Trouble = Option<String>;

/// Keeps the annotations of a node's pods as their captures stand.
pub struct Announcer {
    client: Client,
    node: String,
    cluster: Cluster,
    plan: Plan,
    trouble: watch::Sender<Trouble>,
}

impl Announcer {
    /// For the pods of `node`, as `spec.nodeName` has it. What is written on them is learned from `cluster`.
    pub fn new(client: Client, node: String, cluster: Cluster) -> Self {
        Self { client, node, cluster, plan: Plan::default(), trouble: watch::Sender::default() }
    }

    /// What hinders it, as it changes.
    pub fn trouble(&self) -> watch::Receiver<Trouble> {
        self.trouble.subscribe()
    }

    /// Follows what stands, until nobody is left to tell of it. Then it takes everything away and ends, which takes as
    /// long as the API server does: give it a deadline.
    ///
    /// Begin after a first look at all pods, or what an earlier agent wrote is taken away and written anew.
    pub async fn run(mut self, mut standing: watch::Receiver<Standing>) {
        let mut changes = self.cluster.changed();
        let mut patches = FuturesUnordered::new();
        let mut is_ending = false;
        loop {
            changes.borrow_and_update();
            let written = self.written();
            let stands = if is_ending { Standing::new() } else { standing.borrow_and_update().clone() };
            if is_ending && self.plan.is_withdrawn(&written) {
                return;
            }
            for patch in self.plan.begin(&stands, &written, Instant::now()) {
                patches.push(ask(self.client.clone(), patch));
            }
            let again = until(self.plan.next());
            tokio::select! {
                Some((patch, outcome, said)) = patches.next() => self.ended(patch, &outcome, said),
                stood = standing.changed(), if !is_ending => is_ending = stood.is_err(),
                Ok(()) = changes.changed() => tokio::time::sleep(TOGETHER).await,
                () = again => {}
            }
        }
    }

    fn written(&self) -> Vec<Announcement> {
        self.cluster.read().announcements(&self.node).collect()
    }

    fn ended(&mut self, patch: Patch, outcome: &Outcome, said: Option<String>) {
        let said = said.unwrap_or_default();
        debug!(pod = %patch.id.pod, captured = patch.captured, ?outcome, said, "annotation");
        match outcome {
            Outcome::Written => self.tell(None),
            Outcome::Gone => {}
            Outcome::Refused => self.tell(Some(format!(
                "the API server refuses the annotation of pods, so peers do not know of them: {said}; grant the agent `patch` on `pods/status`"
            ))),
            Outcome::Away(_) => {
                self.tell(Some(format!("pods cannot be annotated, peers learn of them later: {said}")));
            }
        }
        self.plan.ended(patch, outcome, Instant::now(), rand::random());
    }

    /// A person is told when it begins and when it is over.
    fn tell(&self, trouble: Trouble) {
        let before = self.trouble.send_replace(trouble.clone());
        match (before, trouble) {
            (None, Some(trouble)) => warn!(trouble, "captured pods are not announced"),
            (Some(_), None) => info!("captured pods are announced again"),
            _ => {}
        }
    }
}

async fn ask(client: Client, patch: Patch) -> (Patch, Outcome, Option<String>) {
    let (outcome, said) = patch::apply(client, &patch).await;
    (patch, outcome, said)
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
