//! The pairs of the walk-through on the cluster.

use anyhow::bail;
use serde_json::Value;

use super::{
    call::{Seen, call, request},
    cluster::Cluster,
    patience::eventually,
    verdict::{complaint_of_failure, complaints},
};
use crate::{
    step::Steps,
    walkthrough::{Namespace, Step},
};

/// Waits until the agents have announced each pod that workloads.yaml enrols.
pub(super) fn wait_for_capture(cluster: &Cluster) -> anyhow::Result<()> {
    eventually(|| {
        let pods = cluster.get(&["pods", "--all-namespaces"])?;
        let captured = captured(&pods);
        Ok(if captured == ENROLLED { Vec::new() } else { vec![format!("captured: {captured:?}")] })
    })
}

const ENROLLED: [&str; 3] = ["full/httpbin", "full/sleep", "partial/httpbin-new"];

/// The pods that are announced as captured, in order.
fn captured(pods: &Value) -> Vec<String> {
    let pods = pods["items"].as_array().into_iter().flatten().map(|pod| &pod["metadata"]);
    let captured = pods.filter(|pod| pod["annotations"]["culvert.io/captured"] == "true");
    let mut names: Vec<_> =
        captured.map(|pod| format!("{}/{}", word(&pod["namespace"]), word(&pod["name"]))).collect();
    names.sort_unstable();
    names
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Waits until each pair sees what it must see in a step.
pub(super) fn check(steps: &Steps, cluster: &Cluster, step: &Step) -> anyhow::Result<()> {
    for (client, expected) in Namespace::CLIENTS.into_iter().zip(step.expected) {
        for (server, expected) in Namespace::SERVERS.into_iter().zip(expected) {
            eventually(|| {
                steps.check()?;
                Ok(complaints(expected, &calls(cluster, client, server)?))
            })
            .map_err(|error| of_pair(&error, client, server))?;
        }
    }
    Ok(())
}

/// Whether each request of each pair is answered, and no pod is announced as captured.
pub(super) fn check_all_answered(steps: &Steps, cluster: &Cluster) -> anyhow::Result<()> {
    let pairs = Namespace::CLIENTS.map(|client| Namespace::SERVERS.map(|server| (client, server)));
    for (client, server) in pairs.into_iter().flatten() {
        steps.check()?;
        let answer = request(cluster, client, server)?;
        if let Some(complaint) = complaint_of_failure(&answer.outcome) {
            return Err(of_pair(&anyhow::anyhow!(complaint), client, server));
        }
    }
    let left = captured(&cluster.get(&["pods", "--all-namespaces"])?);
    if !left.is_empty() {
        bail!("still announced as captured: {left:?}");
    }
    Ok(())
}

fn calls(cluster: &Cluster, client: Namespace, server: Namespace) -> anyhow::Result<Vec<Seen>> {
    (0..server.calls()).map(|_| call(cluster, client, server)).collect()
}

fn of_pair(error: &anyhow::Error, client: Namespace, server: Namespace) -> anyhow::Error {
    anyhow::anyhow!("{} to {}: {error:#}", client.as_str(), server.as_str())
}

#[cfg(test)]
mod tests {
    use culvert_testbed::chart;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_announced_is_read_from_the_pods() {
        let pod = |name: &str, captured: Option<&str>| {
            let annotations = json!({ "culvert.io/captured": captured });
            json!({ "metadata": { "namespace": "full", "name": name, "annotations": annotations } })
        };
        let pods = json!({ "items": [pod("sleep", Some("true")), pod("other", None), pod("httpbin", Some("true"))] });
        assert_eq!(captured(&pods), ["full/httpbin", "full/sleep"]);
    }

    #[test]
    fn the_workloads_are_those_of_the_walk_through() {
        let objects = chart::objects(include_str!("workloads.yaml")).unwrap();
        let of_kind = |kind: &str| {
            let objects =
                objects.iter().filter(|object| object["kind"] == kind).map(|object| &object["metadata"]);
            objects
                .map(|name| format!("{}/{}", word(&name["namespace"]), word(&name["name"])))
                .collect::<Vec<_>>()
        };
        let pods = of_kind("Pod");
        assert!(ENROLLED.iter().all(|enrolled| pods.iter().any(|pod| pod == enrolled)));
        for client in Namespace::CLIENTS {
            assert!(pods.contains(&format!("{}/sleep", client.as_str())));
        }
        for server in Namespace::SERVERS {
            assert!(of_kind("Service").contains(&format!("{}/httpbin", server.as_str())));
        }
    }

    #[test]
    fn each_workload_has_a_node_of_the_cluster() {
        let config = std::fs::read_to_string(chart::deploy().join("kind.yaml")).unwrap();
        let config = chart::objects(&config).unwrap().remove(0);
        let nodes: Vec<_> =
            config["nodes"].as_array().unwrap().iter().map(|node| node["labels"].clone()).collect();
        let objects = chart::objects(include_str!("workloads.yaml")).unwrap();
        for pod in objects.iter().filter(|object| object["kind"] == "Pod") {
            assert!(nodes.contains(&pod["spec"]["nodeSelector"]), "{pod:#}");
        }
    }
}
