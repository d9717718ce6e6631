//! Pods enter the mesh and leave it, and agents come and go, under clients that never cease to call.

use std::sync::Arc;

use culvert_testbed::{AgentOptions, PodSpec, walkthrough::Transport};

use crate::{app::while_calling, cluster::Cluster};

#[test]
fn a_pod_enters_the_mesh_and_leaves_it_without_a_client_noticing() {
    let mut cluster = Cluster::prepare(PodSpec::new("full", "httpbin"));
    cluster.start_ca(&[]);
    cluster.start_agents(&AgentOptions::default());
    cluster.wait_announced(&cluster.client, true);
    cluster.wait_transport(Transport::Plaintext);
    let clients = [&cluster.client, &cluster.legacy].map(Arc::clone);
    let tally = while_calling(&clients, &cluster.addresses(), || {
        for _ in 0..2 {
            cluster.enrol_server(true);
            cluster.wait_announced(&cluster.server, true);
            cluster.wait_transport(Transport::Mtls);
            let mark = cluster.server_agent().mark();
            cluster.enrol_server(false);
            cluster.wait_announced(&cluster.server, false);
            cluster.wait_transport(Transport::Plaintext);
            cluster.server_agent().wait_for_since(mark, |line| line["message"] == "released").unwrap();
        }
    });
    tally.assert_unnoticed();
}

#[test]
fn a_client_enters_the_mesh_and_leaves_it_without_noticing() {
    let mut cluster = Cluster::start();
    let clients = [Arc::clone(&cluster.client)];
    let tally = while_calling(&clients, &cluster.addresses(), || {
        for _ in 0..2 {
            cluster.enrol_client(false);
            cluster.wait_announced(&cluster.client, false);
            cluster.wait_seen_by_server(Transport::Plaintext);
            cluster.enrol_client(true);
            cluster.wait_announced(&cluster.client, true);
            cluster.wait_seen_by_server(Transport::Mtls);
        }
    });
    tally.assert_unnoticed();
}

#[test]
fn an_agent_ends_and_another_comes_without_its_pods_clients_noticing() {
    let options = AgentOptions::default().flag("failure", "open");
    let mut cluster = Cluster::start_with(&options);
    let clients = [&cluster.client, &cluster.legacy].map(Arc::clone);
    let tally = while_calling(&clients, &cluster.addresses(), || {
        cluster.stop_server_agent();
        assert!(!cluster.is_announced(&cluster.server));
        cluster.wait_transport(Transport::Plaintext);
        cluster.restart_server_agent(&options);
        cluster.wait_announced(&cluster.server, true);
        cluster.wait_transport(Transport::Mtls);
    });
    tally.assert_unnoticed();
}
