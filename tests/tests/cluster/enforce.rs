//! Policy that changes, and what is open then.

use std::net::{SocketAddr, TcpStream};

use culvert_testbed::{AgentOptions, Family, SocketSpec};
use serde_json::Value;

use crate::common::{Cluster, Echo, ask, eventually, exchange, mode, peer_authentication, wait_closed};

fn set(cluster: &Cluster, mode_of_all: &str) {
    let policy = peer_authentication("full", "default", &mode(mode_of_all));
    cluster.machine.apply("policy", &policy).expect("a manifest can be written");
}

fn open(cluster: &Cluster, port: u16) -> [TcpStream; 2] {
    Family::ALL.map(|family| ask(&cluster.legacy, cluster.server.address(family, port)).expect("it is legal"))
}

fn gist(record: &Value) -> [Value; 3] {
    ["transport", "outcome", "reason"].map(|field| record[field].clone())
}

#[test]
fn plaintext_that_became_illegal_is_closed_and_nothing_else_is_touched() {
    let cluster = Cluster::start();
    let echo = Echo::start(&cluster.server, &[80, 8080]);
    let outside = Echo::start(&cluster.legacy, &[80]);
    let ports = "portLevelMtls: { 8080: { mode: PERMISSIVE } }";
    let mut illegal = open(&cluster, 80);
    let mut mapped = {
        let asked = cluster.server.address(Family::V4, 80);
        cluster.legacy.connect_as(asked, SocketSpec { mapped: true, ..SocketSpec::default() }).unwrap()
    };
    exchange(&mut mapped).unwrap();
    let mut legal: Vec<TcpStream> = open(&cluster, 8080).into();
    for family in Family::ALL {
        // Over mTLS; to itself; and what the pod itself began.
        legal.push(ask(&cluster.client, cluster.server.address(family, 80)).unwrap());
        legal.push(ask(&cluster.server, cluster.server.address(family, 80)).unwrap());
        legal.push(ask(&cluster.server, cluster.legacy.address(family, 80)).unwrap());
        legal.push(ask(&cluster.b, cluster.server.address(family, 80)).unwrap());
    }
    let spec =
        format!("{{ selector: {{ matchLabels: {{ app: httpbin }} }}, mtls: {{ mode: STRICT }}, {ports} }}");
    cluster.machine.apply("policy", &peer_authentication("full", "httpbin", &spec)).unwrap();
    illegal.iter_mut().for_each(wait_closed);
    wait_closed(&mut mapped);
    for stream in &illegal {
        let record = cluster.inbound(stream.local_addr().unwrap());
        assert_eq!(gist(&record), ["plaintext", "refused", "mode_strict"], "{record}");
        assert_eq!(record["detail"], "policy changed");
    }
    for stream in &mut legal {
        exchange(stream).unwrap();
    }
    drop((echo, outside));
}

#[test]
fn what_was_open_before_its_server_was_enrolled_is_judged_as_well() {
    let policy = peer_authentication("full", "default", &mode("STRICT"));
    let capture = "culvert.io/capture";
    let mut cluster = Cluster::with(&[&policy], &AgentOptions::default());
    let relabel = |cluster: &mut Cluster, value: &str| {
        let value = value.to_owned();
        let server = &cluster.server;
        cluster.machine.relabel(server, |labels| drop(labels.insert(capture.to_owned(), value)));
        cluster.machine.publish().unwrap();
    };
    relabel(&mut cluster, "disabled");
    let _echo = Echo::start(&cluster.server, &[80]);
    let _outside = Echo::start(&cluster.legacy, &[80]);
    let asked = |family| cluster.server.address(family, 80);
    let mut illegal =
        Family::ALL.map(|family| eventually("plaintext", || ask(&cluster.legacy, asked(family)).ok()));
    let mut legal =
        Family::ALL.map(|family| ask(&cluster.server, cluster.legacy.address(family, 80)).unwrap());
    relabel(&mut cluster, "enabled");
    for stream in &mut illegal {
        wait_closed(stream);
        let record = cluster.inbound(stream.local_addr().unwrap());
        assert_eq!(gist(&record), ["plaintext", "refused", "mode_strict"], "{record}");
    }
    for stream in &mut legal {
        exchange(stream).unwrap();
    }
}

#[test]
fn an_agent_that_comes_back_judges_what_was_opened_before_it() {
    let mut cluster = Cluster::start();
    let _echo = Echo::start(&cluster.server, &[80]);
    let mut illegal = open(&cluster, 80);
    cluster.server_agent.kill().unwrap();
    set(&cluster, "STRICT");
    cluster.server_agent = cluster.b.agent(&AgentOptions::default()).unwrap();
    illegal.iter_mut().for_each(wait_closed);
}

#[test]
fn a_change_that_leaves_plaintext_legal_closes_nothing() {
    let cluster = Cluster::start();
    let _echo = Echo::start(&cluster.server, &[80]);
    let mut streams = open(&cluster, 80);
    let sources: Vec<SocketAddr> = streams.iter().map(|it| it.local_addr().unwrap()).collect();
    let mark = cluster.server_agent.mark();
    set(&cluster, "DISABLE");
    let is_reset = |source: &SocketAddr| {
        cluster.server_agent.records().iter().any(|record| record["source"] == source.to_string())
    };
    // The sweep that follows is over when the next policy is in force.
    eventually("DISABLE", || {
        let record = cluster.call(&cluster.client, Family::V4, 80).ok()?;
        (record["reason"] == "mode_disable").then_some(())
    });
    set(&cluster, "PERMISSIVE");
    eventually("PERMISSIVE", || {
        let record = cluster.call(&cluster.client, Family::V4, 80).ok()?;
        (record["transport"] == "hbone").then_some(())
    });
    for stream in &mut streams {
        exchange(stream).unwrap();
    }
    assert!(!sources.iter().any(is_reset));
    let closed = |line: &Value| line["message"].as_str().is_some_and(|text| text.contains("were closed"));
    assert!(!cluster.server_agent.lines()[mark..].iter().any(|line| closed(&line.json)));
}
