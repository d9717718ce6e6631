//! What streams do between an agent and Envoy, each way: a lot at once, the end of one direction, and no good end.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::Shutdown,
};

use culvert_testbed::Family;

use crate::{
    app::{ANSWER, BLOCK, QUESTION, carry, expect, failure, finish, reset, round_trip, send, transfer},
    site::{Carried, Site, Way, eventually},
};

/// Runs a test for some ways, with an Envoy for each, and for each family.
fn each_of(ways: &[Way], name: &str, test: impl Fn(Way, &Site, Carried)) {
    for &way in ways {
        let Some(site) = Site::start(name, way.speaks()) else { return };
        let _envoy = site.envoy(&way.config(&site));
        for family in Family::ALL {
            let listener = way.listen(&site, family);
            test(way, &site, way.connect(&site, family, &listener));
        }
    }
}

/// In each direction, over each family; in bytes.
const LARGE: u64 = 256 << 20;

fn transfers_arrive_whole(way: Way, name: &str) {
    each_of(&[way], name, |way, site, carried| {
        transfer(&carried.client, &carried.server, LARGE / BLOCK);
        way.was_carried(site, carried);
    });
}

#[test]
fn large_transfers_to_an_hbone_server_arrive_whole() {
    transfers_arrive_whole(Way::ToHbone, "large_transfers_to_an_hbone_server_arrive_whole");
}

#[test]
fn large_transfers_of_an_hbone_client_arrive_whole() {
    transfers_arrive_whole(Way::FromHbone, "large_transfers_of_an_hbone_client_arrive_whole");
}

#[test]
fn large_transfers_to_a_sidecar_arrive_whole() {
    transfers_arrive_whole(Way::ToSidecar, "large_transfers_to_a_sidecar_arrive_whole");
}

#[test]
fn large_transfers_of_a_sidecar_arrive_whole() {
    transfers_arrive_whole(Way::FromSidecar, "large_transfers_of_a_sidecar_arrive_whole");
}

#[test]
fn a_client_that_has_finished_still_gets_its_answer() {
    each_of(&Way::ALL, "a_client_that_has_finished_still_gets_its_answer", |way, site, mut carried| {
        let Carried { client, server, .. } = &mut carried;
        carry(client, server, QUESTION);
        finish(client, server);
        carry(server, client, ANSWER);
        finish(server, client);
        way.was_carried(site, carried);
    });
}

#[test]
fn a_server_that_has_finished_still_hears_its_client() {
    let ways = [Way::FromHbone, Way::ToSidecar, Way::FromSidecar];
    each_of(&ways, "a_server_that_has_finished_still_hears_its_client", |way, site, mut carried| {
        let Carried { client, server, .. } = &mut carried;
        carry(server, client, ANSWER);
        finish(server, client);
        carry(client, server, QUESTION);
        finish(client, server);
        way.was_carried(site, carried);
    });
}

/// As a server of HTTP may (RFC 9113, section 8.1), Envoy hears no more once it has passed on the end of an answer: it
/// resets the stream with `NO_ERROR`, which must not cost the client what it has not read yet.
#[test]
fn an_answer_that_ends_before_its_question_arrives_whole() {
    let name = "an_answer_that_ends_before_its_question_arrives_whole";
    each_of(&[Way::ToHbone], name, |way, site, mut carried| {
        let Carried { client, server, source } = &mut carried;
        carry(client, server, QUESTION);
        send(server, WITHIN_WINDOW);
        server.shutdown(Shutdown::Both).unwrap();
        let record = way.record(site, *source);
        assert_eq!(record["outcome"], "ok", "{record}");
        expect(client, WITHIN_WINDOW);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        // What is said to nobody meets a RST, as it does without anything in between.
        let refused = eventually("the reset", || client.write_all(QUESTION).err());
        assert!(matches!(refused.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{refused}");
    });
}

/// Blocks that an agent takes in for an application that does not read.
const WITHIN_WINDOW: u64 = 12;

#[test]
fn a_reset_of_the_client_is_no_end_of_its_data() {
    let ways = [Way::FromHbone, Way::ToSidecar, Way::FromSidecar];
    each_of(&ways, "a_reset_of_the_client_is_no_end_of_its_data", |_, _, carried| {
        let Carried { mut client, mut server, .. } = carried;
        round_trip(&mut client, &mut server);
        reset(client);
        assert_eq!(failure(&mut server), Some(ErrorKind::ConnectionReset));
    });
}

/// Envoy tells its application about it with a FIN, so it is asked itself.
#[test]
fn a_reset_of_our_client_resets_the_stream_at_an_hbone_server() {
    let name = "a_reset_of_our_client_resets_the_stream_at_an_hbone_server";
    let Some(site) = Site::start(name, Way::ToHbone.speaks()) else { return };
    let envoy = site.envoy(&Way::ToHbone.config(&site));
    for (family, resets) in Family::ALL.into_iter().zip(1..) {
        let listener = Way::ToHbone.listen(&site, family);
        let Carried { mut client, mut server, .. } = Way::ToHbone.connect(&site, family, &listener);
        round_trip(&mut client, &mut server);
        reset(client);
        envoy.wait_until("http.hbone.downstream_rq_rx_reset", |found| found == resets).unwrap();
    }
}

#[test]
fn a_reset_of_the_server_is_no_end_of_its_data() {
    each_of(&Way::ALL, "a_reset_of_the_server_is_no_end_of_its_data", |_, _, carried| {
        let Carried { mut client, mut server, .. } = carried;
        round_trip(&mut client, &mut server);
        reset(server);
        assert_eq!(failure(&mut client), Some(ErrorKind::ConnectionReset));
    });
}
