//! What streams do between an agent and Envoy, each way: a lot at once, the end of one direction, and no good end.

use culvert_testbed::Family;

use crate::{
    app::{ANSWER, BLOCK, QUESTION, carry, failure, finish, reset, round_trip, transfer},
    site::{Site, Way},
};

/// Runs a test for each way and family, with an Envoy for each way.
fn each_way(name: &str, test: impl Fn(Way, &Site, Family)) {
    for way in Way::ALL {
        let Some(site) = Site::start(name, way.speaks()) else { return };
        let _envoy = site.envoy(&way.config(&site));
        for family in Family::ALL {
            eprintln!("{way:?} {family:?}");
            test(way, &site, family);
        }
    }
}

/// In each direction, over each family; in bytes.
const LARGE: u64 = 256 << 20;

#[test]
fn large_transfers_in_both_directions_at_once_arrive_whole() {
    each_way("large_transfers_in_both_directions_at_once_arrive_whole", |way, site, family| {
        let listener = way.listen(site, family);
        let (client, server) = way.connect(site, family, &listener);
        transfer(&client, &server, LARGE / BLOCK);
        way.was_carried(site, client, server);
    });
}

#[test]
fn a_client_that_has_finished_still_gets_its_answer() {
    each_way("a_client_that_has_finished_still_gets_its_answer", |way, site, family| {
        let listener = way.listen(site, family);
        let (mut client, mut server) = way.connect(site, family, &listener);
        carry(&mut client, &mut server, QUESTION);
        finish(&client, &mut server);
        carry(&mut server, &mut client, ANSWER);
        finish(&server, &mut client);
        way.was_carried(site, client, server);
    });
}

#[test]
fn a_server_that_has_finished_still_hears_its_client() {
    each_way("a_server_that_has_finished_still_hears_its_client", |way, site, family| {
        let listener = way.listen(site, family);
        let (mut client, mut server) = way.connect(site, family, &listener);
        carry(&mut server, &mut client, ANSWER);
        finish(&server, &mut client);
        carry(&mut client, &mut server, QUESTION);
        finish(&client, &mut server);
        way.was_carried(site, client, server);
    });
}

#[test]
fn a_reset_of_the_client_is_no_end_of_its_data() {
    each_way("a_reset_of_the_client_is_no_end_of_its_data", |way, site, family| {
        let listener = way.listen(site, family);
        let (mut client, mut server) = way.connect(site, family, &listener);
        round_trip(&mut client, &mut server);
        reset(client);
        eprintln!("{:?}", failure(&mut server));
    });
}

#[test]
fn a_reset_of_the_server_is_no_end_of_its_data() {
    each_way("a_reset_of_the_server_is_no_end_of_its_data", |way, site, family| {
        let listener = way.listen(site, family);
        let (mut client, mut server) = way.connect(site, family, &listener);
        round_trip(&mut client, &mut server);
        reset(server);
        eprintln!("{:?}", failure(&mut client));
    });
}
