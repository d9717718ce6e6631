//! What the agents depend on is away.

use std::{io::ErrorKind, sync::Arc, time::Duration};

use culvert_testbed::{
    AgentOptions, Family, PodSpec,
    apiserver::{LoggedRequest, Verb},
    walkthrough::Transport,
};
use serde_json::Value;

use crate::{
    app::{PORT, ask, call, eventually, while_calling, within},
    cluster::{Cluster, STRICT},
};

#[test]
fn while_the_api_server_is_away_all_goes_on_and_what_changed_then_is_followed() {
    let cluster = Cluster::start();
    let mut streams = cluster.addresses().map(|to| cluster.client.connect(to).unwrap());
    cluster.api.go_away().unwrap();
    for agent in [cluster.client_agent(), cluster.server_agent()] {
        let told = "the API server does not answer; the last known state serves on";
        agent.wait_for(|line| line["message"] == told).unwrap();
    }
    for (to, stream) in cluster.addresses().into_iter().zip(&mut streams) {
        assert_eq!(ask(stream).unwrap().pod, "full/httpbin");
        assert_eq!(cluster.transport(to), Some(Transport::Mtls));
        assert!(call(&cluster.legacy, to).is_ok());
    }
    cluster.machine.apply("policy", STRICT).unwrap();
    cluster.api.come_back().unwrap();
    for to in cluster.addresses() {
        let refused = || call(&cluster.legacy, to).err().map(|error| error.kind());
        // An agent that waits doubles its waits.
        let kind = within(Duration::from_secs(20), "the refusal", refused);
        assert_eq!(kind, ErrorKind::ConnectionRefused);
        assert_eq!(cluster.transport(to), Some(Transport::Mtls));
    }
    for stream in &mut streams {
        assert_eq!(ask(stream).unwrap().pod, "full/httpbin");
    }
}

#[test]
fn without_an_authority_mtls_is_refused_and_with_one_it_works() {
    // A peer that is known to speak mTLS, whatever its own agent says of it.
    let server =
        PodSpec::new("full", "httpbin").enrolled().annotation("ambient.istio.io/redirection", "enabled");
    let mut cluster = Cluster::prepare(server);
    cluster.start_agents(&AgentOptions::default());
    for (agent, pod) in [(cluster.client_agent(), "full/sleep"), (cluster.server_agent(), "full/httpbin")] {
        agent.wait_for(|line| line["message"] == "enrolled" && line["pod"] == pod).unwrap();
    }
    for to in cluster.addresses() {
        let mark = cluster.client_agent().mark();
        call(&cluster.client, to).unwrap_err();
        let is_its = |record: &Value| record["destination"] == to.to_string();
        let record = cluster.client_agent().wait_for_record_since(mark, is_its).unwrap();
        assert_eq!((&record["outcome"], &record["reason"]), (&"refused".into(), &"no_certificate".into()));
        // Who does not speak mTLS is served as ever.
        assert!(call(&cluster.legacy, to).is_ok());
    }
    let announced = |request: &LoggedRequest| request.verb == Verb::Patch;
    assert!(!cluster.api.requests().iter().any(announced), "a pod without a certificate was announced");

    cluster.start_ca(&[]);
    // The agents try ever more seldom: they have for a few seconds by now.
    for pod in [&*cluster.client, &cluster.server] {
        within(Duration::from_secs(20), "the announcement", || cluster.is_announced(pod).then_some(()));
    }
    cluster.wait_transport(Transport::Mtls);
}

#[test]
fn while_the_authority_is_away_certificates_serve_on() {
    let mut cluster = Cluster::start();
    cluster.ca = None;
    let clients = [Arc::clone(&cluster.client)];
    let tally = while_calling(&clients, &cluster.addresses(), || {
        let (late, _server) = cluster.add(PodSpec::new("full", "late").enrolled());
        let is_enrolled = |line: &Value| line["message"] == "enrolled" && line["pod"] == "full/late";
        cluster.server_agent().wait_for(is_enrolled).unwrap();
        // Without a certificate it is left to plaintext.
        let to = late.address(Family::V6, PORT);
        assert_eq!(cluster.transport(to), Some(Transport::Plaintext));
        assert!(!cluster.is_announced(&late));
        cluster.start_ca(&[]);
        within(Duration::from_secs(20), "the announcement", || cluster.is_announced(&late).then_some(()));
        eventually("mTLS", || (cluster.transport(to)? == Transport::Mtls).then_some(()));
    });
    tally.assert_unnoticed();
    cluster.wait_transport(Transport::Mtls);
}
