//! Two nodes with a pod each.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener},
    path::PathBuf,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use culvert_policy::{PeerStatus, Reason, SpiffeId, Transport};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{mpsc, watch},
    time::timeout,
};

use super::super::{Clients, Decide, Kernel, Pod, Threads, Workers, listen};
use crate::{
    cluster::{Admission, PodRef, Route, Verdict},
    identity::{Authority, Identities, Originator, SystemClock, Workload},
    netns::Netns,
    observe::{AccessLog, Direction, Line, Observer, Record},
};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

const THREADS: Threads = Threads { count: 1, busy_poll: Duration::from_micros(100) };

pub(in crate::tunnel) async fn soon<F: Future>(what: F) -> F::Output {
    timeout(PATIENCE, what).await.expect("it happens in time")
}

/// Lets this process open as many files as it may.
pub(super) fn many_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

pub(in crate::tunnel) fn id(service_account: &str) -> SpiffeId {
    SpiffeId::new("cluster.local", "full", service_account)
}

pub(super) fn pod(name: &str) -> PodRef {
    PodRef { namespace: "full".into(), name: name.into() }
}

/// Of a connection of `sleep`.
pub(in crate::tunnel) fn record(source: SocketAddr) -> Rc<Record> {
    Rc::new(Record::new(Arc::new(AccessLog), Direction::Outbound, pod("sleep"), source))
}

pub(in crate::tunnel) fn identities() -> Identities {
    Identities::new(Authority::in_memory("cluster.local").unwrap(), Duration::from_hours(1))
}

/// `sleep` on one node, `httpbin` on another, and what their agents saw.
pub(super) struct Mesh {
    pub(super) client: Node,
    pub(super) server: Node,
    pub(super) identities: Identities,
    pub(super) hbone: SocketAddr,
}

impl Mesh {
    pub(super) fn new() -> Self {
        Self::between(Ipv4Addr::new(127, 0, 0, 2).into(), Ipv4Addr::new(127, 0, 0, 3).into())
    }

    pub(super) fn between(client: IpAddr, server: IpAddr) -> Self {
        let identities = identities();
        Self::with(client, server, &identities.clone(), identities)
    }

    /// `clients` issues the certificate of `sleep`.
    pub(super) fn with(client: IpAddr, server: IpAddr, clients: &Identities, servers: Identities) -> Self {
        let inbound = listener(server, Clients::Peers);
        let hbone = inbound.local_addr().unwrap();
        let sleep = Node::new("sleep", clients.ready_workload(&id("sleep")), client, None, hbone.port());
        let workload = servers.ready_workload(&id("httpbin"));
        let httpbin = Node::new("httpbin", workload, server, Some(inbound), hbone.port());
        Self { client: sleep, server: httpbin, identities: servers, hbone }
    }

    /// A server application.
    pub(super) async fn app(&self) -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((self.server.address, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// An application of `sleep` connects to `to`, as the kernel's programs would have it.
    pub(super) async fn connect(&self, to: SocketAddr) -> TcpStream {
        self.connect_by(Verdict::Hbone(id("httpbin")), to).await
    }

    pub(super) async fn connect_by(&self, verdict: Verdict, to: SocketAddr) -> TcpStream {
        self.route(verdict, to);
        self.client.capture(to).await.unwrap()
    }

    fn route(&self, verdict: Verdict, to: SocketAddr) {
        let route = Route {
            endpoint: to,
            peer: Some(pod("httpbin")),
            status: PeerStatus::Hbone,
            verdict,
            reason: Reason::PeerHbone,
        };
        self.client.world.routes.lock().unwrap().insert(to, route);
    }

    /// That the connection of an application of `sleep` is reset, at once or a little later.
    pub(super) async fn refuses(&self, verdict: Verdict, to: SocketAddr) {
        self.route(verdict, to);
        self.client.refuses(to).await;
    }

    /// Both ends of a connection over a tunnel.
    pub(super) async fn pair(&self) -> (TcpStream, TcpStream) {
        let (listener, address) = self.app().await;
        let client = self.connect(address).await;
        let (server, _) = soon(listener.accept()).await.unwrap();
        (client, server)
    }
}

/// An agent with one pod.
pub(super) struct Node {
    pub(super) world: Arc<World>,
    pub(super) workers: Workers,
    address: IpAddr,
    listener: SocketAddr,
    lines: tokio::sync::Mutex<mpsc::UnboundedReceiver<Line>>,
}

impl Node {
    fn new(
        name: &str,
        workload: Arc<Workload>,
        address: IpAddr,
        inbound: Option<StdListener>,
        hbone_port: u16,
    ) -> Self {
        let (report, lines) = mpsc::unbounded_channel();
        let world = Arc::new(World::default());
        let outbound = listener(address, Clients::Applications);
        let listener = outbound.local_addr().unwrap();
        let kernel = Arc::clone(&world);
        let decide: Arc<dyn Decide> = Arc::new(Played(Arc::clone(&world)));
        let observer: Arc<dyn Observer> = Arc::new(Reporter(report));
        let originator = Originator::new(PathBuf::new(), Arc::new(SystemClock));
        let open = move || Ok(Played(Arc::clone(&kernel)));
        let workers = Workers::start(THREADS, decide, observer, originator, open).unwrap();
        workers.add(Pod {
            pod: pod(name),
            netns: Netns::current().unwrap(),
            workload,
            addresses: vec![address],
            outbound: vec![outbound],
            inbound: inbound.into_iter().collect(),
            steered: Vec::new(),
            hbone_port,
        });
        Self { world, workers, address, listener, lines: lines.into() }
    }

    /// What the kernel does with a connection of the pod's application.
    async fn capture(&self, origin: SocketAddr) -> io::Result<TcpStream> {
        let socket = if origin.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
        socket.bind(SocketAddr::new(self.address, 0)).unwrap();
        let source = socket.local_addr().unwrap();
        self.world.origins.lock().unwrap().insert(source, origin);
        soon(socket.connect(self.listener)).await
    }

    /// That a connection of the pod's application is reset, at once or a little later.
    pub(super) async fn refuses(&self, origin: SocketAddr) {
        refused(self.capture(origin).await).await;
    }

    /// That a connection to the pod's listener is reset, of which the kernel knows nothing.
    pub(super) async fn refuses_strangers(&self) {
        refused(soon(TcpStream::connect(self.listener)).await).await;
    }

    /// The record of the next connection that ends.
    pub(super) async fn line(&self) -> Line {
        soon(async { self.lines.lock().await.recv().await.unwrap() }).await
    }

    /// That there is no record that nobody has asked for.
    pub(super) async fn no_more_lines(&self) {
        assert!(self.lines.lock().await.try_recv().is_err());
    }
}

fn listener(address: IpAddr, clients: Clients) -> StdListener {
    let address = SocketAddr::new(address, 0);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&address.into()).unwrap();
    listen(socket, clients).unwrap()
}

/// What the kernel and the cluster know on one node.
pub(super) struct World {
    origins: Mutex<HashMap<SocketAddr, SocketAddr>>,
    /// The clients that applications see, by the agent's sockets.
    pub(super) clients: Mutex<HashMap<SocketAddr, SocketAddr>>,
    pub(super) announced: AtomicUsize,
    routes: Mutex<HashMap<SocketAddr, Route>>,
    pub(super) admission: watch::Sender<Admission>,
    changed: watch::Sender<u64>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            origins: Mutex::default(),
            clients: Mutex::default(),
            announced: AtomicUsize::default(),
            routes: Mutex::default(),
            admission: watch::Sender::new(Ok(Reason::PeerHbone)),
            changed: watch::Sender::new(0),
        }
    }
}

