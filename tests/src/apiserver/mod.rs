//! A Kubernetes API server in the process of the test: the real protocol over real sockets, and faults on demand.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use culvert_testbed::apiserver::{ApiServer, Failure, TokenSpec, Verb};
//! use serde_json::json;
//!
//! let server = ApiServer::start()?;
//! server.apply(&json!({
//!     "apiVersion": "v1", "kind": "ConfigMap",
//!     "metadata": { "namespace": "default", "name": "settings" }, "data": { "colour": "red" },
//! }))?;
//! let token = server.issue_token(&TokenSpec::new("default", "robot"))?;
//! let directory = tempfile::tempdir()?;
//! let kubeconfig = server.kubeconfig(directory.path(), server.address(), &token)?;
//! // ... a client begins, and then:
//! server.wait_for_request(|it| it.verb == Verb::Watch && it.resource == "configmaps")?;
//! server.fail_next(3, "configmaps", Failure::TooManyRequests(1));
//! server.drop_watches("configmaps");
//! server.edit("configmaps", "default", "settings", |it| it["data"]["colour"] = "blue".into())?;
//! # drop(kubeconfig); Ok(()) }
//! ```
//!
//! Resources are named by their plural (`pods`, `peerauthentications`); the namespace of what lives in none is empty.
//! The namespaces `default` and `kube-system` are there from the start. Everybody who has a token may do everything
//! until [`ApiServer::enforce_rbac`]. Nothing that the test itself does is logged or refused.
//!
//! It is not a cluster: nothing schedules, no controller runs, what is deleted goes at once (with a namespace, all
//! that is in it), and defaults are not filled in.

mod access;
mod applied;
mod clock;
mod connection;
mod discovery;
mod faults;
mod files;
mod handler;
mod list;
mod log;
mod objects;
mod patch;
mod resources;
mod route;
mod selector;
mod shared;
mod status;
mod store;
mod stored;
mod tls;
mod tokens;
mod watch;
mod write;

pub use faults::{Failure, Hold, Pace, Target};
pub use log::LoggedRequest;
pub use objects::ObjectId;
pub use route::Verb;
pub use tokens::TokenSpec;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context;
use serde_json::json;
use tokio::{
    runtime::{Builder, Handle},
    sync::{oneshot, watch as channel},
};

use crate::Place;
use connection::{Door, Entrance};
use shared::Shared;
use tls::Authority;

/// An API server that runs; it ends when its last clone is dropped.
#[derive(Clone)]
pub struct ApiServer {
    shared: Arc<Shared>,
    authority: Arc<Authority>,
    listeners: Arc<Mutex<Vec<Arc<Entrance>>>>,
    address: SocketAddr,
    running: Arc<Running>,
}

/// The thread of the server's own runtime.
struct Running {
    handle: Handle,
    door: channel::Sender<Door>,
    /// Dropped, it ends the thread.
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ApiServer {
    /// Starts a server that listens on a port of its own on 127.0.0.1.
    pub fn start() -> anyhow::Result<Self> {
        let running = Running::start().context("no thread for the API server")?;
        let listener = connection::listen_locally().context("no port for the API server")?;
        let server = Self {
            shared: Arc::new(Shared::new()?),
            authority: Arc::new(Authority::new()?),
            listeners: Arc::default(),
            address: listener.local_addr()?,
            running: Arc::new(running),
        };
        for name in ["default", "kube-system"] {
            let metadata = json!({ "name": name });
            server.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata }))?;
        }
        server.serve_on(listener)?;
        Ok(server)
    }

    /// Where it listens, in the namespace that it was started in.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens in the namespace of a node or pod, too, at an address with a port.
    pub fn serve_in(&self, place: &Place, address: SocketAddr) -> anyhow::Result<()> {
        let listener = place.listen(address).with_context(|| format!("{address} cannot be listened at"))?;
        self.serve_on(listener)
    }

    /// Goes away: nobody listens any more, and all connections are cut.
    pub fn go_away(&self) -> io::Result<()> {
        self.running.door.send_modify(Door::close);
        self.entrances().iter().try_for_each(|it| it.close())
    }

    /// Comes back after it [went away](Self::go_away), at the same addresses.
    pub fn come_back(&self) -> io::Result<()> {
        self.entrances().iter().try_for_each(|it| it.open())?;
        self.running.door.send_modify(Door::open);
        Ok(())
    }

    /// Sets how far the server's clock is ahead of the machine's, in seconds; less than zero is behind.
    pub fn set_clock_ahead(&self, seconds: i64) {
        self.shared.clock.set_ahead(seconds);
    }

    /// Sets how often new watches send bookmarks; a minute at first.
    pub fn set_bookmark_interval(&self, interval: Duration) {
        self.shared.set_bookmark_interval(interval);
    }

    /// Says whether a watch from a version that is gone fails with the status 410 of HTTP, as it may behind an
    /// aggregation layer, or begins with an event that says so, as it usually does.
    pub fn fail_gone_watches_at_once(&self, at_once: bool) {
        self.shared.gone_as_status.store(at_once, Ordering::Relaxed);
    }

    fn serve_on(&self, listener: TcpListener) -> anyhow::Result<()> {
        let tls = self.authority.server(listener.local_addr()?.ip())?;
        let entrance = Arc::new(Entrance { listener, tls });
        self.entrances().push(Arc::clone(&entrance));
        let serving = entrance.serve(Arc::clone(&self.shared), self.running.door.subscribe());
        self.running.handle.spawn(serving);
        Ok(())
    }

    fn entrances(&self) -> MutexGuard<'_, Vec<Arc<Entrance>>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        let thread = thread::Builder::new().name("api-server".to_owned()).spawn(move || {
            // An end that is dropped is an end as well.
            let _ = runtime.block_on(ended);
        })?;
        let door = channel::Sender::new(Door::new());
        Ok(Self { handle, door, end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.end.take());
        // A runtime that panicked has told so.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
