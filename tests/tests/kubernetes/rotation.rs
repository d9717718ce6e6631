//! Roots follow each other under running connections.

use std::{cell::Cell, sync::Arc, time::Duration};

use culvert_testbed::{Agent, AgentOptions, PodSpec, walkthrough::Transport};
use serde_json::Value;

use crate::{
    app::{ask, while_calling, within},
    cluster::Cluster,
};

/// A successor is due when the older root has so long to go: the lifetime of a certificate and two overlaps. It signs
/// after one overlap, which is longer than the agents take to look at their file of roots.
const LIFETIMES: &[(&str, &str)] = &[("max-lifetime", "6s"), ("overlap", "3s"), ("root-lifetime", "24s")];

#[test]
fn a_root_follows_another_under_running_connections() {
    let mut cluster = Cluster::prepare(PodSpec::new("full", "httpbin").enrolled());
    cluster.start_ca(LIFETIMES);
    cluster.start_agents(&AgentOptions::default());
    cluster.wait_announced(&cluster.client, true);
    cluster.wait_announced(&cluster.server, true);
    cluster.wait_transport(Transport::Mtls);
    let first = cluster.published_roots();
    assert_eq!(first.len(), 1);
    let mut streams = cluster.addresses().map(|to| cluster.client.connect(to).unwrap());
    let tally = while_calling(&[Arc::clone(&cluster.client)], &cluster.addresses(), || {
        let patience = Duration::from_secs(30);
        let successor = || cluster.published_roots().get(1).cloned();
        let second = within(patience, "a second root", successor);
        within(patience, "the first root's end", || {
            (!cluster.published_roots().contains(&first[0])).then_some(())
        });
        assert_eq!(cluster.published_roots()[0], second);
        for agent in [cluster.client_agent(), cluster.server_agent()] {
            // The first, then both, then the second.
            wait_for_times(agent, 3, "these roots are trusted");
        }
        cluster.wait_transport(Transport::Mtls);
        for stream in &mut streams {
            assert_eq!(ask(stream).unwrap().pod, "full/httpbin");
        }
    });
    tally.assert_unnoticed();
}

fn wait_for_times(agent: &Agent, times: usize, message: &str) {
    let seen = Cell::new(0);
    let is_it = |line: &Value| {
        seen.set(seen.get() + usize::from(line["message"] == message));
        seen.get() == times
    };
    agent.wait_for(is_it).unwrap();
}