impl World {
    /// From now on the pod's application accepts HBONE, or does not.
    pub(super) fn admit(&self, admission: Admission) {
        let _ = self.admission.send_replace(admission);
        self.changed.send_modify(|generation| *generation += 1);
    }
}

struct Played(Arc<World>);

impl Kernel for Played {
    fn take_origin(&self, _netns: u64, source: SocketAddr) -> Option<SocketAddr> {
        self.0.origins.lock().unwrap().remove(&source)
    }

    fn announce_client(&self, _netns: u64, agent: SocketAddr, client: SocketAddr) -> io::Result<bool> {
        self.0.announced.fetch_add(1, Ordering::Relaxed);
        let before = self.0.clients.lock().unwrap().insert(agent, client);
        Ok(before.is_some())
    }

    fn withdraw_client(&self, _netns: u64, agent: SocketAddr) {
        let before = self.0.clients.lock().unwrap().remove(&agent);
        assert!(before.is_some(), "{agent} was not announced");
    }
}

impl Decide for Played {
    fn route(&self, _client: &PodRef, origin: SocketAddr, _turn: usize) -> Route {
        self.0.routes.lock().unwrap()[&origin].clone()
    }

    fn admit(&self, _server: &PodRef, _by: Transport, _port: u16) -> Admission {
        *self.0.admission.borrow()
    }

    fn pod_at(&self, address: IpAddr) -> Option<PodRef> {
        (address == IpAddr::from([127, 0, 0, 2])).then(|| pod("sleep"))
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }
}

struct Reporter(mpsc::UnboundedSender<Line>);

impl Observer for Reporter {
    fn ended(&self, line: &Line) {
        // A test that has seen enough does not wait for the rest.
        let _ = self.0.send(line.clone());
    }
}

/// Sends on whatever comes, and ends when the other side has.
pub(super) async fn echo(mut stream: TcpStream) {
    let (mut read, mut write) = stream.split();
    tokio::io::copy(&mut read, &mut write).await.unwrap();
    write.shutdown().await.unwrap();
}

/// One round trip.
pub(super) async fn ping(client: &mut TcpStream, server: &mut TcpStream) {
    pass(client, server).await;
    pass(server, client).await;
}

async fn pass(from: &mut TcpStream, to: &mut TcpStream) {
    let mut buffer = [0; 4];
    soon(from.write_all(b"ping")).await.unwrap();
    soon(to.read_exact(&mut buffer)).await.unwrap();
    assert_eq!(&buffer, b"ping");
}

/// That this connection is reset, whatever was read before.
pub(super) async fn reset(stream: &mut TcpStream) {
    let error = soon(stream.read_to_end(&mut Vec::new())).await.expect_err("a RST, not an end");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

async fn refused(connected: io::Result<TcpStream>) {
    match connected {
        Ok(mut stream) => reset(&mut stream).await,
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
}

/// Breaks a connection off.
pub(in crate::tunnel) fn abort(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}

/// The direction, outcome and reason of a record.
pub(super) fn gist(line: &Line) -> (Direction, &'static str, Reason) {
    (line.direction, line.outcome.as_str(), line.reason)
}
