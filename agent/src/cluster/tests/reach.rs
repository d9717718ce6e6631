//! Who reaches whom, and how: the cases that Istio's own tests hold, and the steps of a migration.

use std::net::SocketAddr;

use culvert_policy::{PeerStatus, SpiffeId};

use crate::cluster::{
    Destination, Index, KernelVerdict, PodRef, Verdict,
    testing::{at, index_of_files, named},
};

/// What both sides see of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    Mtls,
    Plain,
    Fail,
}
use Seen::{Fail, Mtls, Plain};

/// Carries a connection as the agents and the kernel of both nodes would.
fn connect(index: &Index, client: &PodRef, origin: SocketAddr, turn: usize) -> Seen {
    let route = index.route(client, origin, turn);
    let server = route.peer.clone().expect("each endpoint is a pod");
    let port = route.endpoint.port();
    match route.verdict {
        _ if !captured(index, client, origin) => plaintext(index, &server, port),
        Verdict::Plaintext => plaintext(index, &server, port),
        Verdict::Hbone(identity) if index.admit_hbone(&server, port).is_ok() => {
            assert_eq!(identity, SpiffeId::new("cluster.local", &server.namespace, &account(&server)));
            Mtls
        }
        Verdict::Hbone(_) | Verdict::Refuse => Fail,
        Verdict::Sidecar(_) => panic!("nobody here has a sidecar"),
    }
}

/// The service accounts of these clusters are called as the pods, less a number.
fn account(server: &PodRef) -> String {
    server.name.trim_end_matches(|end: char| end == '-' || end.is_ascii_digit()).to_owned()
}

fn is_enrolled(index: &Index, pod: &PodRef) -> bool {
    ["a", "b"].iter().any(|node| index.local_pods(node).iter().any(|local| local.pod == *pod))
}

fn captured(index: &Index, client: &PodRef, origin: SocketAddr) -> bool {
    let destinations = index.destinations(std::slice::from_ref(client));
    let entry = |port| destinations.get(&Destination { address: origin.ip(), port });
    let verdict = entry(Some(origin.port())).or_else(|| entry(None));
    is_enrolled(index, client) && verdict == Some(&KernelVerdict::Capture)
}

fn plaintext(index: &Index, server: &PodRef, port: u16) -> Seen {
    let refused = is_enrolled(index, server) && index.admit_plaintext(server, port).is_err();
    if refused { Fail } else { Plain }
}

#[test]
fn cases_r1_to_r12() {
    for (case, expected) in [
        ("R1", [Mtls, Fail, Fail]),
        ("R2", [Mtls, Fail, Plain]),
        ("R3", [Plain, Plain, Plain]),
        ("R4", [Plain, Plain, Plain]),
        ("R5", [Mtls, Plain, Fail]),
        ("R6", [Plain, Plain, Plain]),
        ("R7", [Mtls, Plain, Plain]),
        ("R8", [Mtls, Fail, Plain]),
        ("R9", [Mtls, Fail, Fail]),
        ("R10", [Mtls, Fail, Plain]),
        ("R11", [Plain, Plain, Plain]),
        ("R12", [Plain, Plain, Plain]),
    ] {
        let index = index_of_files(&["reach/cluster.yaml", &format!("reach/{case}.yaml")]);
        for (server_m, server_n) in
            [("10.96.0.21:80", "10.96.0.22:80"), ("[fd00:96::21]:80", "[fd00:96::22]:80")]
        {
            let pairs = [("client-m", server_m), ("client-m", server_n), ("client-n", server_m)];
            let seen =
                pairs.map(|(client, server)| connect(&index, &PodRef::new("reach", client), at(server), 0));
            assert_eq!(seen, expected, "{case} {server_m}");
        }
    }
}

#[test]
fn cases_r13_to_r15() {
    for (case, expected) in [("R13", [Mtls, Plain]), ("R14", [Fail, Plain]), ("R15", [Mtls, Fail])] {
        let index = index_of_files(&["subsets/cluster.yaml", &format!("subsets/{case}.yaml")]);
        for server in ["10.96.0.20:80", "[fd00:96::20]:80"] {
            let client = named("reach/client-m");
            let seen = [0, 1].map(|turn| connect(&index, &client, at(server), turn));
            assert_eq!(seen, expected, "{case} {server}");
        }
    }
}

#[test]
fn the_steps_of_a_migration() {
    const SERVERS: [[&str; 3]; 2] = [
        ["10.96.0.21:80", "10.96.0.22:80", "10.96.0.24:80"],
        ["[fd00:96::21]:80", "[fd00:96::22]:80", "[fd00:96::24]:80"],
    ];
    let (half, plain, fail): (&[_], &[_], &[_]) = (&[Mtls, Plain], &[Plain], &[Fail]);
    for (step, expected) in [
        ("step1", [[&[Mtls], half, plain], [plain, plain, plain]]),
        ("step2", [[&[Mtls], half, plain], [fail, plain, plain]]),
        ("step3", [[plain, half, plain], [plain, plain, plain]]),
        ("step4", [[fail, half, plain], [plain, plain, plain]]),
    ] {
        let index = index_of_files(&["walkthrough/cluster.yaml", &format!("walkthrough/{step}.yaml")]);
        for servers in SERVERS {
            let clients = ["full/sleep", "legacy/sleep"].map(named);
            let seen = clients.map(|client| servers.map(|server| ten_calls(&index, &client, at(server))));
            assert_eq!(seen, expected.map(|row| row.map(<[Seen]>::to_vec)), "{step} {servers:?}");
        }
    }
}

/// What ten calls see, each kind once.
fn ten_calls(index: &Index, client: &PodRef, server: SocketAddr) -> Vec<Seen> {
    let mut seen: Vec<_> = (0..10).map(|turn| connect(index, client, server, turn)).collect();
    seen.sort_unstable();
    seen.dedup();
    seen
}

#[test]
fn enrolled_pods_are_peers_and_the_others_are_not() {
    let index = index_of_files(&["walkthrough/cluster.yaml"]);
    let client = named("full/sleep");
    for (origin, status) in [
        ("10.96.0.21:80", PeerStatus::Hbone),
        ("10.96.0.24:80", PeerStatus::None),
        ("10.0.0.22:8080", PeerStatus::Hbone),
        ("[fd00::23]:8080", PeerStatus::None),
    ] {
        assert_eq!(index.route(&client, at(origin), 0).status, status, "{origin}");
    }
}
