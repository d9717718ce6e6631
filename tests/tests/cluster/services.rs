//! Services: which endpoint a connection reaches, and how.

use std::net::SocketAddr;

use culvert_testbed::{AgentOptions, Family, Machine, Node, Pod, PodSpec, Service, ServiceSpec};
use serde_json::Value;

use crate::common::{Cluster, Echo, ask, destination_rule, eventually};

/// A Service `httpbin` in `full`, and another endpoint of it beside the cluster's own.
struct Served {
    other: Pod,
    service: Service,
    cluster: Cluster,
}

impl Served {
    fn with(other: PodSpec) -> Self {
        let mut cluster = Cluster::start();
        let other = httpbin(&mut cluster.machine, &cluster.b, other);
        let spec = ServiceSpec::new("full", "httpbin", ("app", "httpbin")).port(8000, 80);
        let service = cluster.machine.service(spec).expect("a Service can be made");
        cluster.machine.publish().expect("manifests can be written");
        Self { other, service, cluster }
    }

    fn ask(&self, family: Family) -> SocketAddr {
        let stream = ask(&self.cluster.client, self.service.address(family, 8000)).expect("it is served");
        assert_eq!(stream.peer_addr().expect("it is connected"), self.service.address(family, 8000));
        stream.local_addr().expect("it is connected")
    }

    /// Asks ten times, and returns what the client's agent wrote.
    fn ask_ten_times(&self, family: Family) -> Vec<Value> {
        (0..10).map(|_| self.cluster.outbound(self.ask(family))).collect()
    }

    /// Waits for the agent to know the Service: what the kernel passes has no other endpoint than its destination.
    fn wait_until_captured(&self) {
        eventually("capture", || {
            let record = self.cluster.outbound(self.ask(Family::V4));
            (record["endpoint"] != record["destination"]).then_some(())
        });
    }
}

fn httpbin(machine: &mut Machine, node: &Node, spec: PodSpec) -> Pod {
    machine.pod(node, spec.label("app", "httpbin")).expect("a pod can be made")
}

fn transports(records: &[Value]) -> (usize, usize) {
    let count = |transport: &str| records.iter().filter(|record| record["transport"] == transport).count();
    (count("hbone"), count("plaintext"))
}

#[test]
fn each_endpoint_of_a_mixed_service_is_reached_in_its_own_way() {
    let served = Served::with(PodSpec::new("full", "httpbin-2"));
    let echoes = [&served.cluster.server, &served.other].map(|pod| Echo::start(pod, &[80]));
    served.wait_until_captured();
    for family in Family::ALL {
        let client = served.cluster.client.ip(family);
        let before = echoes.each_ref().map(|echo| echo.connections_of(client));
        let records = served.ask_ten_times(family);
        let (hbone, plaintext) = transports(&records);
        assert_eq!(hbone + plaintext, 10);
        assert!(hbone > 0 && plaintext > 0, "{records:?}");
        for (echo, (before, asked)) in echoes.iter().zip(before.into_iter().zip([hbone, plaintext])) {
            assert_eq!(echo.connections_of(client) - before, asked);
        }
        for record in records {
            assert_eq!(record["destination"], served.service.address(family, 8000).to_string());
            let endpoint =
                if record["transport"] == "hbone" { &served.cluster.server } else { &served.other };
            assert_eq!(record["endpoint"], endpoint.address(family, 80).to_string());
        }
    }
}

#[test]
fn an_endpoint_that_is_not_ready_is_not_chosen() {
    let mut served = Served::with(PodSpec::new("full", "httpbin-2").enrolled());
    let echoes = [&served.cluster.server, &served.other].map(|pod| Echo::start(pod, &[80]));
    served.wait_until_captured();
    served.cluster.machine.set_ready(&served.cluster.server, false);
    served.cluster.machine.publish().unwrap();
    // Twice in a row at the same endpoint, of two that are taken in turns: the change has arrived.
    let endpoint = |family| served.cluster.outbound(served.ask(family))["endpoint"].clone();
    eventually("the change", || (endpoint(Family::V4) == endpoint(Family::V4)).then_some(()));
    for family in Family::ALL {
        let before = echoes[0].clients().len();
        let records = served.ask_ten_times(family);
        assert_eq!(transports(&records), (10, 0));
        assert_eq!(echoes[0].clients().len(), before, "it is not ready");
    }
}

