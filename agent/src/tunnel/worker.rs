//! One worker: a thread that serves some of the pods.

use std::{collections::HashMap, pin::pin, rc::Rc, time::Duration};

use futures::future::join_all;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::spawn_local,
    time::{Instant, interval, timeout_at},
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
    let mut worker = Worker { context: Rc::new(context), pods: HashMap::new() };
    let mut pulse = interval(PULSE);
    loop {
        tokio::select! {
            _ = pulse.tick() => {}
            command = commands.recv() => match command {
                Some(Command::Add(pod)) => worker.add(pod),
                Some(Command::Remove(pod, done)) => worker.remove(&pod, done),
                Some(Command::Drain(within, done)) => {
                    let left = worker.drain(Instant::now() + within, &mut changed).await;
                    // Whoever asked may have gone.
                    let _ = done.send(left);
                    return;
                }
                None => return,
            },
            Ok(()) = changed.changed() => worker.recheck(),
        }
    }
}

/// A timer that comes before all others makes tokio wake its own thread by a system call. With one that always comes
/// sooner, the patience that each new connection is met with costs none.
const PULSE: Duration = Duration::from_secs(5);

struct Worker {
    context: Rc<Context>,
    pods: HashMap<PodRef, Rc<Enrolled>>,
}

impl Worker {
    fn add(&mut self, pod: Pod) {
        let name = pod.pod.clone();
        if let Some(before) = self.pods.remove(&name) {
            cut(before, None);
        }
        match Enrolled::start(pod, Rc::clone(&self.context)) {
            Ok(enrolled) => {
                self.pods.insert(name, enrolled);
            }
            Err(error) => tracing::error!(pod = %name, %error, "the pod's listeners cannot be served"),
        }
    }

    fn remove(&mut self, pod: &PodRef, done: oneshot::Sender<()>) {
        if let Some(enrolled) = self.pods.remove(pod) {
            cut(enrolled, Some(done));
        }
    }

    fn recheck(&self) {
        for enrolled in self.pods.values() {
            enrolled.recheck();
        }
    }

    /// Policy is followed until the end.
    async fn drain(&mut self, deadline: Instant, changed: &mut watch::Receiver<u64>) -> usize {
        join_all(self.pods.values().map(|enrolled| enrolled.drain())).await;
        let emptied = join_all(self.pods.values().map(|enrolled| enrolled.connections.emptied()));
        let mut emptied = pin!(timeout_at(deadline, emptied));
        loop {
            tokio::select! {
                // Those that are left at the deadline are counted below.
                _ = &mut emptied => break,
                Ok(()) = changed.changed() => self.recheck(),
            }
        }
        join_all(self.pods.values().map(|enrolled| enrolled.cut())).await.into_iter().sum()
    }
}

/// In a task of its own: a peer that is slow to part must not keep the other pods waiting.
fn cut(enrolled: Rc<Enrolled>, done: Option<oneshot::Sender<()>>) {
    spawn_local(async move {
        enrolled.cut().await;
        // Whoever waited may have gone.
        let _ = done.map(|done| done.send(()));
    });
}
