//! Who is let in, and who is believed: certificates of the other side, and what a peer may ask for.

use std::net::{IpAddr, SocketAddr};

use culvert_testbed::{Agent, AgentOptions, Credentials, Family, Mesh, Pod, PodSpec};
use http::{HeaderValue, Method, StatusCode};
use rustls::AlertDescription;
use serde_json::Value;

use crate::{
    common::{Cluster, Echo, ask, eventually, exchange},
    wire::{HBONE_PORT, Hbone, accept_tls, alert, connect_to, refusal, request},
};

const LEGACY: &str = "spiffe://cluster.local/ns/legacy/sa/sleep";
const FAKE: &str = "spiffe://cluster.local/ns/full/sa/fake";

#[test]
fn a_client_with_a_wrong_certificate_is_refused() {
    let cluster = Cluster::start();
    let own = Mesh::of(&cluster.machine);
    let cases = [
        (Some(Mesh::foreign().certificate(LEGACY)), "foreign_ca", AlertDescription::UnknownCA),
        (
            Some(own.certificate("spiffe://other.local/ns/legacy/sa/sleep")),
            "foreign_trust_domain",
            AlertDescription::CertificateUnknown,
        ),
        (Some(own.expired(LEGACY)), "certificate_expired", AlertDescription::CertificateExpired),
        (
            Some(own.certificate("https://cluster.local/ns/legacy/sa/sleep")),
            "bad_certificate",
            AlertDescription::CertificateUnknown,
        ),
        (None, "no_peer_certificate", AlertDescription::CertificateRequired),
    ];
    for family in Family::ALL {
        for (shown, reason, expected) in &cases {
            let (source, error) = refusal(&cluster.legacy, &cluster.server, family, shown.as_ref());
            assert_eq!(alert(&error), *expected, "{reason}");
            let record = refused(&cluster.server_agent, source, reason);
            assert_eq!(
                (&record["transport"], &record["peer_pod"]),
                (&"hbone".into(), &"legacy/sleep".into())
            );
            assert_eq!(record["peer_identity"], Value::Null);
        }
    }
}

#[test]
fn a_server_with_a_wrong_certificate_is_refused() {
    let mut cluster = Cluster::start();
    let spec = PodSpec::new("full", "fake").annotation("ambient.istio.io/redirection", "enabled");
    let fake = cluster.machine.pod(&cluster.b, spec).unwrap();
    cluster.machine.publish().unwrap();
    let own = Mesh::of(&cluster.machine);
    wait_until_captured(&cluster, &fake, &own.certificate(FAKE));
    let cases = [
        (Mesh::foreign().certificate(FAKE), "foreign_ca", AlertDescription::UnknownCA),
        (
            own.certificate("spiffe://other.local/ns/full/sa/fake"),
            "foreign_trust_domain",
            AlertDescription::CertificateUnknown,
        ),
        (
            own.certificate("spiffe://cluster.local/ns/full/sa/another"),
            "wrong_identity",
            AlertDescription::CertificateUnknown,
        ),
        (own.expired(FAKE), "certificate_expired", AlertDescription::CertificateExpired),
    ];
    for family in Family::ALL {
        for (shown, reason, expected) in &cases {
            let (source, handshake) = meet(&cluster, &fake, family, shown);
            assert_eq!(alert(&handshake.unwrap_err()), *expected, "{reason}");
            let record = refused(&cluster.client_agent, source, reason);
            assert_eq!((&record["transport"], &record["peer_pod"]), (&"hbone".into(), &"full/fake".into()));
            assert_eq!(record["peer_identity"], Value::Null);
        }
        welcome(&cluster, &fake, family, &own.certificate(FAKE));
    }
}

/// What an agent wrote of a connection that it refused: a port may have been that of another before.
fn refused(agent: &Agent, source: SocketAddr, reason: &str) -> Value {
    let wanted = |record: &Value| record["source"] == source.to_string() && record["reason"] == reason;
    let record = agent.wait_for_record(wanted).expect("each connection has a record");
    assert_eq!(record["outcome"], "refused");
    record
}

