//! HBONE, as Envoy speaks it.

use std::io::ErrorKind;

use culvert_testbed::{Family, SocketSpec};

use crate::{
    app::{ANSWER, QUESTION, failure, round_trip},
    site::{APP, Site, Speaks, Way},
};

#[test]
fn envoy_is_a_client_of_our_server_over_hbone() {
    let Some(site) = Site::start("envoy_is_a_client_of_our_server_over_hbone", Speaks::Nothing) else {
        return;
    };
    let _envoy = site.envoy(&Way::FromHbone.config(&site));
    let capture = site.a.capture(&site.b).unwrap();
    for family in Family::ALL {
        let listener = Way::FromHbone.listen(&site, family);
        let mut carried = Way::FromHbone.connect(&site, family, &listener);
        round_trip(&mut carried.client, &mut carried.server);
        assert_eq!(
            carried.server.peer_addr().unwrap(),
            carried.client.local_addr().unwrap(),
            "accept() shows another client"
        );
        Way::FromHbone.was_carried(&site, carried);
    }
    let traffic = capture.stop().unwrap();
    assert!(!traffic.streams().is_empty());
    assert_eq!([QUESTION, ANSWER].map(|secret| traffic.readable(secret)), [0, 0]);
}

#[test]
fn our_client_reaches_a_pod_that_envoy_serves_over_hbone() {
    for speaks in [Speaks::Redirected, Speaks::Tunnel] {
        let Some(site) = Site::start("our_client_reaches_a_pod_that_envoy_serves_over_hbone", speaks) else {
            return;
        };
        let _envoy = site.envoy(&Way::ToHbone.config(&site));
        let capture = site.a.capture(&site.b).unwrap();
        for family in Family::ALL {
            let listener = Way::ToHbone.listen(&site, family);
            let mut carried = Way::ToHbone.connect(&site, family, &listener);
            round_trip(&mut carried.client, &mut carried.server);
            assert_eq!(carried.client.peer_addr().unwrap(), site.peer.address(family, APP));
            Way::ToHbone.was_carried(&site, carried);
        }
        let traffic = capture.stop().unwrap();
        assert!(!traffic.streams().is_empty());
        assert_eq!([QUESTION, ANSWER].map(|secret| traffic.readable(secret)), [0, 0]);
    }
}

#[test]
fn what_envoy_does_not_serve_or_reach_is_a_connection_that_fails() {
    let name = "what_envoy_does_not_serve_or_reach_is_a_connection_that_fails";
    let Some(site) = Site::start(name, Speaks::Redirected) else { return };
    let _envoy = site.envoy(&Way::ToHbone.config(&site));
    for family in Family::ALL {
        // Nobody listens on the first port, and for the second Envoy has no route.
        for (port, reason) in [(APP, "peer_app_unreachable"), (APP + 1, "tunnel_failed")] {
            let source = site.ours.address(family, SOURCE + port);
            let spec = SocketSpec { bind: Some(source), ..SocketSpec::default() };
            // It may have failed before whoever connects gets to see that it was connected.
            let failed = match site.ours.connect_as(site.peer.address(family, port), spec) {
                Ok(mut client) => failure(&mut client),
                Err(error) => Some(error.kind()),
            };
            assert_eq!(failed, Some(ErrorKind::ConnectionReset), "it looks like the end of the data");
            let record = site.record("outbound", source);
            assert_eq!(
                (&record["outcome"], &record["reason"]),
                (&"failed".into(), &reason.into()),
                "{record}"
            );
        }
    }
}

/// Source ports begin here, outside of those that the kernel picks.
const SOURCE: u16 = 20_000;
