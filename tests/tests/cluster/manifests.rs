//! The directory of manifests: what is broken is named and stops nothing else, and what changes takes effect.

use std::{fs, io, process::Command};

use culvert_testbed::{Agent, AgentOptions, Family, Node, Pod, PodSpec, culvert};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::common::{Cluster, Echo, ask, eventually, mode, peer_authentication, record};

fn enrolled(agent: &Agent, pod: &str) {
    agent.wait_for(|line| line["message"] == "enrolled" && line["pod"] == pod).expect("it is enrolled");
}

fn released(agent: &Agent, pod: &str) {
    agent.wait_for(|line| line["message"] == "released" && line["pod"] == pod).expect("it is released");
}

fn refused(cluster: &Cluster, family: Family) -> Option<io::Error> {
    ask(&cluster.legacy, cluster.server.address(family, 80)).err()
}

fn wait_for_strict(cluster: &Cluster) {
    for family in Family::ALL {
        eventually("STRICT", || refused(cluster, family));
    }
}

#[test]
fn a_broken_document_is_named_and_changes_nothing_that_was_in_force() {
    let strict = peer_authentication("full", "default", &mode("STRICT"));
    let cluster = Cluster::with(&[], &AgentOptions::default());
    let _echo = Echo::start(&cluster.server, &[80, 8080]);
    cluster.machine.apply("policies", &strict).unwrap();
    wait_for_strict(&cluster);

    let broken = peer_authentication("full", "default", &mode("STRONG"));
    let other = peer_authentication(
        "full",
        "httpbin",
        "{ selector: { matchLabels: { app: httpbin } }, portLevelMtls: { 8080: { mode: DISABLE } } }",
    );
    cluster.machine.apply("policies", &format!("{broken}---\n{other}")).unwrap();
    for agent in [&cluster.client_agent, &cluster.server_agent] {
        let line = agent.wait_for(|line| line["message"] == "manifest not taken in").unwrap();
        assert_eq!(line["level"], "WARN");
        let problem = line["problem"].as_str().unwrap();
        for part in
            ["policies.yaml", "document 1", "PeerAuthentication", "spec.mtls.mode", "STRONG", "STRICT"]
        {
            assert!(problem.contains(part), "{part} in {problem}");
        }
        let said =
            agent.lines().iter().filter(|line| line.json["message"] == "manifest not taken in").count();
        assert_eq!(said, 1, "each problem is told once");
    }
    for family in Family::ALL {
        eventually("the other document", || cluster.call(&cluster.legacy, family, 8080).ok());
        assert!(refused(&cluster, family).is_some(), "STRICT was in force, and is still");
    }
}

#[test]
fn a_broken_policy_is_told_by_culvert_status_until_it_is_mended() {
    let cluster = Cluster::start();
    let _echo = Echo::start(&cluster.server, &[80]);
    let policy = |of_all: &str| peer_authentication("full", "default", &mode(of_all));
    cluster.machine.apply("policies", &policy("STRICT")).unwrap();
    wait_for_strict(&cluster);

    cluster.machine.apply("policies", &policy("STRONG")).unwrap();
    let concern = eventually("the concern", || concerns(&cluster.b).into_iter().next());
    for part in ["PeerAuthentication full/default", "policies.yaml", "spec.mtls.mode", "STRONG"] {
        assert!(concern.contains(part), "{part} in {concern}");
    }
    assert!(
        Family::ALL.iter().all(|family| refused(&cluster, *family).is_some()),
        "STRICT is in force still"
    );

    cluster.machine.apply("policies", &policy("PERMISSIVE")).unwrap();
    eventually("no concern", || concerns(&cluster.b).is_empty().then_some(()));
    for family in Family::ALL {
        eventually("PERMISSIVE", || cluster.call(&cluster.legacy, family, 80).ok());
    }
}

/// What `culvert status` has a person look at, which its exit status says as well.
fn concerns(node: &Node) -> Vec<String> {
    let output = Command::new(culvert())
        .args(["status", "-o", "json", "--node", node.name()])
        .output()
        .expect("it runs");
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let concerns: Vec<String> = serde_json::from_value(document["concerns"].clone()).expect("a list");
    assert_eq!(output.status.success(), concerns.is_empty(), "{output:?}");
    concerns
}

#[test]
fn what_is_not_yaml_is_named_and_the_next_document_applies() {
    let cluster = Cluster::start();
    let _echo = Echo::start(&cluster.server, &[80]);
    let strict = peer_authentication("full", "default", &mode("STRICT"));
    cluster.machine.apply("policies", &format!("kind: [\n---\n{strict}")).unwrap();
    let line = cluster.server_agent.wait_for(|line| line["message"] == "manifest not taken in").unwrap();
    let problem = line["problem"].as_str().unwrap();
    assert!(problem.contains("policies.yaml, document 1"), "{problem}");
    wait_for_strict(&cluster);
}

