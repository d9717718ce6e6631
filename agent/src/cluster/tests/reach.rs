//! Who reaches whom, and how: the cases that Istio's own tests hold, and the steps of a migration.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path};

use culvert_policy::{PeerStatus, SpiffeId};
use serde::Deserialize;

use crate::cluster::{
    Destination, Index, KernelVerdict, PodRef, Verdict,
    testing::{at, index_of_files, named},
};

/// What both sides see of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Seen {
    Mtls,
    Plain,
    Fail,
}
use Seen::{Fail, Mtls, Plain};

/// Carries a connection as the agents and the kernel of both nodes would, to one of the servers.
fn connect(index: &Index, client: &PodRef, origin: SocketAddr, turn: usize) -> (String, Seen) {
    let route = index.route(client, origin, turn);
    let server = route.peer.clone().expect("each endpoint is a pod");
    let port = route.endpoint.port();
    let seen = match route.verdict {
        _ if !captured(index, client, origin) => plaintext(index, &server, port),
        Verdict::Plaintext => plaintext(index, &server, port),
        Verdict::Hbone(identity) if index.admit_hbone(&server, port).is_ok() => {
            assert_eq!(identity, SpiffeId::new("cluster.local", &server.namespace, &account(&server)));
            Mtls
        }
        Verdict::Hbone(_) | Verdict::Refuse => Fail,
        Verdict::Sidecar(_) | Verdict::Tls(_) => panic!("nobody here has a sidecar, or TLS of its own"),
    };
    (server.to_string(), seen)
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

/// One of the cases that `tests/manifests/cases.yaml` lists.
#[derive(Deserialize)]
struct Case {
    id: String,
    cluster: String,
    objects: String,
    calls: Vec<Call>,
}

#[derive(Deserialize)]
struct Call {
    from: String,
    /// `service.namespace`.
    to: String,
    /// By server.
    seen: BTreeMap<String, Seen>,
}

#[test]
fn each_case_is_decided_as_the_list_says() {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/manifests/cases.yaml");
    let cases: Vec<Case> = serde_saphyr::from_str(&fs::read_to_string(list).unwrap()).unwrap();
    assert_eq!(cases.len(), 19, "R1 to R15, and four steps");
    for case in cases {
        let index = index_of_files(&[&case.cluster, &case.objects]);
        for call in case.calls {
            for address in addresses(&index, &call.to) {
                let seen = ten_calls(&index, &named(&call.from), address);
                assert_eq!(seen, call.seen, "{}: {} to {address}", case.id, call.from);
            }
        }
    }
}

/// The addresses of a Service with one port, of both families.
fn addresses(index: &Index, service: &str) -> Vec<SocketAddr> {
    let (name, namespace) = service.split_once('.').unwrap();
    let service = index.files.services.get(namespace, name).unwrap();
    assert_eq!((service.addresses.len(), service.ports.len()), (2, 1));
    service.addresses.iter().map(|ip| SocketAddr::new(*ip, service.ports[0].number)).collect()
}

/// What ten calls see of each server.
fn ten_calls(index: &Index, client: &PodRef, origin: SocketAddr) -> BTreeMap<String, Seen> {
    (0..10).map(|turn| connect(index, client, origin, turn)).collect()
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
