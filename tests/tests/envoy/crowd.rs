//! Thousands of streams that come and go at random between an agent and Envoy.

use std::collections::BTreeSet;

use culvert_testbed::{
    Family,
    conversation::{Abort, End, Held, hold},
};
use serde_json::Value;

use crate::{
    app::round_trip,
    site::{HBONE, Site, Way, eventually},
};

/// Over each family.
const STREAMS: u32 = 2000;

/// Envoy tells its application of a stream that was reset with a FIN, as it does of one that has ended.
#[test]
fn thousands_of_streams_come_and_go_at_an_hbone_server() {
    let name = "thousands_of_streams_come_and_go_at_an_hbone_server";
    come_and_go(Way::ToHbone, name, Abort::MayLookLikeAnEnd, "http.hbone.downstream_rq_active");
}

#[test]
fn thousands_of_streams_of_an_hbone_client_come_and_go() {
    let name = "thousands_of_streams_of_an_hbone_client_come_and_go";
    come_and_go(Way::FromHbone, name, Abort::IsTold, "cluster.hbone.upstream_rq_active");
}

/// `active` is Envoy's count of streams that are open.
fn come_and_go(way: Way, name: &str, of_client: Abort, active: &str) {
    let Some(site) = Site::start(name, way.speaks()) else { return };
    let envoy = site.envoy(&way.config(&site));
    for (family, first) in Family::ALL.into_iter().zip([0, STREAMS]) {
        let (from, to) = way.client(&site, family);
        let listener = way.listen(&site, family);
        let held = hold(first..first + STREAMS, from, to, listener, of_client).unwrap();
        were_carried(way, &site, &held);
        envoy.wait_until(active, |open| open == 0).unwrap();
        eventually("the end of all streams", || open_sockets(&site).is_empty().then_some(()));

        let listener = way.listen(&site, family);
        let mut fresh = way.connect(&site, family, &listener);
        round_trip(&mut fresh.client, &mut fresh.server);
        way.was_carried(&site, fresh);
    }
}

/// Each that the applications ended regularly, and none as anything else than HBONE.
fn were_carried(way: Way, site: &Site, held: &[Held]) {
    let regular = held.iter().filter(|held| held.plan.end == End::Regular);
    let expected: BTreeSet<_> = regular.map(|held| expected(way, held)).collect();
    eventually("the record of each", || {
        let found = site.agent.records().iter().map(found).collect();
        expected.is_subset(&found).then_some(())
    });
    let records = site.agent.records();
    assert_eq!(records.iter().find(|record| record["transport"] != "hbone"), None);
}

/// What tells the record of a connection: ports are used again.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Carried {
    source: String,
    outcome: String,
    sent: Option<u64>,
    received: Option<u64>,
}

fn expected(way: Way, held: &Held) -> Carried {
    let (up, down) = held.plan.sizes();
    let (sent, received) = if way.is_ours() { (up, down) } else { (down, up) };
    let (source, outcome) = (held.source.to_string(), "ok".to_owned());
    Carried { source, outcome, sent: Some(sent), received: Some(received) }
}

fn found(record: &Value) -> Carried {
    let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
    let (sent, received) = (record["bytes_sent"].as_u64(), record["bytes_received"].as_u64());
    Carried { source: text("source"), outcome: text("outcome"), sent, received }
}

/// The connections of our pod that somebody holds, but for its tunnels.
fn open_sockets(site: &Site) -> String {
    let mut ss = site.ours.command("ss");
    ss.args(["-Htn", "state", "established", "state", "close-wait"]);
    let output = ss.arg(format!("sport != :{HBONE} and dport != :{HBONE}")).output().unwrap();
    assert!(output.status.success(), "ss: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
