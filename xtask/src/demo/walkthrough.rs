//! The steps of the migration, what each pair of namespaces must see in them, and the walk through one.

use anyhow::Context;

use super::{
    call::call,
    stage::{Agents, Namespace, Stage},
    verdict::{Row, Seen},
    wire::Readable,
    witness::{Marks, Records},
};

/// A step.
pub(super) struct Step {
    pub(super) title: &'static str,
    /// What is in force in this step: Kubernetes objects, or nothing.
    policy: Option<&'static str>,
    /// For the client in `full`: its servers in `full`, `partial` and `legacy`; then for the client in `legacy`.
    expected: [[Expected; 3]; 2],
}

/// What a pair must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Mtls,
    Plaintext,
    /// mTLS to the pod that is enrolled, plaintext to the other, and both in the course of the calls.
    ByPod,
    /// No answer, and no waiting for one.
    Fails,
}

use Expected::{ByPod, Fails, Mtls, Plaintext};

/// The steps, in order.
pub(super) const STEPS: [Step; 4] = [
    Step {
        title: "no policy, which is PERMISSIVE",
        policy: None,
        expected: [[Mtls, ByPod, Plaintext], [Plaintext; 3]],
    },
    Step {
        title: "`full` is STRICT",
        policy: Some(include_str!("../../../tests/manifests/walkthrough/step2.yaml")),
        expected: [[Mtls, ByPod, Plaintext], [Fails, Plaintext, Plaintext]],
    },
    Step {
        title: "`full` is DISABLE",
        policy: Some(include_str!("../../../tests/manifests/walkthrough/step3.yaml")),
        expected: [[Plaintext, ByPod, Plaintext], [Plaintext; 3]],
    },
    Step {
        title: "`full` is DISABLE, a DestinationRule asks for ISTIO_MUTUAL",
        policy: Some(include_str!("../../../tests/manifests/walkthrough/step4.yaml")),
        expected: [[Fails, ByPod, Plaintext], [Plaintext; 3]],
    },
];

const SERVERS: [Namespace; 3] = [Namespace::Full, Namespace::Partial, Namespace::Legacy];

/// Puts a step in force and tries each pair.
pub(super) fn walk(stage: &Stage, step: &Step) -> anyhow::Result<Vec<Row>> {
    let agents = stage.agents()?;
    put_in_force(stage, agents, step)?;
    let [clients, servers] = stage.nodes();
    let capture = clients.capture(servers)?;
    let mut rows = Vec::new();
    for (client, expected) in (0..).zip(step.expected) {
        for (server, expected) in SERVERS.into_iter().zip(expected) {
            rows.push(try_pair(stage, agents, client, server, expected)?);
        }
    }
    let traffic = capture.stop()?;
    let seen = rows.iter_mut().flat_map(|row| &mut row.seen);
    seen.for_each(|seen| seen.readable = Readable::of(&seen.call, &traffic));
    Ok(rows)
}

fn put_in_force(stage: &Stage, agents: &Agents, step: &Step) -> anyhow::Result<()> {
    let Some(policy) = step.policy else { return Ok(()) };
    let waiting = agents.both().map(|agent| (agent, agent.mark()));
    stage.machine.apply("policy", policy)?;
    for (agent, mark) in waiting {
        agent
            .wait_for_since(mark, |line| line["message"] == "in force")
            .context("an agent did not put the policy in force")?;
    }
    Ok(())
}

/// Two endpoints in turn need several calls to be seen.
const fn calls(server: Namespace) -> usize {
    match server {
        Namespace::Partial => 10,
        Namespace::Full | Namespace::Legacy => 1,
    }
}

fn try_pair(
    stage: &Stage,
    agents: &Agents,
    client: usize,
    server: Namespace,
    expected: Expected,
) -> anyhow::Result<Row> {
    let client = &stage.clients[client];
    let host = format!("httpbin.{}", server.as_str());
    let service = stage.service(server)?;
    let begin = Marks::now(agents);
    let mut seen = Vec::new();
    for _ in 0..calls(server) {
        let since = Marks::now(agents);
        let call = call(&client.pod, service, &host)?;
        let records = Records::of(&call, client, stage, agents, &since);
        seen.push(Seen::new(call, records, stage));
    }
    Ok(Row { client: client.namespace, server, expected, seen, log: begin.lines_since(agents) })
}