#[test]
fn a_deleted_file_takes_its_objects_with_it() {
    let cluster = Cluster::start();
    let _echo = Echo::start(&cluster.server, &[80]);
    cluster.machine.apply("strict", &peer_authentication("full", "default", &mode("STRICT"))).unwrap();
    wait_for_strict(&cluster);
    cluster.machine.unapply("strict").unwrap();
    for family in Family::ALL {
        eventually("PERMISSIVE", || cluster.call(&cluster.legacy, family, 80).ok());
    }
}

#[test]
fn a_pod_that_appears_later_is_enrolled() {
    let mut cluster = Cluster::start();
    let late = cluster.machine.pod(&cluster.b, PodSpec::new("full", "late").enrolled()).unwrap();
    cluster.machine.publish().unwrap();
    enrolled(&cluster.server_agent, "full/late");
    let _echo = Echo::start(&late, &[80]);
    for family in Family::ALL {
        eventually("mTLS", || (transport_to(&cluster, &late, family) == "hbone").then_some(()));
    }
}

fn transport_to(cluster: &Cluster, server: &Pod, family: Family) -> String {
    let stream = ask(&cluster.client, server.address(family, 80)).expect("it is served");
    let source = stream.local_addr().expect("it is connected");
    drop(stream);
    cluster.outbound(source)["transport"].as_str().expect("each connection has one").to_owned()
}

#[test]
fn a_pod_is_enrolled_when_its_process_appears() {
    let mut cluster = Cluster::start();
    let pod = cluster.machine.pod(&cluster.b, PodSpec::new("full", "slow").enrolled()).unwrap();
    let first = Pid::from_raw(pod.process().try_into().unwrap()).unwrap();
    kill_process(first, Signal::KILL).unwrap();
    eventually("an empty cgroup", || {
        let events = fs::read_to_string(pod.cgroup().join("cgroup.events")).unwrap();
        events.contains("populated 0").then_some(())
    });
    cluster.machine.publish().unwrap();
    let waits = |line: &Value| line["message"] == "not enrolled yet" && line["pod"] == "full/slow";
    let line = cluster.server_agent.wait_for(waits).unwrap();
    assert!(line["because"].as_str().unwrap().starts_with("no process runs in the pod's cgroup"), "{line}");

    let mut process = pod.command("sleep").arg("infinity").spawn().unwrap();
    enrolled(&cluster.server_agent, "full/slow");
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn a_pod_that_ends_is_released_before_the_manifests_tell_of_it() {
    let mut cluster = Cluster::start();
    let pod = cluster.machine.pod(&cluster.b, PodSpec::new("full", "short").enrolled()).unwrap();
    cluster.machine.publish().unwrap();
    enrolled(&cluster.server_agent, "full/short");
    drop(pod);
    released(&cluster.server_agent, "full/short");
    // The pods beside it are as before.
    let _echo = Echo::start(&cluster.server, &[80]);
    for family in Family::ALL {
        assert_eq!(cluster.call(&cluster.client, family, 80).unwrap()["transport"], "hbone");
    }
}

#[test]
fn nothing_of_a_deleted_pod_holds_for_the_next_one_at_its_address() {
    let strict = peer_authentication("full", "default", &mode("STRICT"));
    let Cluster { client_agent, server_agent, client, server, legacy, a: _a, b: _b, mut machine } =
        Cluster::with(&[&strict], &AgentOptions::default());
    let echo = Echo::start(&server, &[80]);
    ask(&client, server.address(Family::V4, 80)).unwrap();
    legacy.connect(server.address(Family::V4, 80)).unwrap_err();

    // The pod stays as it is, but to the cluster it is another: not enrolled, in a namespace without policy.
    let [v4, v6] = Family::ALL.map(|family| server.ip(family));
    let next = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{ namespace: legacy, name: next, uid: 1-2-3 }}\n\
         spec: {{ nodeName: elsewhere, containers: [{{ name: main, image: none }}] }}\n\
         status: {{ phase: Running, podIP: {v4}, podIPs: [{{ ip: {v4} }}, {{ ip: \"{v6}\" }}] }}\n"
    );
    machine.forget(&server);
    machine.publish().unwrap();
    machine.apply("next", &next).unwrap();
    released(&server_agent, "full/httpbin");
    for family in Family::ALL {
        let address = server.address(family, 80);
        let source = eventually("the new pod", || Some(ask(&client, address).ok()?.local_addr().unwrap()));
        let record = record(&client_agent, "outbound", source);
        assert_eq!((&record["transport"], &record["peer_pod"]), (&"plaintext".into(), &"legacy/next".into()));
        ask(&legacy, address).unwrap();
        assert_eq!(echo.connections_of(legacy.ip(family)), 1);
    }
}
