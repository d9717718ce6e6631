//! Many connections at once, and strangers at the tunnels' port.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use culvert_testbed::{Family, Pair, PodSpec};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const CONNECTIONS: u64 = 10_000;
/// What an idle connection may cost an agent, in bytes.
const COST: u64 = 4000;
/// Long enough for that many connections on a busy machine; it decides nothing else.
const PATIENCE: Duration = Duration::from_secs(50);
const LOAD: &str = env!("CARGO_BIN_EXE_culvert-load");

#[test]
fn ten_thousand_idle_connections_over_ipv4() {
    hold_many(Family::V4);
}

#[test]
fn ten_thousand_idle_connections_over_ipv6() {
    hold_many(Family::V6);
}

/// Each end is a process of its own, as one has too few descriptors for both.
fn hold_many(family: Family) {
    raise_file_limit();
    let pair = Pair::start().unwrap();
    let address = pair.server.address(family, 80).to_string();
    let server = Load::start(pair.server.command(LOAD).args(["serve", &address]));
    server.says("listening");
    let before = resident(&pair);

    let count = format!("--connections={CONNECTIONS}");
    let mut client = Load::start(pair.client.command(LOAD).args(["hold", &address, &count]));
    client.says("open");
    for (side, (before, after)) in ["client", "server"].iter().zip(before.into_iter().zip(resident(&pair))) {
        let each = after.saturating_sub(before) / CONNECTIONS;
        assert!(each < COST, "the {side}'s agent holds {each} bytes for each idle connection");
    }
    client.ask();
    client.says("answered");
    let tunnels = pair.tunnels(family).unwrap().len();
    assert!((1..=16).contains(&tunnels), "{CONNECTIONS} streams took {tunnels} tunnels");
}

/// Ports that a pod may connect from, and connections that it ends one after the other.
const PORTS: u16 = 3000;
const ENDED: u16 = 7000;

#[test]
fn ports_of_ended_connections_serve_again_over_ipv4() {
    end_many(Family::V4);
}

#[test]
fn ports_of_ended_connections_serve_again_over_ipv6() {
    end_many(Family::V6);
}

/// The client closes first, so that its own port and that of the server's agent are those that wait.
fn end_many(family: Family) {
    let pair = Pair::start().unwrap();
    let address = pair.server.address(family, 80).to_string();
    let server = Load::start(pair.server.command(LOAD).args(["serve", &address]));
    server.says("listening");
    let ports = format!("40000 {}", 40000 + PORTS - 1);
    for pod in [&pair.client, &pair.server] {
        pod.sysctl("ipv4/ip_local_port_range", &ports).unwrap();
    }
    let count = format!("--count={ENDED}");
    let client = pair.client.command(LOAD).args(["connect", &address, &count]).output().unwrap();
    assert!(client.status.success(), "{}", String::from_utf8_lossy(&client.stderr));
}

fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

fn resident(pair: &Pair) -> Vec<u64> {
    pair.agents.iter().map(|agent| agent.resident().unwrap()).collect()
}

/// A `culvert-load` that runs until it is dropped.
struct Load {
    process: Child,
    stdin: ChildStdin,
    said: Receiver<String>,
}

impl Load {
    fn start(command: &mut Command) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let (sender, said) = channel();
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { process, stdin, said }
    }

    fn says(&self, word: &str) {
        assert_eq!(self.said.recv_timeout(PATIENCE).unwrap(), format!("\"{word}\""));
    }

    fn ask(&mut self) {
        self.stdin.write_all(b"\n").unwrap();
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn strangers_at_the_port_of_tunnels_disturb_nobody() {
    let mut pair = Pair::prepare().unwrap();
    let stranger = pair.machine.pod(&pair.a, PodSpec::new("legacy", "sleep")).unwrap();
    pair.start_agents().unwrap();
    for family in Family::ALL {
        let (mut client, mut server) = pair.connect(family, 80).unwrap();
        let port = pair.server.address(family, 15008);

        let silent = [(); 100].map(|()| stranger.connect(port).unwrap());
        round_trip(&mut client, &mut server);
        let noisy = stranger.connect(port).unwrap();
        let source = noisy.local_addr().unwrap();
        shout(noisy);
        round_trip(&mut client, &mut server);
        let record = pair.agents[1].wait_for_record(|record| record["source"] == source.to_string()).unwrap();
        assert_eq!(record["reason"], "handshake_failed", "{record}");

        let mut slow = stranger.connect(port).unwrap();
        slow.set_nodelay(true).unwrap();
        for byte in CLIENT_HELLO {
            slow.write_all(&[*byte]).unwrap();
            round_trip(&mut client, &mut server);
        }

        let (mut another, mut accepted) = pair.connect(family, 81).unwrap();
        round_trip(&mut another, &mut accepted);
        drop((silent, slow));
        round_trip(&mut client, &mut server);
        let source = client.local_addr().unwrap();
        drop((client, server));
        expect_carried(&pair, source);
    }
}

/// How a `ClientHello` begins: a record of 512 bytes, of which there will be few.
const CLIENT_HELLO: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7];

/// Sends what is no TLS until nobody wants it any more.
fn shout(mut stream: TcpStream) {
    let garbage = [b'x'; 4096];
    let refused = loop {
        if let Err(error) = stream.write_all(&garbage) {
            break error.kind();
        }
    };
    assert!(matches!(refused, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{refused}");
}

fn round_trip(client: &mut TcpStream, server: &mut TcpStream) {
    for (from, to) in [(&*client, &*server), (&*server, &*client)] {
        exchange(from, to).unwrap();
    }
}

fn exchange(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    from.write_all(b"word")?;
    let mut word = [0; 4];
    to.read_exact(&mut word)?;
    assert_eq!(&word, b"word");
    Ok(())
}

fn expect_carried(pair: &Pair, source: SocketAddr) {
    let bytes = 4 * (3 + CLIENT_HELLO.len() as u64);
    pair.was_carried(source, bytes, bytes).unwrap();
}
