//! Two nodes, an agent on each, and pods that talk to each other.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    process::{Command, Output},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use culvert_testbed::{Agent, AgentOptions, DEADLINE, Family, Machine, Node, Place, Pod, PodSpec};
use serde_json::Value;
use socket2::SockRef;

/// An enrolled client on one node, an enrolled server on the other, and a client that is not enrolled.
pub(crate) struct Cluster {
    pub(crate) client_agent: Agent,
    pub(crate) server_agent: Agent,
    /// `full/sleep`, on `a`.
    pub(crate) client: Pod,
    /// `full/httpbin`, on `b`, labelled `app: httpbin`.
    pub(crate) server: Pod,
    /// `legacy/sleep`, on `a`.
    pub(crate) legacy: Pod,
    pub(crate) a: Node,
    pub(crate) b: Node,
    pub(crate) machine: Machine,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        Self::with(&[], &AgentOptions::default())
    }

    /// Agents that find these manifests when they start, beside those of the pods.
    pub(crate) fn with(manifests: &[&str], options: &AgentOptions) -> Self {
        Self::with_each(manifests, [options, options])
    }

    /// The same with flags of its own for each agent: the client's, then the server's.
    pub(crate) fn with_each(manifests: &[&str], options: [&AgentOptions; 2]) -> Self {
        let mut machine = Machine::new().expect("this machine can be made into a cluster");
        let mut node = |name| machine.node(name).expect("a node can be made");
        let (a, b) = (node("a"), node("b"));
        let mut pod = |node, spec| machine.pod(node, spec).expect("a pod can be made");
        let client = pod(&a, PodSpec::new("full", "sleep").enrolled());
        let server = pod(&b, PodSpec::new("full", "httpbin").label("app", "httpbin").enrolled());
        let legacy = pod(&a, PodSpec::new("legacy", "sleep"));
        machine.publish().expect("manifests can be written");
        for (number, manifest) in manifests.iter().enumerate() {
            machine.apply(&format!("first-{number}"), manifest).expect("a manifest can be written");
        }
        let agents = [a.agent(options[0]), b.agent(options[1])];
        let [client_agent, server_agent] = agents.map(|agent| agent.expect("an agent can be started"));
        for agent in [&client_agent, &server_agent] {
            agent.wait_ready().expect("the agent gets ready");
        }
        Self { client_agent, server_agent, client, server, legacy, a, b, machine }
    }

    /// Has `from` ask the server on a port, and returns what the server's agent wrote of it.
    pub(crate) fn call(&self, from: &Place, family: Family, port: u16) -> io::Result<Value> {
        let source = ask(from, self.server.address(family, port))?.local_addr()?;
        Ok(self.inbound(source))
    }

    /// What the server's agent wrote of a connection that has ended; to be asked for once.
    pub(crate) fn inbound(&self, source: SocketAddr) -> Value {
        record(&self.server_agent, "inbound", source)
    }

    /// What the client's agent wrote of a connection that has ended; to be asked for once.
    pub(crate) fn outbound(&self, source: SocketAddr) -> Value {
        record(&self.client_agent, "outbound", source)
    }
}

/// What an agent wrote of a connection that has ended; to be asked for once.
pub(crate) fn record(agent: &Agent, direction: &str, source: SocketAddr) -> Value {
    agent
        .take_record(|line| line["direction"] == direction && line["source"] == source.to_string())
        .expect("each connection has a record")
}

/// An application that sends back what it gets, on some ports of a pod, over IPv4 and IPv6.
pub(crate) struct Echo {
    listeners: Vec<Arc<TcpListener>>,
    threads: Vec<JoinHandle<()>>,
    clients: Clients,
}

type Clients = Arc<Mutex<Vec<SocketAddr>>>;

impl Echo {
    pub(crate) fn start(pod: &Pod, ports: &[u16]) -> Self {
        let clients = Clients::default();
        let addresses = Family::ALL.iter().flat_map(|&family| ports.iter().map(move |&port| (family, port)));
        let listeners: Vec<_> = addresses
            .map(|(family, port)| pod.listen(pod.address(family, port)).expect("the port is free"))
            .map(Arc::new)
            .collect();
        let threads = listeners
            .iter()
            .map(|listener| {
                let (listener, clients) = (Arc::clone(listener), Arc::clone(&clients));
                thread::spawn(move || serve(&listener, &clients))
            })
            .collect();
        Self { listeners, threads, clients }
    }

    /// Whom `accept()` has shown.
    pub(crate) fn clients(&self) -> Vec<SocketAddr> {
        lock(&self.clients).clone()
    }

    /// How many connections came from an address.
    pub(crate) fn connections_of(&self, client: IpAddr) -> usize {
        lock(&self.clients).iter().filter(|seen| seen.ip() == client).count()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        for listener in &self.listeners {
            // Wakes up who waits in accept(); it cannot fail on a socket that listens.
            let _ = SockRef::from(&**listener).shutdown(std::net::Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            // What went wrong there has been printed.
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, clients: &Clients) {
    loop {
        match listener.accept() {
            Ok((stream, from)) => {
                lock(clients).push(from);
                thread::spawn(move || io::copy(&mut &stream, &mut &stream));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

fn lock(clients: &Clients) -> MutexGuard<'_, Vec<SocketAddr>> {
    clients.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connects, and waits for a word to come back.
pub(crate) fn ask(from: &Place, to: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = from.connect(to)?;
    exchange(&mut stream)?;
    Ok(stream)
}

/// Sends a word on an open connection, and waits for it to come back.
pub(crate) fn exchange(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(&WORD)?;
    let mut back = [0; WORD.len()];
    stream.read_exact(&mut back)?;
    assert_eq!(back, WORD);
    Ok(())
}

pub(crate) const WORD: [u8; 4] = *b"word";

/// Waits for the other side to close or reset a connection.
pub(crate) fn wait_closed(stream: &mut TcpStream) {
    match stream.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
        other => panic!("expected the end of the connection, found {other:?}"),
    }
}

/// Tries until there is a result.
pub(crate) fn eventually<R>(what: &str, mut attempt: impl FnMut() -> Option<R>) -> R {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(Instant::now() < deadline, "{what} does not come");
        thread::sleep(BETWEEN_ATTEMPTS);
    }
}

const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(20);

/// A `PeerAuthentication`, with its spec as YAML on one line.
pub(crate) fn peer_authentication(namespace: &str, name: &str, spec: &str) -> String {
    object("security.istio.io/v1", "PeerAuthentication", namespace, name, spec)
}

/// A `DestinationRule` that sets the TLS mode towards a host.
pub(crate) fn destination_rule(namespace: &str, host: &str, mode: &str) -> String {
    let spec = format!("{{ host: {host:?}, trafficPolicy: {{ tls: {{ mode: {mode} }} }} }}");
    object("networking.istio.io/v1", "DestinationRule", namespace, "rule", &spec)
}

fn object(version: &str, kind: &str, namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata: {{ namespace: {namespace}, name: {name} }}\nspec: {spec}\n"
    )
}

/// A mode for everything that a `PeerAuthentication` covers.
pub(crate) fn mode(mode: &str) -> String {
    format!("{{ mtls: {{ mode: {mode} }} }}")
}

/// The line of a command that has to end with status 1, and with one line.
pub(crate) fn one_line(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("it can be started");
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
    assert_eq!(status.code(), Some(1), "{stdout}{stderr}");
    assert_eq!(stdout, "");
    let lines: Vec<_> = stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{stderr}");
    assert!(lines[0].starts_with("culvert: "), "{stderr}");
    lines[0].to_owned()
}
