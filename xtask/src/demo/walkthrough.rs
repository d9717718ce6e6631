//! The walk through one step of the migration.

use anyhow::Context;

use super::{
    call::call,
    stage::{Agents, Stage},
    verdict::{Row, Seen},
    wire::Readable,
    witness::{Marks, Records},
};
use crate::walkthrough::{Expected, Namespace, Step};

/// Puts a step in force and tries each pair.
pub(super) fn walk(stage: &Stage, step: &Step) -> anyhow::Result<Vec<Row>> {
    let agents = stage.agents()?;
    put_in_force(stage, agents, step)?;
    let [clients, servers] = stage.nodes();
    let capture = clients.capture(servers)?;
    let mut rows = Vec::new();
    for (client, expected) in (0..).zip(step.expected) {
        for (server, expected) in Namespace::SERVERS.into_iter().zip(expected) {
            rows.push(try_pair(stage, agents, client, server, expected)?);
        }
    }
    let traffic = capture.stop()?;
    let seen = rows.iter_mut().flat_map(|row| &mut row.seen);
    seen.for_each(|seen| seen.readable = Readable::of(&seen.call, &traffic));
    Ok(rows)
}

fn put_in_force(stage: &Stage, agents: &Agents, step: &Step) -> anyhow::Result<()> {
    let Some(policy) = &step.policy else { return Ok(()) };
    let waiting = agents.both().map(|agent| (agent, agent.mark()));
    stage.machine.apply("policy", policy)?;
    for (agent, mark) in waiting {
        agent
            .wait_for_since(mark, |line| line["message"] == "in force")
            .context("an agent did not put the policy in force")?;
    }
    Ok(())
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
    for _ in 0..server.calls() {
        let since = Marks::now(agents);
        let call = call(&client.pod, service, &host)?;
        let records = Records::of(&call, client, stage, agents, &since);
        seen.push(Seen::new(call, records, stage));
    }
    Ok(Row { client: client.namespace, server, expected, seen, log: begin.lines_since(agents) })
}
