//! Sidecar mTLS, as Envoy speaks it for Istio.

use std::io::ErrorKind;

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
    for mode in ["PERMISSIVE", "STRICT"] {
        let name = "a_client_with_a_sidecar_reaches_our_pod_on_its_own_port";
        let Some(site) = Site::start(name, Speaks::Sidecar) else { return };
        let policy = format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
             metadata: {{ namespace: full, name: default }}\nspec: {{ mtls: {{ mode: {mode} }} }}\n"
        );
        site.machine.apply("mode", &policy).unwrap();
        let _envoy = site.envoy(&Way::FromSidecar.config(&site));
        let capture = site.a.capture(&site.b).unwrap();
        for family in Family::ALL {
            let listener = Way::FromSidecar.listen(&site, family);
            let mut carried = Way::FromSidecar.connect(&site, family, &listener);
            round_trip(&mut carried.client, &mut carried.server);
            assert_eq!(
                carried.server.peer_addr().unwrap().ip(),
                site.peer.ip(family),
                "accept() shows another client"
            );
            Way::FromSidecar.was_carried(&site, carried);

            let to = site.ours.address(family, APP);
            match mode {
                "STRICT" => {
                    let refused = || site.legacy.connect(to).err().map(|error| error.kind());
                    eventually("the refusal", || {
                        refused().filter(|kind| *kind == ErrorKind::ConnectionRefused)
                    });
                }
                _ => {
                    let (mut client, mut server) = connect(&site.legacy, to, &listener);
                    round_trip(&mut client, &mut server);
                }
            }
        }
        let traffic = capture.stop().unwrap();
        assert!(!traffic.streams().is_empty());
        assert_eq!([QUESTION, ANSWER].map(|secret| traffic.readable(secret)), [0, 0]);
    }
}
