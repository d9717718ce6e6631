//! Policy that changes takes effect on what is open.
//!
//! The kernel asks for a port's mode when a connection begins, and what it lets pass it never sees again. So when a
//! pod's modes have changed, its open sockets are looked through, and those that would not be let in today are closed
//! (`SOCK_DESTROY`): both sides get a RST. What the agent carries, its workers end themselves.
//!
//! Only the server's side is judged. The client's rules choose how a connection is begun, and one that has begun goes on
//! as it is for as long as the server accepts it.

mod judge;

use std::{
    io,
    net::IpAddr,
    os::fd::OwnedFd,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use culvert_policy::{Reason, Transport};
use tracing::{debug, info, warn};

use self::judge::Server;
use crate::{
    cluster::{Cluster, PodRef},
    netns::Netns,
    observe::{Direction, Line, Observer, Outcome},
    sock_diag::{Diag, Socket},
};

/// Looks through pods' open sockets, on a thread of its own: the kernel takes milliseconds to list them.
#[derive(Debug)]
pub struct Enforcer(mpsc::Sender<Served>);

/// A pod that is looked through.
#[derive(Clone, Debug)]
pub struct Served {
    /// Its name.
    pub pod: PodRef,
    /// Where its sockets are.
    pub netns: Netns,
    /// The addresses that its policy holds for.
    pub addresses: Vec<IpAddr>,
}

impl Enforcer {
    /// Starts the thread; it ends with this value. `flows` is the kernel's map of what it remembers of sockets.
    pub fn start(cluster: Cluster, flows: OwnedFd, observer: Arc<dyn Observer>) -> io::Result<Self> {
        tell_limits(&flows);
        let (orders, received) = mpsc::channel();
        let work = Work { cluster, flows, observer };
        thread::Builder::new().name("enforcer".to_owned()).spawn(move || {
            for served in received {
                work.sweep(&served);
            }
        })?;
        Ok(Self(orders))
    }

    /// Closes what the pod does not accept any more. Call it once the kernel refuses new ones.
    pub fn sweep(&self, served: Served) {
        if self.0.send(served).is_err() {
            warn!("open connections are no longer judged: the thread for it has ended");
        }
    }
}

fn tell_limits(flows: &OwnedFd) {
    match can_close(flows) {
        Ok(true) => {}
        Ok(false) => warn!(
            "this kernel closes no connections (CONFIG_INET_DIAG_DESTROY is not set): plaintext ones that are open when \
             a port becomes STRICT go on until they end, and a pod may run out of ports at 470 short connections a second"
        ),
        Err(error) => warn!(
            %error,
            "this kernel does not list connections (is its module tcp_diag there?): plaintext ones that are open when a \
             port becomes STRICT go on until they end, and a pod may run out of ports at 470 short connections a second"
        ),
    }
}

/// A list comes first: where the module is missing, every connection seems not to exist.
fn can_close(flows: &OwnedFd) -> io::Result<bool> {
    let diag = Diag::open(&Netns::current()?)?;
    diag.sockets(flows)?;
    diag.can_destroy()
}

struct Work {
    cluster: Cluster,
    flows: OwnedFd,
    observer: Arc<dyn Observer>,
}

impl Work {
    fn sweep(&self, served: &Served) {
        match self.close_illegal(served) {
            Ok(0) => debug!(pod = %served.pod, "all that is open is legal"),
            Ok(closed) => {
                info!(pod = %served.pod, closed, "connections that policy no longer accepts were closed");
            }
            // It may just have ended.
            Err(error) => warn!(pod = %served.pod, %error, "its open connections cannot be judged"),
        }
    }

    fn close_illegal(&self, served: &Served) -> io::Result<usize> {
        if judge::accepts_all_plaintext(&self.cluster.read().port_modes(&served.pod)) {
            return Ok(0);
        }
        let diag = Diag::open(&served.netns)?;
        let sockets = diag.sockets(&self.flows)?;
        let (mut closed, mut failure) = (0, Ok(()));
        for (socket, reason) in self.illegal(served, &sockets) {
            match diag.destroy(socket) {
                Ok(true) => {
                    self.record(&served.pod, socket, reason);
                    closed += 1;
                }
                Ok(false) => {}
                // The others are closed all the same.
                Err(error) => failure = Err(error),
            }
        }
        failure.map(|()| closed)
    }

    /// The modes are those of now, not of when this was asked for: they may have changed back. A connection that is
    /// still being made may be a sidecar's, which the kernel steers to the agent.
    fn illegal<'a>(&self, served: &Served, sockets: &'a [Socket]) -> Vec<(&'a Socket, Reason)> {
        let pod = Server::new(&served.addresses, sockets);
        let index = self.cluster.read();
        let modes = index.port_modes(&served.pod);
        let is_steered = |socket: &Socket| socket.is_request() && index.is_sidecar(socket.remote.ip());
        let judged = sockets.iter().filter(|socket| !is_steered(socket));
        judged.filter_map(|socket| Some((socket, pod.judge(socket, &modes)?))).collect()
    }

    /// Of those whose beginning the kernel saw, it tells the end as well.
    fn record(&self, pod: &PodRef, socket: &Socket, reason: Reason) {
        if socket.flow.is_some() || socket.is_request() {
            return;
        }
        self.observer.ended(&Line {
            direction: Direction::Inbound,
            transport: Some(Transport::Plaintext),
            outcome: Outcome::of(reason),
            reason,
            source: socket.remote,
            destination: Some(socket.local),
            endpoint: None,
            pod: pod.clone(),
            peer_pod: self.cluster.read().pod_at(socket.remote.ip()),
            peer_identity: None,
            bytes_sent: 0,
            bytes_received: 0,
            duration: Duration::ZERO,
            detail: Some("policy changed; it was open before the pod was enrolled".to_owned()),
        });
    }
}
