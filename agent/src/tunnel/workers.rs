//! The workers, as the rest of the agent commands them.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use tokio::{
    runtime::{Builder, LocalOptions, LocalRuntime},
    sync::{mpsc, oneshot},
};

use super::{
    Decide, Kernel, Pod, busy_poll,
    enrolled::Context,
    worker::{self, Command},
};
use crate::{cluster::PodRef, identity::Originator, observe::Observer};

/// The threads that carry connections. A pod belongs to one of them.
pub struct Workers {
    workers: Vec<mpsc::UnboundedSender<Command>>,
    placement: Mutex<HashMap<PodRef, usize>>,
}

/// What the threads are to be.
#[derive(Clone, Copy, Debug)]
pub struct Threads {
    /// How many; at least one.
    pub count: usize,
    /// For how long each may look for what comes next before it sleeps; zero for not at all.
    pub busy_poll: Duration,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut at the deadline.
    pub cut: usize,
}

impl Workers {
    /// Starts the threads. Each makes its own view of the kernel's maps, by `kernel`. TLS to servers outside the
    /// mesh is by `originator`.
    pub fn start<K: Kernel>(
        threads: Threads,
        decide: Arc<dyn Decide>,
        observer: Arc<dyn Observer>,
        originator: Originator,
        kernel: impl Fn() -> io::Result<K> + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let originator = Arc::new(originator);
        let start = move |index| {
            let (decide, observer, kernel) = (Arc::clone(&decide), Arc::clone(&observer), kernel.clone());
            let originator = Arc::clone(&originator);
            let context = move || Ok(Context { kernel: Box::new(kernel()?), decide, observer, originator });
            spawn(index, threads.busy_poll, context)
        };
        let workers = (0..threads.count.max(1)).map(start).collect::<io::Result<_>>()?;
        Ok(Self { workers, placement: Mutex::default() })
    }

    /// Serves a pod from now on, in place of what was served under its name.
    pub fn add(&self, pod: Pod) {
        let index = self.place(&pod.pod);
        self.command(index, Command::Add(pod));
    }

    /// Stops accepting connections of a pod and cuts those there are; done when they are gone.
    pub async fn remove(&self, pod: &PodRef) {
        let Some(index) = self.placed(|placement| placement.remove(pod)) else {
            return;
        };
        let (done, removed) = oneshot::channel();
        self.command(index, Command::Remove(pod.clone(), done));
        // Fails only when the worker is gone, and the pod with it.
        let _ = removed.await;
    }

    /// Stops accepting everywhere, lets connections end until the deadline, and cuts the rest.
    pub async fn drain(self, deadline: Duration) -> Drained {
        let draining: Vec<_> = (0..self.workers.len())
            .map(|index| {
                let (done, drained) = oneshot::channel();
                self.command(index, Command::Drain(deadline, done));
                drained
            })
            .collect();
        let mut cut = 0;
        for drained in draining {
            cut += drained.await.unwrap_or(0);
        }
        Drained { cut }
    }

    /// The worker of a pod: the one it has, or the one with the fewest pods.
    fn place(&self, pod: &PodRef) -> usize {
        self.placed(|placement| {
            let pods_of = |index: &usize| placement.values().filter(|placed| *placed == index).count();
            let freest = (0..self.workers.len()).min_by_key(pods_of).unwrap_or(0);
            *placement.entry(pod.clone()).or_insert(freest)
        })
    }

    fn placed<R>(&self, act: impl FnOnce(&mut HashMap<PodRef, usize>) -> R) -> R {
        act(&mut self.placement.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn command(&self, index: usize, command: Command) {
        if self.workers[index].send(command).is_err() {
            tracing::error!(worker = index, "the worker has ended");
        }
    }
}

/// Starts a thread, and waits until it has its context.
fn spawn(
    index: usize,
    busy_poll: Duration,
    context: impl FnOnce() -> io::Result<Context> + Send + 'static,
) -> io::Result<mpsc::UnboundedSender<Command>> {
    let (commands, receiver) = mpsc::unbounded_channel();
    let (ready, started) = std::sync::mpsc::channel();
    thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        match context().and_then(|context| Ok((context, runtime(busy_poll)?))) {
            Ok((context, runtime)) => {
                // The one who waits for it does so until it comes.
                let _ = ready.send(Ok(()));
                runtime.block_on(worker::run(context, receiver));
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        }
    })?;
    started.recv().map_err(|_| io::Error::other("the worker's thread ended while starting"))??;
    Ok(commands)
}

/// What a worker's thread runs.
pub(super) fn runtime(busy_poll: Duration) -> io::Result<LocalRuntime> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().on_thread_park(busy_poll::before_sleep);
    let runtime = builder.build_local(LocalOptions::default())?;
    if !busy_poll.is_zero() {
        runtime.spawn_local(busy_poll::poll_for(busy_poll));
    }
    Ok(runtime)
}
