//! `PeerAuthentication` and `DestinationRule`, on both sides of a connection: what the list of cases does not show.

use std::io::ErrorKind;

use culvert_testbed::{AgentOptions, Family, Mesh, PodSpec, ServiceSpec};
use http::StatusCode;
use serde_json::Value;

use crate::{
    common::{
        Cluster, Echo, ask, destination_rule, eventually, exchange, mode, peer_authentication, wait_closed,
    },
    wire::{Hbone, connect_to},
};

const HTTPBIN: &str = "selector: { matchLabels: { app: httpbin } }";

/// Everything that a policy covers, from the widest to the narrowest.
fn scopes(mode_of_all: &str) -> [(&'static str, String); 3] {
    let own = format!("{{ {HTTPBIN}, mtls: {{ mode: {mode_of_all} }} }}");
    [
        ("mesh", peer_authentication("istio-system", "default", &mode(mode_of_all))),
        ("namespace", peer_authentication("full", "default", &mode(mode_of_all))),
        ("workload", peer_authentication("full", "httpbin", &own)),
    ]
}

#[test]
fn strict_refuses_plaintext_at_once_until_it_is_taken_back() {
    let [.., (_, policy)] = scopes("STRICT");
    let cluster = Cluster::start();
    let echo = Echo::start(&cluster.server, &[80]);
    cluster.machine.apply("policy", &policy).unwrap();
    for family in Family::ALL {
        let legacy = || ask(&cluster.legacy, cluster.server.address(family, 80));
        eventually("the refusal", || legacy().err());
        let before = echo.clients().len();
        assert_eq!(legacy().unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(echo.clients().len(), before, "the application saw it");
    }
    cluster.machine.unapply("policy").unwrap();
    for family in Family::ALL {
        let record = eventually("plaintext", || cluster.call(&cluster.legacy, family, 80).ok());
        assert_eq!(
            (&record["transport"], &record["reason"]),
            (&"plaintext".into(), &"mode_permissive".into())
        );
    }
}

#[test]
fn the_narrower_scope_wins() {
    let [mesh, ..] = scopes("STRICT");
    let [_, namespace, _] = scopes("DISABLE");
    let [.., workload] = scopes("PERMISSIVE");
    let cluster = Cluster::with(&[&mesh.1, &namespace.1], &AgentOptions::default());
    let _echo = Echo::start(&cluster.server, &[80]);
    for family in Family::ALL {
        let record = cluster.call(&cluster.client, family, 80).unwrap();
        assert_eq!((&record["transport"], &record["reason"]), (&"plaintext".into(), &"mode_disable".into()));
    }
    cluster.machine.apply("workload", &workload.1).unwrap();
    for family in Family::ALL {
        eventually("mTLS", || {
            let record = cluster.call(&cluster.client, family, 80).unwrap();
            (record["transport"] == "hbone").then_some(())
        });
        assert_eq!(cluster.call(&cluster.legacy, family, 80).unwrap()["reason"], "mode_permissive");
    }
}

#[test]
fn permissive_takes_both_and_both_sides_have_a_record() {
    let cluster = Cluster::start();
    let echo = Echo::start(&cluster.server, &[80]);
    for family in Family::ALL {
        let asked = cluster.server.address(family, 80);
        let source = ask(&cluster.client, asked).unwrap().local_addr().unwrap();
        let (outbound, inbound) = (cluster.outbound(source), cluster.inbound(source));
        for record in [&outbound, &inbound] {
            assert_eq!(record["transport"], "hbone");
            assert_eq!(record["outcome"], "ok");
            assert_eq!(record["reason"], "peer_hbone");
            assert_eq!(record["destination"], asked.to_string());
            assert_eq!((&record["bytes_sent"], &record["bytes_received"]), (&4.into(), &4.into()));
        }
        assert_eq!(outbound["pod"], "full/sleep");
        assert_eq!(outbound["peer_identity"], "spiffe://cluster.local/ns/full/sa/httpbin");
        assert_eq!(inbound["pod"], "full/httpbin");
        assert_eq!(inbound["peer_pod"], "full/sleep");
        assert_eq!(inbound["peer_identity"], "spiffe://cluster.local/ns/full/sa/sleep");

        let inbound = cluster.call(&cluster.legacy, family, 80).unwrap();
        assert_eq!(
            (&inbound["transport"], &inbound["reason"]),
            (&"plaintext".into(), &"mode_permissive".into())
        );
        assert_eq!(inbound["peer_pod"], "legacy/sleep");
        assert_eq!(echo.connections_of(cluster.legacy.ip(family)), 1);
    }
}

#[test]
fn what_the_kernel_passes_has_a_record_too() {
    let cluster = Cluster::start();
    let _echo = Echo::start(&cluster.legacy, &[80]);
    for family in Family::ALL {
        let asked = cluster.legacy.address(family, 80);
        let source = ask(&cluster.client, asked).unwrap().local_addr().unwrap();
        let record = cluster.outbound(source);
        assert_eq!((&record["transport"], &record["outcome"]), (&"plaintext".into(), &"ok".into()));
        assert_eq!(record["reason"], "peer_plaintext");
        assert_eq!(record["destination"], asked.to_string());
        assert_eq!(record["peer_pod"], "legacy/sleep");
        for counter in ["bytes_sent", "bytes_received"] {
            // In the kernel's counters SYN and FIN are a byte each.
            assert!((4..=6).contains(&record[counter].as_u64().unwrap()), "{record}");
        }
    }
}

#[test]
fn disable_makes_clients_choose_plaintext_and_refuses_hbone() {
    let [_, namespace, _] = scopes("DISABLE");
    let cluster = Cluster::with(&[&namespace.1], &AgentOptions::default());
    let _echo = Echo::start(&cluster.server, &[80]);
    let sleep = Mesh::of(&cluster.machine).certificate("spiffe://cluster.local/ns/legacy/sa/sleep");
    for family in Family::ALL {
        let record = cluster.call(&cluster.client, family, 80).unwrap();
        assert_eq!((&record["transport"], &record["reason"]), (&"plaintext".into(), &"mode_disable".into()));

        let mut hbone = Hbone::open(&cluster.legacy, &cluster.server, family, &sleep).unwrap();
        let answer = hbone.request(connect_to(cluster.server.address(family, 80))).unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        let record = cluster.inbound(hbone.source());
        assert_eq!((&record["outcome"], &record["reason"]), (&"refused".into(), &"mode_disable".into()));
    }
}

#[test]
fn ports_have_modes_of_their_own() {
    let ports = "portLevelMtls: { 8080: { mode: PERMISSIVE }, 9090: { mode: DISABLE } }";
    let policy = peer_authentication(
        "full",
        "httpbin",
        &format!("{{ {HTTPBIN}, mtls: {{ mode: STRICT }}, {ports} }}"),
    );
    let cluster = Cluster::with(&[&policy], &AgentOptions::default());
    let _echo = Echo::start(&cluster.server, &[80, 8080, 9090]);
    for family in Family::ALL {
        let refused = ask(&cluster.legacy, cluster.server.address(family, 80)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        for port in [8080, 9090] {
            assert_eq!(cluster.call(&cluster.legacy, family, port).unwrap()["transport"], "plaintext");
        }
        for (port, transport) in [(80, "hbone"), (8080, "hbone"), (9090, "plaintext")] {
            assert_eq!(
                cluster.call(&cluster.client, family, port).unwrap()["transport"],
                transport,
                "{port}"
            );
        }
    }
}

#[test]
fn a_strict_pod_reaches_itself() {
    let [mesh, ..] = scopes("STRICT");
    let cluster = Cluster::with(&[&mesh.1], &AgentOptions::default());
    let echo = Echo::start(&cluster.server, &[80]);
    for family in Family::ALL {
        ask(&cluster.server, cluster.server.address(family, 80)).unwrap();
        assert_eq!(echo.connections_of(cluster.server.ip(family)), 1);
    }
}

#[test]
fn istio_mutual_towards_a_pod_that_cannot_is_refused_and_never_sent_in_plaintext() {
    let mut cluster = Cluster::start();
    let spec = PodSpec::new("legacy", "httpbin").label("app", "httpbin");
    let server = cluster.machine.pod(&cluster.b, spec).unwrap();
    let service = ServiceSpec::new("legacy", "httpbin", ("app", "httpbin")).port(8000, 80);
    let service = cluster.machine.service(service).unwrap();
    let headless = ServiceSpec::new("legacy", "headless", ("app", "httpbin")).port(80, 80).headless();
    cluster.machine.service(headless).unwrap();
    let rule = destination_rule("legacy", "*.legacy.svc.cluster.local", "ISTIO_MUTUAL");
    cluster.machine.apply("rule", &rule).unwrap();
    cluster.machine.publish().unwrap();
    let echo = Echo::start(&server, &[80]);
    for family in Family::ALL {
        for address in [service.address(family, 8000), server.address(family, 80)] {
            let refused = |record: &Value| {
                record["destination"] == address.to_string() && record["outcome"] == "refused"
            };
            eventually("the refusal", || ask(&cluster.client, address).err());
            let record = cluster.client_agent.wait_for_record(refused).unwrap();
            assert_eq!(record["reason"], "peer_cannot_mtls");
            let before = echo.clients().len();
            ask(&cluster.client, address).unwrap_err();
            assert_eq!(echo.clients().len(), before, "it was sent in plaintext");
        }
        ask(&cluster.legacy, service.address(family, 8000)).unwrap();
    }
}

#[test]
fn an_open_stream_that_becomes_illegal_is_closed() {
    let [.., workload] = scopes("DISABLE");
    let cluster = Cluster::start();
    let _echo = Echo::start(&cluster.server, &[80]);
    let mut streams =
        Family::ALL.map(|family| ask(&cluster.client, cluster.server.address(family, 80)).unwrap());
    for stream in &mut streams {
        exchange(stream).unwrap();
    }
    cluster.machine.apply("workload", &workload.1).unwrap();
    for stream in &mut streams {
        wait_closed(stream);
        let record = cluster.inbound(stream.local_addr().unwrap());
        assert_eq!((&record["outcome"], &record["reason"]), (&"refused".into(), &"mode_disable".into()));
        assert_eq!((&record["bytes_sent"], &record["bytes_received"]), (&8.into(), &8.into()));
    }
}

#[test]
fn pods_are_opted_in_and_out_live_and_their_label_beats_that_of_the_namespace() {
    let mut cluster = Cluster::start();
    let _echo = Echo::start(&cluster.server, &[80]);
    let capture = "culvert.io/capture";
    let wait_for_transport = |cluster: &Cluster, transport: &str| {
        for family in Family::ALL {
            eventually(transport, || {
                let record = cluster.call(&cluster.client, family, 80).ok()?;
                (record["transport"] == transport).then_some(())
            });
        }
    };
    wait_for_transport(&cluster, "hbone");

    let client = &cluster.client;
    cluster.machine.label_namespace("full", capture, "enabled");
    cluster.machine.relabel(client, |labels| drop(labels.insert(capture.to_owned(), "disabled".to_owned())));
    cluster.machine.publish().unwrap();
    wait_for_transport(&cluster, "plaintext");

    cluster.machine.relabel(&cluster.client, |labels| drop(labels.remove(capture)));
    cluster.machine.publish().unwrap();
    wait_for_transport(&cluster, "hbone");

    cluster.machine.label_namespace("full", capture, "disabled");
    cluster.machine.publish().unwrap();
    wait_for_transport(&cluster, "plaintext");
}
