//! One worker: a thread that serves some of the pods.

use std::{collections::HashMap, rc::Rc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use super::{
    Pod,
    enrolled::{Context, Enrolled},
};
use crate::cluster::PodRef;

/// What a worker can be told.
pub(super) enum Command {
    Add(Pod),
    Remove(PodRef, oneshot::Sender<()>),
    /// Ends everything; the answer is the number of connections that were cut.
    Drain(Duration, oneshot::Sender<usize>),
}

/// Runs a worker until it is drained, or nobody is left to command it.
pub(super) async fn run(context: Context, mut commands: mpsc::UnboundedReceiver<Command>) {
    let mut changed = context.decide.changed();
    let mut worker = Worker {
        context: Rc::new(context),
        pods: HashMap::new(),
    };
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Add(pod)) => worker.add(pod).await,
                Some(Command::Remove(pod, done)) => worker.remove(&pod, done),
                Some(Command::Drain(within, done)) => {
                    // Whoever asked may have gone.
                    let _ = done.send(worker.drain(Instant::now() + within).await);
                    return;
                }
                None => return,
            },
            Ok(()) = changed.changed() => worker.recheck(),
        }
    }
}

struct Worker {
    context: Rc<Context>,
    pods: HashMap<PodRef, Rc<Enrolled>>,
}

impl Worker {
    async fn add(&mut self, pod: Pod) {
        let name = pod.pod.clone();
        if let Some(before) = self.pods.remove(&name) {
            before.cut().await;
        }
        match Enrolled::start(pod, Rc::clone(&self.context)) {
            Ok(enrolled) => {
                self.pods.insert(name, enrolled);
            }
            Err(error) => tracing::error!(pod = %name, %error, "the pod's listeners cannot be served"),
        }
    }

    /// In a task of its own: a peer that is slow to part must not keep the other pods waiting.
    fn remove(&mut self, pod: &PodRef, done: oneshot::Sender<()>) {
        let Some(enrolled) = self.pods.remove(pod) else {
            return;
        };
        tokio::task::spawn_local(async move {
            enrolled.cut().await;
            // Whoever asked may have gone.
            let _ = done.send(());
        });
    }

    fn recheck(&self) {
        for enrolled in self.pods.values() {
            enrolled.recheck();
        }
    }

    async fn drain(&mut self, deadline: Instant) -> usize {
        for enrolled in self.pods.values() {
            enrolled.drain().await;
        }
        for enrolled in self.pods.values() {
            // Those that are left at the deadline are counted below.
            let _ = timeout_at(deadline, enrolled.connections.emptied()).await;
        }
        futures::future::join_all(self.pods.values().map(|enrolled| enrolled.cut()))
            .await
            .into_iter()
            .sum()
    }
}
