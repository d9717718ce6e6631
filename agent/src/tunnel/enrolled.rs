//! One pod that is being served.

use std::{
    cell::Cell,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use culvert_policy::Transport;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    Decide, Kernel, Pod, application::Announcements, hbone::Pool, inbound, outbound, steered, stock::Stock,
    tasks::Tasks, time_wait::TimeWait,
};
use crate::{
    cluster::PodRef,
    identity::{Originator, Workload},
    observe::{Direction, Observer, Record},
};

/// What all pods of a worker share.
pub(super) struct Context {
    pub(super) kernel: Box<dyn Kernel>,
    pub(super) decide: Arc<dyn Decide>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) originator: Arc<Originator>,
}

/// One pod that is being served, on this thread alone.
pub(super) struct Enrolled {
    pub(super) pod: PodRef,
    pub(super) netns: Stock,
    pub(super) workload: Arc<Workload>,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) hbone_port: u16,
    pub(super) context: Rc<Context>,
    pub(super) pool: Pool,
    pub(super) connections: Tasks<Connection>,
    pub(super) tunnels: Tasks<()>,
    pub(super) handshakes: Rc<Cell<usize>>,
    pub(super) announcements: Announcements,
    pub(super) time_wait: Rc<TimeWait>,
    own_ports: Vec<u16>,
    turn: Cell<usize>,
    listeners: Tasks<()>,
    phase: watch::Sender<Phase>,
}

/// How far a pod is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is served.
    Serving,
    /// No new connections; those there are go on.
    Draining,
    /// There are no connections left, and tunnels close.
    Closing,
}

/// A connection of an application, as the pod's other tasks see it.
pub(super) struct Connection {
    pub(super) record: Rc<Record>,
    pub(super) admitted: Admitted,
}

/// By which transport, and to which port of the application, a client was let in; none for outbound, and before it is
/// known.
pub(super) type Admitted = Rc<Cell<Option<(Transport, u16)>>>;

impl Enrolled {
    /// Begins to serve a pod.
    pub(super) fn start(pod: Pod, context: Rc<Context>) -> io::Result<Rc<Self>> {
        let outbound = pod.outbound.into_iter().map(TcpListener::from_std).collect::<io::Result<Vec<_>>>()?;
        let inbound = pod.inbound.into_iter().map(TcpListener::from_std).collect::<io::Result<Vec<_>>>()?;
        let steered = pod.steered.into_iter().map(TcpListener::from_std).collect::<io::Result<Vec<_>>>()?;
        let own = outbound.iter().chain(&inbound).chain(&steered);
        let own_ports = own.map(port).collect::<io::Result<Vec<_>>>()?;
        let enrolled = Rc::new(Self {
            time_wait: TimeWait::new(pod.pod.clone(), pod.netns.clone(), &pod.addresses),
            pod: pod.pod,
            netns: Stock::new(pod.netns),
            workload: pod.workload,
            addresses: pod.addresses,
            hbone_port: pod.hbone_port,
            context,
            pool: Pool::default(),
            connections: Tasks::new(),
            tunnels: Tasks::new(),
            handshakes: Rc::default(),
            announcements: Announcements::default(),
            own_ports,
            turn: Cell::new(0),
            listeners: Tasks::new(),
            phase: watch::Sender::new(Phase::Serving),
        });
        enrolled.listen(outbound, outbound::accepted);
        enrolled.listen(inbound, inbound::accepted);
        enrolled.listen(steered, steered::accepted);
        Ok(enrolled)
    }

    fn listen(self: &Rc<Self>, listeners: Vec<TcpListener>, accepted: fn(&Rc<Self>, TcpStream, SocketAddr)) {
        for listener in listeners {
            self.listeners.spawn((), accept(Rc::clone(self), listener, accepted));
        }
    }

    /// A record for a connection that begins now.
    pub(super) fn record(&self, direction: Direction, source: SocketAddr) -> Rc<Record> {
        let observer = Arc::clone(&self.context.observer);
        Rc::new(Record::new(observer, direction, self.pod.clone(), source))
    }

    /// The address that peers are shown of an application's socket: the pod's own, also where the socket was bound to
    /// another one before it was captured, such as loopback.
    pub(super) fn shown(&self, source: SocketAddr) -> SocketAddr {
        let own = self.addresses.iter().find(|address| address.is_ipv4() == source.is_ipv4());
        SocketAddr::new(own.copied().unwrap_or(source.ip()), source.port())
    }

    /// Which endpoint is the next one's turn.
    pub(super) fn next_turn(&self) -> usize {
        self.turn.replace(self.turn.get().wrapping_add(1))
    }

    /// Whether a port is one that the agent itself listens on in the pod.
    pub(super) fn is_own_port(&self, port: u16) -> bool {
        port == self.hbone_port || self.own_ports.contains(&port)
    }

    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Ends those inbound connections that policy no longer admits.
    pub(super) fn recheck(&self) {
        let admit = |(by, port)| self.context.decide.admit(&self.pod, by, port);
        self.connections.abort_if(|connection| {
            let Some(Err(reason)) = connection.admitted.get().map(admit) else { return false };
            connection.record.ended(reason, "policy changed");
            true
        });
    }

    /// Stops accepting, and asks peers to open no more streams.
    pub(super) async fn drain(&self) {
        self.listeners.cut().await;
        self.phase.send_replace(Phase::Draining);
    }

    /// Ends what is left; how many connections that were.
    pub(super) async fn cut(&self) -> usize {
        self.listeners.cut().await;
        let left = self.connections.cut().await;
        self.phase.send_replace(Phase::Closing);
        // A peer that does not take its last frames is left.
        let _ = timeout(GOODBYE, self.tunnels.emptied()).await;
        self.tunnels.cut().await;
        left
    }
}

/// How long the last frames of a tunnel may take.
const GOODBYE: Duration = Duration::from_secs(1);

fn port(listener: &TcpListener) -> io::Result<u16> {
    listener.local_addr().map(|address| address.port())
}

/// Handshakes at once in one pod, so that strangers cannot take all of its memory.
pub(super) const HANDSHAKES: usize = 1024;

async fn accept(
    enrolled: Rc<Enrolled>,
    listener: TcpListener,
    accepted: fn(&Rc<Enrolled>, TcpStream, SocketAddr),
) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => accepted(&enrolled, stream, canonical(from)),
            Err(error) => {
                tracing::warn!(pod = %enrolled.pod, %error, "accepting failed; raise the limit of open files");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Descriptors come free as connections end.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// An IPv4 client of an IPv6 socket has a mapped address.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Takes a place among a few, until dropped.
pub(super) struct Place(Rc<Cell<usize>>);

impl Place {
    pub(super) fn take(taken: &Rc<Cell<usize>>, places: usize) -> Option<Self> {
        (taken.get() < places).then(|| {
            taken.set(taken.get() + 1);
            Self(Rc::clone(taken))
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