#[test]
fn a_service_without_a_ready_endpoint_is_refused() {
    let mut served = Served::with(PodSpec::new("full", "httpbin-2").enrolled());
    let _echoes = [&served.cluster.server, &served.other].map(|pod| Echo::start(pod, &[80]));
    served.wait_until_captured();
    for pod in [&served.cluster.server, &served.other] {
        served.cluster.machine.set_ready(pod, false);
    }
    served.cluster.machine.publish().unwrap();
    for family in Family::ALL {
        let address = served.service.address(family, 8000);
        eventually("the refusal", || ask(&served.cluster.client, address).err());
    }
}

#[test]
fn a_service_that_cannot_speak_mtls_is_left_to_the_kernel() {
    let mut cluster = Cluster::start();
    let server = cluster.machine.pod(&cluster.b, PodSpec::new("legacy", "httpbin").label("app", "httpbin"));
    let server = server.unwrap();
    let spec = ServiceSpec::new("legacy", "httpbin", ("app", "httpbin")).port(8000, 80);
    let service = cluster.machine.service(spec).unwrap();
    cluster.machine.publish().unwrap();
    let echo = Echo::start(&server, &[80]);
    for family in Family::ALL {
        let asked = service.address(family, 8000);
        let stream = eventually("the Service", || ask(&cluster.client, asked).ok());
        // The socket is the pod's own all the way: the agent would have dialled from another port.
        assert_eq!(echo.clients().last(), Some(&stream.local_addr().unwrap()));
        let source = stream.local_addr().unwrap();
        drop(stream);
        let record = cluster.outbound(source);
        assert_eq!((&record["transport"], &record["outcome"]), (&"plaintext".into(), &"ok".into()));
        assert_eq!(record["destination"], asked.to_string());
    }
    // The same Service, once a rule demands what it cannot do.
    cluster.machine.apply("rule", &destination_rule("legacy", "httpbin", "ISTIO_MUTUAL")).unwrap();
    for family in Family::ALL {
        eventually("the refusal", || ask(&cluster.client, service.address(family, 8000)).err());
    }
}

#[test]
fn headless_services_and_pod_addresses_are_decided_for_each_endpoint() {
    let mut cluster = Cluster::with(&[], &AgentOptions::default());
    let other = httpbin(&mut cluster.machine, &cluster.b, PodSpec::new("full", "httpbin-2"));
    let spec = ServiceSpec::new("full", "httpbin", ("app", "httpbin")).port(80, 80).headless();
    cluster.machine.service(spec).unwrap();
    cluster.machine.publish().unwrap();
    let _echoes = [&cluster.server, &other].map(|pod| Echo::start(pod, &[80]));
    for family in Family::ALL {
        for (pod, transport) in [(&cluster.server, "hbone"), (&other, "plaintext")] {
            let stream = ask(&cluster.client, pod.address(family, 80)).unwrap();
            let source = stream.local_addr().unwrap();
            drop(stream);
            assert_eq!(cluster.outbound(source)["transport"], transport);
        }
    }
    cluster.machine.apply("rule", &destination_rule("full", "httpbin", "DISABLE")).unwrap();
    for family in Family::ALL {
        let record = eventually("the rule", || {
            let record = cluster.call(&cluster.client, family, 80).unwrap();
            (record["transport"] == "plaintext").then_some(record)
        });
        assert_eq!(record["peer_pod"], "full/sleep");
    }
}
