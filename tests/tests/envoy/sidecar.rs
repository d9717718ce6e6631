//! Sidecar mTLS, as Envoy speaks it for Istio.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
};

use culvert_testbed::Family;

use crate::{
    app::{ANSWER, QUESTION, connect, round_trip},
    site::{APP, Site, Speaks, Way, eventually},
};

#[test]
fn our_client_and_plaintext_reach_a_pod_with_a_permissive_sidecar() {
    let name = "our_client_and_plaintext_reach_a_pod_with_a_permissive_sidecar";
    let Some(site) = Site::start(name, Speaks::Sidecar) else { return };
    let _envoy = site.envoy(&Way::ToSidecar.config(&site));
    for family in Family::ALL {
        let listener = Way::ToSidecar.listen(&site, family);
        let capture = site.a.capture(&site.b).unwrap();
        let mut carried = Way::ToSidecar.connect(&site, family, &listener);
        round_trip(&mut carried.client, &mut carried.server);
        assert_eq!(carried.client.peer_addr().unwrap(), site.peer.address(family, APP));
        Way::ToSidecar.was_carried(&site, carried);
        let traffic = capture.stop().unwrap();
        let ports = traffic.streams().iter().filter(|stream| stream.to == site.peer.address(family, APP));
        assert_eq!(ports.count(), 1, "mTLS goes to the application's own port");
        assert_eq!([QUESTION, ANSWER].map(|secret| traffic.readable(secret)), [0, 0]);

        let plain = connect(&site.legacy, site.peer.address(family, APP), &listener);
        let (mut client, mut server) = plain;
        round_trip(&mut client, &mut server);
    }
}

#[test]
fn a_client_with_a_sidecar_reaches_our_pod_on_its_own_port() {
    let Some(site) = ours("a_client_with_a_sidecar_reaches_our_pod_on_its_own_port", "PERMISSIVE") else {
        return;
    };
    reaches_us(&site, |to, listener| {
        let (mut client, mut server) = connect(&site.legacy, to, listener);
        round_trip(&mut client, &mut server);
    });
}

#[test]
fn a_client_with_a_sidecar_reaches_our_strict_pod_and_plaintext_does_not() {
    let name = "a_client_with_a_sidecar_reaches_our_strict_pod_and_plaintext_does_not";
    let Some(site) = ours(name, "STRICT") else { return };
    reaches_us(&site, |to, _| {
        let refused = site.legacy.connect(to).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}

/// A site where plaintext to our pod is known to be accepted, or not.
fn ours(name: &str, mode: &str) -> Option<Site> {
    let site = Site::start(name, Speaks::Sidecar)?;
    let policy = format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
         metadata: {{ namespace: full, name: default }}\nspec: {{ mtls: {{ mode: {mode} }} }}\n"
    );
    site.machine.apply("mode", &policy).unwrap();
    let _listener = Way::FromSidecar.listen(&site, Family::V4);
    let connect = || site.legacy.connect(site.ours.address(Family::V4, APP));
    eventually("the mode", || (connect().is_err() == (mode == "STRICT")).then_some(()));
    Some(site)
}

fn reaches_us(site: &Site, plaintext: impl Fn(SocketAddr, &TcpListener)) {
    let _envoy = site.envoy(&Way::FromSidecar.config(site));
    let capture = site.a.capture(&site.b).unwrap();
    for family in Family::ALL {
        let listener = Way::FromSidecar.listen(site, family);
        let mut carried = Way::FromSidecar.connect(site, family, &listener);
        round_trip(&mut carried.client, &mut carried.server);
        assert_eq!(carried.source.ip(), site.peer.ip(family), "accept() shows another client");
        Way::FromSidecar.was_carried(site, carried);
        plaintext(site.ours.address(family, APP), &listener);
    }
    let traffic = capture.stop().unwrap();
    assert!(!traffic.streams().is_empty());
    assert_eq!([QUESTION, ANSWER].map(|secret| traffic.readable(secret)), [0, 0]);
}