/// The client asks a pod in which we play the agent. Returns the client's address and what its agent said to us.
fn meet(
    cluster: &Cluster,
    fake: &Pod,
    family: Family,
    shown: &Credentials,
) -> (SocketAddr, std::io::Result<()>) {
    let listener = fake.listen(fake.address(family, HBONE_PORT)).expect("nobody else listens there");
    let asked = cluster.client.connect(fake.address(family, 80)).expect("the agent takes it");
    let (mut tcp, _) = listener.accept().expect("the client's agent comes");
    let handshake = accept_tls(&mut tcp, shown);
    (asked.local_addr().expect("a connected socket has one"), handshake)
}

/// The pod has no application, so a connection that is not captured is refused.
fn wait_until_captured(cluster: &Cluster, fake: &Pod, credentials: &Credentials) {
    let asked = eventually("capture", || cluster.client.connect(fake.address(Family::V4, 80)).ok());
    wait_for_the_end(cluster, asked.local_addr().expect("a connected socket has one"));
    welcome(cluster, fake, Family::V4, credentials);
}

/// A right certificate is accepted.
fn welcome(cluster: &Cluster, fake: &Pod, family: Family, right: &Credentials) {
    let (source, handshake) = meet(cluster, fake, family, right);
    handshake.expect("a right certificate is accepted");
    wait_for_the_end(cluster, source);
}

/// A tunnel that closes before it carried anything is opened once more, which must not meet the next listener.
fn wait_for_the_end(cluster: &Cluster, source: SocketAddr) {
    let ended = |record: &Value| record["source"] == source.to_string();
    cluster.client_agent.wait_for_record(ended).expect("each connection has a record");
}

#[test]
fn agents_that_share_no_authority_refuse_each_other_and_both_say_why() {
    let options = AgentOptions::default();
    let other = tempfile::tempdir().unwrap();
    let foreign = options.clone().flag("ca-dir", other.path().display().to_string());
    let cluster = Cluster::with_each(&[], [&options, &foreign]);
    let echo = Echo::start(&cluster.server, &[80]);
    for family in Family::ALL {
        let asked = cluster.server.address(family, 80);
        ask(&cluster.client, asked).unwrap_err();
        let to_it = |record: &Value| record["destination"] == asked.to_string();
        let record = cluster.client_agent.wait_for_record(to_it).unwrap();
        assert_eq!((&record["outcome"], &record["reason"]), (&"refused".into(), &"foreign_ca".into()));
    }
    let refused = |record: &Value| record["direction"] == "inbound" && record["reason"] == "refused_by_peer";
    let record = cluster.server_agent.wait_for_record(refused).unwrap();
    assert_eq!((&record["outcome"], &record["peer_pod"]), (&"refused".into(), &"full/sleep".into()));
    assert_eq!(echo.clients(), []);
}

#[test]
fn only_this_pods_applications_can_be_asked_for() {
    let cluster = Cluster::start();
    let _echo = Echo::start(&cluster.server, &[80]);
    let own = Mesh::of(&cluster.machine).certificate(LEGACY);
    for family in Family::ALL {
        let mut hbone = Hbone::open(&cluster.legacy, &cluster.server, family, &own).unwrap();
        let loopback: IpAddr =
            if family == Family::V4 { [127, 0, 0, 1].into() } else { [0, 0, 0, 0, 0, 0, 0, 1].into() };
        let own_ports = agents_ports(&cluster.server, family);
        assert_eq!(own_ports.len(), 2, "{own_ports:?}");
        let here = |port| cluster.server.address(family, port);
        for (target, status, reason) in [
            (cluster.client.address(family, 80), StatusCode::BAD_REQUEST, "target_not_this_pod"),
            (SocketAddr::new(loopback, 80), StatusCode::SERVICE_UNAVAILABLE, "target_forbidden"),
            (here(HBONE_PORT), StatusCode::SERVICE_UNAVAILABLE, "target_forbidden"),
            (here(own_ports[0]), StatusCode::SERVICE_UNAVAILABLE, "target_forbidden"),
            (here(own_ports[1]), StatusCode::SERVICE_UNAVAILABLE, "target_forbidden"),
            (here(81), StatusCode::SERVICE_UNAVAILABLE, "app_unreachable"),
        ] {
            let before = cluster.server_agent.records().len();
            assert_eq!(hbone.request(connect_to(target)).unwrap().status(), status, "{target}");
            let record = eventually("a record", || cluster.server_agent.records().get(before).cloned());
            assert_eq!(
                (&record["reason"], &record["peer_identity"]),
                (&reason.into(), &LEGACY.into()),
                "{target}"
            );
        }
        let mut answer = hbone.request(connect_to(here(80))).unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        hbone.exchange(&mut answer, b"word").unwrap();
        hbone.finish(answer).unwrap();
        let served =
            |record: &Value| record["outcome"] == "ok" && record["source"] == hbone.source().to_string();
        cluster.server_agent.wait_for_record(served).unwrap();
    }
}

