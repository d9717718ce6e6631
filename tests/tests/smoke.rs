//! What each of the kernel's programs is for, once, end to end. These tests also run alone, on other kernels.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    io::{ErrorKind, Read as _, Write},
    net::{SocketAddr, TcpListener, TcpStream},
};

use culvert_testbed::{DEADLINE, Family, Mesh, Pair, PodSpec, Sidecar};
use serde_json::Value;

const STRICT: &str = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
     metadata: { namespace: full, name: default }\nspec: { mtls: { mode: STRICT } }\n";

#[test]
fn one_connection_is_captured() {
    let pair = Pair::start().unwrap();
    for family in Family::ALL {
        let address = pair.server.address(family, 80);
        let listener = pair.server.listen(address).unwrap();
        let mut asked = pair.client.connect(address).unwrap();
        let shown = accept_question(&listener, &mut asked);
        assert_eq!(asked.peer_addr().unwrap(), address);
        assert_eq!(asked.local_addr().unwrap().ip(), pair.client.ip(family));
        assert_eq!(shown, asked.local_addr().unwrap());
        drop(asked);
        let record = inbound(&pair, shown);
        assert_eq!(record["transport"], "hbone");
        assert_eq!(record["peer_identity"], "spiffe://cluster.local/ns/full/sa/sleep");
    }
}

#[test]
fn what_a_sidecar_sends_is_steered_to_the_agent() {
    let identity = "spiffe://cluster.local/ns/legacy/sa/sidecar";
    let mut pair = Pair::prepare().unwrap();
    let spec = PodSpec::new("legacy", "sidecar").label("security.istio.io/tlsMode", "istio");
    let peer = pair.machine.pod(&pair.a, spec).unwrap();
    pair.start_agents().unwrap();
    let sidecar = Sidecar::new(&Mesh::of(&pair.machine), identity);
    for family in Family::ALL {
        let address = pair.server.address(family, 80);
        let listener = pair.server.listen(address).unwrap();
        let tcp = peer.connect(address).unwrap();
        let source = tcp.local_addr().unwrap();
        let mut tls = sidecar.connect(tcp);
        assert_eq!(accept_question(&listener, &mut tls), source);
        drop(tls);
        let record = inbound(&pair, source);
        assert_eq!(record["transport"], "sidecar");
        assert_eq!(record["peer_identity"], identity);
    }
}

#[test]
fn a_strict_pod_is_reached_by_the_kubelet_and_by_nobody_else_in_plaintext() {
    let mut pair = Pair::prepare().unwrap();
    let other = pair.b.place("other").unwrap();
    pair.machine.apply("policy", STRICT).unwrap();
    pair.start_agents().unwrap();
    for family in Family::ALL {
        let address = pair.server.address(family, 80);
        let listener = pair.server.listen(address).unwrap();
        let mut probe = pair.b.connect(address).unwrap();
        let source = accept_question(&listener, &mut probe);
        assert_eq!(source.ip(), pair.b.ip(family));
        drop(probe);
        assert_eq!(inbound(&pair, source)["reason"], "kubelet_probe");
        assert_eq!(other.connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn plaintext_that_is_open_is_closed_when_policy_forbids_it() {
    let mut pair = Pair::prepare().unwrap();
    let legacy = pair.machine.pod(&pair.a, PodSpec::new("legacy", "sleep")).unwrap();
    pair.start_agents().unwrap();
    let mut open = Family::ALL.map(|family| {
        let address = pair.server.address(family, 80);
        let listener = pair.server.listen(address).unwrap();
        let asked = legacy.connect(address).unwrap();
        (asked, listener.accept().unwrap().0)
    });
    pair.machine.apply("policy", STRICT).unwrap();
    for (asked, answered) in &mut open {
        let source = asked.local_addr().unwrap();
        assert_eq!(end_of(answered), ErrorKind::ConnectionAborted, "the kernel was asked to close this one");
        assert_eq!(end_of(asked), ErrorKind::ConnectionReset);
        assert_eq!(inbound(&pair, source)["reason"], "mode_strict");
    }
}

/// The client closes first: it is the agent's port that waits in the server's pod.
#[test]
fn a_pod_with_few_ports_is_served() {
    let pair = Pair::start().unwrap();
    pair.server.sysctl("ipv4/ip_local_port_range", "40000 40099").unwrap();
    for family in Family::ALL {
        let address = pair.server.address(family, 80);
        let listener = pair.server.listen(address).unwrap();
        for _ in 0..300 {
            let asked = pair.client.connect(address).unwrap();
            let (mut answered, _) = listener.accept().unwrap();
            drop(asked);
            assert_eq!(answered.read(&mut [0]).unwrap(), 0);
        }
    }
}

/// Asks, and returns whom the application was shown that heard it.
fn accept_question(listener: &TcpListener, client: &mut impl Write) -> SocketAddr {
    client.write_all(b"question").unwrap();
    client.flush().unwrap();
    let (mut answered, shown) = listener.accept().unwrap();
    let mut question = [0; 8];
    answered.read_exact(&mut question).unwrap();
    assert_eq!(&question, b"question");
    shown
}

/// What the server's agent recorded of a connection.
fn inbound(pair: &Pair, source: SocketAddr) -> Value {
    pair.agents[1].wait_for_record(|record| record["source"] == source.to_string()).unwrap()
}

/// How a connection ends that nobody writes to.
fn end_of(stream: &mut TcpStream) -> ErrorKind {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.read(&mut [0]).unwrap_err().kind()
}
