//! The migration from plaintext to mTLS, step by step.

use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

use culvert_testbed::{
    AgentOptions, Family, Pod, PodSpec, Service, ServiceSpec,
    walkthrough::{CLIENT_IDENTITY, Expected, Namespace, Step, Transport},
};

use crate::{
    app::{PORT, Server, call, eventually},
    cluster::{Carried, Cluster, recorded_by_client, recorded_by_server},
};

/// The cluster with the servers of all namespaces, each behind a Service.
struct Stage {
    services: Vec<Service>,
    _servers: Vec<Server>,
    _pods: Vec<Pod>,
    cluster: Cluster,
}

const ENROLLED: [&str; 2] = ["full/httpbin", "partial/httpbin-new"];

#[test]
fn the_migration_walks_through_its_steps() {
    let stage = Stage::start();
    for step in &Step::all().unwrap() {
        let begin = Instant::now();
        if let Some(policy) = &step.policy {
            stage.cluster.machine.apply("policy", policy).unwrap();
        }
        let mut last = Vec::new();
        eventually(&step.title, || {
            last = stage.complaints(step);
            last.is_empty().then_some(())
        });
        report(&format!("{}: all pairs as expected", step.title), begin.elapsed());
        // And it stays so.
        assert_eq!(stage.complaints(step), Vec::<String>::new(), "{}", step.title);
    }
    assert!(stage.cluster.api.refused().is_empty(), "a right is missing: {:#?}", stage.cluster.api.refused());
}

#[expect(clippy::print_stdout, reason = "the figures are for people")]
fn report(what: &str, after: Duration) {
    println!("{what} after {after:?}, six pairs over both families included");
}

impl Stage {
    fn start() -> Self {
        let httpbin = |namespace: &str, name: &str| {
            PodSpec::new(namespace, name).service_account("httpbin").label("app", "httpbin")
        };
        let mut cluster = Cluster::prepare(httpbin("full", "httpbin").enrolled());
        let specs = [
            httpbin("partial", "httpbin-new").enrolled(),
            httpbin("partial", "httpbin-old"),
            httpbin("legacy", "httpbin"),
        ];
        let pods = specs.map(|spec| cluster.machine.pod(&cluster.b, spec).unwrap());
        let servers = pods.iter().map(Server::start).collect();
        let services = Namespace::SERVERS.map(|namespace| {
            let spec = ServiceSpec::new(namespace.as_str(), "httpbin", ("app", "httpbin"));
            cluster.machine.service(spec.port(80, PORT)).unwrap()
        });
        cluster.machine.publish().unwrap();
        cluster.start_ca(&[]);
        cluster.start_agents(&AgentOptions::default());
        for pod in [&cluster.client, &cluster.server, &pods[0]] {
            cluster.wait_announced(pod, true);
        }
        Self { services: services.into(), _servers: servers, _pods: pods.into(), cluster }
    }

    /// What was not as expected of any pair, over either family.
    fn complaints(&self, step: &Step) -> Vec<String> {
        let clients = [&*self.cluster.client, &*self.cluster.legacy];
        let pairs = clients.into_iter().zip(step.expected).flat_map(|(client, expected)| {
            self.services.iter().zip(Namespace::SERVERS).zip(expected).map(move |it| (client, it))
        });
        let each = pairs.flat_map(|pair| Family::ALL.map(|family| (family, pair)));
        each.filter_map(|(family, (client, ((service, server), expected)))| {
            let calls = (0..server.calls()).map(|_| self.call(client, service, family)).collect::<Vec<_>>();
            let complaint = complaint(expected, &calls)?;
            Some(format!("{} -> {} over {family:?}: {complaint}", client.name(), server.as_str()))
        })
        .collect()
    }

    fn call(&self, client: &Pod, service: &Service, family: Family) -> Seen {
        let Cluster { client: enrolled_client, .. } = &self.cluster;
        let [client_agent, server_agent] = [self.cluster.client_agent(), self.cluster.server_agent()];
        let marks = [client_agent.mark(), server_agent.mark()];
        let call = match call(client, service.address(family, 80)) {
            Ok(call) => call,
            Err(error) => return Seen::Failed(error.kind()),
        };
        let to_enrolled = ENROLLED.contains(&call.pod.as_str());
        let carried = if to_enrolled {
            recorded_by_server(server_agent, marks[1], &call)
        } else if client.name() == enrolled_client.name() {
            recorded_by_client(client_agent, marks[0], &call)
        } else {
            Carried::by_nobody()
        };
        Seen::Answered { to_enrolled, carried }
    }
}

/// What became of a call.
#[derive(Debug)]
enum Seen {
    Answered { to_enrolled: bool, carried: Carried },
    Failed(ErrorKind),
}

impl Seen {
    fn is(&self, expected: Expected) -> bool {
        match (self, expected) {
            // At once, by somebody's refusal.
            (Self::Failed(kind), Expected::Fails) => {
                [ErrorKind::ConnectionRefused, ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof]
                    .contains(kind)
            }
            (Self::Failed(_), _) | (Self::Answered { .. }, Expected::Fails) => false,
            (Self::Answered { carried, .. }, Expected::Mtls) => carried.is(Transport::Mtls),
            (Self::Answered { carried, .. }, Expected::Plaintext) => carried.is(Transport::Plaintext),
            (Self::Answered { to_enrolled, carried }, Expected::ByPod) => {
                carried.is(if *to_enrolled { Transport::Mtls } else { Transport::Plaintext })
            }
        }
    }

    fn is_by(&self, wanted: Transport) -> bool {
        matches!(self, Self::Answered { carried, .. } if carried.transport == wanted)
    }
}

impl Carried {
    /// Over mTLS the server's agent knows the client, and only then.
    fn is(&self, wanted: Transport) -> bool {
        let identity = (wanted == Transport::Mtls).then_some(CLIENT_IDENTITY);
        self.transport == wanted && self.identity.as_deref() == identity
    }
}

fn complaint(expected: Expected, calls: &[Seen]) -> Option<String> {
    if let Some(wrong) = calls.iter().find(|seen| !seen.is(expected)) {
        return Some(format!("expected {expected:?}, found {wrong:?}"));
    }
    let both =
        [Transport::Mtls, Transport::Plaintext].map(|wanted| calls.iter().any(|seen| seen.is_by(wanted)));
    (expected == Expected::ByPod && both != [true, true])
        .then(|| format!("expected both transports: {calls:?}"))
}
