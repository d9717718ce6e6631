//! Certificates that one side must not believe: nothing of the connection gets through, and our record says why.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use culvert_testbed::{
    Credentials, Family, Mesh,
    envoy::{Peer, Tls},
};

use crate::{
    app::QUESTION,
    site::{PEER, Site, Way},
};

/// What Envoy shows and believes, and what our agent makes of it.
struct Case<'a> {
    shown: Credentials,
    believed: &'a Mesh,
    peer: Peer<'a>,
    reason: &'static str,
}

/// Has each case happen on a way, over both families.
fn are_refused(way: Way, name: &str, cases: impl for<'a> Fn(&'a Site, &'a Mesh) -> Vec<Case<'a>>) {
    let Some(site) = Site::start(name, way.speaks()) else { return };
    let foreign = Mesh::foreign();
    let capture = site.a.capture(&site.b).unwrap();
    for case in cases(&site, &foreign) {
        let tls = Tls { shown: &case.shown, believed: case.believed, peer: case.peer };
        let _envoy = site.envoy(&way.config_with(&site, &tls));
        for family in Family::ALL {
            is_refused(way, &site, family, case.reason);
        }
    }
    assert_eq!(capture.stop().unwrap().readable(QUESTION), 0, "it was sent in plaintext");
}

fn is_refused(way: Way, site: &Site, family: Family, reason: &str) {
    let listener = way.listen(site, family);
    let (from, to) = way.client(site, family);
    let mark = site.agent.mark();
    let end = from.connect(to).and_then(ask);
    if way.is_ours() {
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset, "it looks like the end of the data");
    }
    let is_its = |record: &serde_json::Value| record["direction"] == way.direction();
    let record = site.agent.wait_for_record_since(mark, is_its).unwrap();
    assert_eq!((&record["outcome"], &record["reason"]), (&"refused".into(), &reason.into()), "{record}");
    assert_eq!(
        (&record["transport"], &record["peer_pod"]),
        (&way.transport().into(), &"foreign/peer".into())
    );
    hears_nothing(&listener);
}

/// Asks a question that nobody answers.
fn ask(mut client: TcpStream) -> io::Result<()> {
    // It may have been closed by now, which reading tells.
    let _ = client.write_all(QUESTION);
    let mut answer = Vec::new();
    let end = client.read_to_end(&mut answer);
    assert!(answer.is_empty(), "somebody answered");
    end.map(drop)
}

/// A sidecar connects to its application before it knows who the client is, and then has nothing to say.
fn hears_nothing(listener: &TcpListener) {
    listener.set_nonblocking(true).unwrap();
    match listener.accept() {
        Ok((mut server, _)) => {
            server.set_nonblocking(false).unwrap();
            let mut heard = Vec::new();
            // It may be reset.
            let _ = server.read_to_end(&mut heard);
            assert!(heard.is_empty(), "the application was told something");
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
    }
}

/// Certificates of Envoy's that nobody believes, whichever side shows them.
fn bad<'a>(way: Way, site: &'a Site, foreign: &Mesh) -> Vec<Case<'a>> {
    let case = |shown, reason| Case { shown, believed: &site.mesh, peer: way.peer(), reason };
    vec![
        case(foreign.certificate(PEER), "foreign_ca"),
        case(site.mesh.certificate("spiffe://other.local/ns/foreign/sa/peer"), "foreign_trust_domain"),
        case(site.mesh.certificate("https://cluster.local/ns/foreign/sa/peer"), "bad_certificate"),
        case(site.mesh.expired(PEER), "certificate_expired"),
    ]
}

/// The same, and another workload's, which no client believes.
fn bad_at_a_server<'a>(way: Way, site: &'a Site, foreign: &Mesh) -> Vec<Case<'a>> {
    let shown = site.mesh.certificate("spiffe://cluster.local/ns/foreign/sa/another");
    let case = Case { shown, believed: &site.mesh, peer: way.peer(), reason: "wrong_identity" };
    bad(way, site, foreign).into_iter().chain([case]).collect()
}

#[test]
fn our_client_refuses_bad_certificates_of_an_hbone_server() {
    let name = "our_client_refuses_bad_certificates_of_an_hbone_server";
    are_refused(Way::ToHbone, name, |site, foreign| bad_at_a_server(Way::ToHbone, site, foreign));
}

#[test]
fn our_client_refuses_bad_certificates_of_a_sidecar() {
    let name = "our_client_refuses_bad_certificates_of_a_sidecar";
    are_refused(Way::ToSidecar, name, |site, foreign| bad_at_a_server(Way::ToSidecar, site, foreign));
}

#[test]
fn our_server_refuses_bad_certificates_of_an_hbone_client() {
    let name = "our_server_refuses_bad_certificates_of_an_hbone_client";
    are_refused(Way::FromHbone, name, |site, foreign| bad(Way::FromHbone, site, foreign));
}

#[test]
fn our_server_refuses_bad_certificates_of_a_sidecar() {
    let name = "our_server_refuses_bad_certificates_of_a_sidecar";
    are_refused(Way::FromSidecar, name, |site, foreign| bad(Way::FromSidecar, site, foreign));
}

/// An Envoy that knows another authority, and one that expects somebody else.
fn mistrusting<'a>(site: &'a Site, foreign: &'a Mesh, other: Peer<'a>, way: Way) -> Vec<Case<'a>> {
    let case = |believed, peer| Case {
        shown: site.mesh.certificate(PEER),
        believed,
        peer,
        reason: "refused_by_peer",
    };
    vec![case(foreign, way.peer()), case(&site.mesh, other)]
}

#[test]
fn a_server_that_does_not_believe_our_client_is_named_as_the_reason() {
    let name = "a_server_that_does_not_believe_our_client_is_named_as_the_reason";
    for way in [Way::ToHbone, Way::ToSidecar] {
        are_refused(way, name, |site, foreign| {
            mistrusting(site, foreign, Peer::OfTrustDomain("other.local"), way)
        });
    }
}

#[test]
fn a_client_that_does_not_believe_our_server_is_named_as_the_reason() {
    let name = "a_client_that_does_not_believe_our_server_is_named_as_the_reason";
    for way in [Way::FromHbone, Way::FromSidecar] {
        are_refused(way, name, |site, foreign| mistrusting(site, foreign, Peer::Exactly(ANOTHER), way));
    }
}

const ANOTHER: &str = "spiffe://cluster.local/ns/full/sa/another";