#[test]
fn only_connect_is_understood() {
    let cluster = Cluster::start();
    let echo = Echo::start(&cluster.server, &[80]);
    let own = Mesh::of(&cluster.machine).certificate(LEGACY);
    for family in Family::ALL {
        let mut hbone = Hbone::open(&cluster.legacy, &cluster.server, family, &own).unwrap();
        for method in [Method::GET, Method::POST] {
            let uri = format!("http://{}/", cluster.server.address(family, 80));
            let answer = hbone.request(request(method, &uri)).unwrap();
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        }
        let answer = hbone.request(request(Method::CONNECT, "httpbin.full:80")).unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        assert_eq!(cluster.inbound(hbone.source())["reason"], "bad_request");
    }
    assert_eq!(echo.clients(), []);
}

/// The ports, other than HBONE's, that are listened on at a pod's address and that no test opened.
fn agents_ports(pod: &Pod, family: Family) -> Vec<u16> {
    let flag = if family == Family::V4 { "-4" } else { "-6" };
    let output = pod.command("ss").args([flag, "-Htln"]).output().expect("ss is installed");
    let text = String::from_utf8(output.stdout).expect("text");
    let addresses = text.lines().filter_map(|line| line.split_whitespace().nth(3));
    let ports = addresses.filter_map(|address| address.rsplit_once(':')?.1.parse().ok());
    ports.filter(|port| ![80, HBONE_PORT].contains(port)).collect()
}

#[test]
fn a_client_cannot_claim_to_be_another_pod() {
    let cluster = Cluster::start();
    let echo = Echo::start(&cluster.server, &[80]);
    let own = Mesh::of(&cluster.machine).certificate(LEGACY);
    for family in Family::ALL {
        let mut hbone = Hbone::open(&cluster.legacy, &cluster.server, family, &own).unwrap();
        for (claimed, believed) in [
            (cluster.client.address(family, 4321), hbone.source()),
            (cluster.legacy.address(family, 4321), cluster.legacy.address(family, 4321)),
        ] {
            let mut connect = connect_to(cluster.server.address(family, 80));
            let forwarded = HeaderValue::try_from(format!("for=\"{claimed}\"")).unwrap();
            connect.headers_mut().insert("forwarded", forwarded);
            let mut answer = hbone.request(connect).unwrap();
            hbone.exchange(&mut answer, b"word").unwrap();
            assert_eq!(echo.clients().last(), Some(&believed));
            hbone.finish(answer).unwrap();
            assert_eq!(cluster.inbound(believed)["peer_pod"], "legacy/sleep");
        }
    }
}

#[test]
fn certificates_are_rotated_under_open_streams() {
    let options = AgentOptions::default().flag("cert-lifetime", "4s");
    let cluster = Cluster::with(&[], &options);
    let _echoes = [Echo::start(&cluster.server, &[80]), Echo::start(&cluster.client, &[80])];
    let own = Mesh::of(&cluster.machine).certificate(LEGACY);
    let shown = || {
        let hbone = Hbone::open(&cluster.legacy, &cluster.server, Family::V6, &own).unwrap();
        hbone.certificate().clone()
    };
    let mut streams =
        Family::ALL.map(|family| ask(&cluster.client, cluster.server.address(family, 80)).unwrap());
    // By the third certificate the first has run out, and with it the one that the streams began with.
    let first = shown();
    let second = eventually("a second certificate", || Some(shown()).filter(|found| *found != first));
    eventually("a third certificate", || Some(shown()).filter(|found| *found != first && *found != second));
    for stream in &mut streams {
        exchange(stream).unwrap();
    }
    for family in Family::ALL {
        assert_eq!(cluster.call(&cluster.client, family, 80).unwrap()["transport"], "hbone");
        // The other way there is no tunnel yet.
        ask(&cluster.server, cluster.client.address(family, 80)).unwrap();
    }
    let unwanted = |record: &Value| record["outcome"] != "ok";
    assert!(!cluster.client_agent.records().iter().any(unwanted));
}
