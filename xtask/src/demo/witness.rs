//! What the agents recorded of a call.

use std::net::SocketAddr;

use culvert_testbed::Agent;
use serde_json::Value;

use super::{
    call::{Call, Outcome},
    stage::{Agents, Client, Stage},
};
use crate::walkthrough::Transport;

/// The records of one connection; each agent makes one where the pod on its node is enrolled.
pub(super) struct Records {
    client: Option<Value>,
    server: Option<Value>,
}

/// How far both agents' logs had come before a call.
pub(super) struct Marks {
    clients: usize,
    servers: usize,
}

impl Marks {
    pub(super) fn now(agents: &Agents) -> Self {
        Self { clients: agents.clients.mark(), servers: agents.servers.mark() }
    }

    /// What both agents logged since then.
    pub(super) fn lines_since(&self, agents: &Agents) -> Vec<String> {
        let logs = [("clients", &agents.clients, self.clients), ("servers", &agents.servers, self.servers)];
        let lines = logs.into_iter().flat_map(|(node, agent, mark)| {
            agent.lines().into_iter().skip(mark).map(move |line| format!("{node}: {}", line.text))
        });
        lines.collect()
    }
}

impl Records {
    /// Waits for the records that there have to be; one that does not come is missing in what this returns.
    pub(super) fn of(call: &Call, client: &Client, stage: &Stage, agents: &Agents, since: &Marks) -> Self {
        let server = match &call.outcome {
            Outcome::Answered { pod, .. } => stage.server(pod).filter(|server| server.enrolled),
            Outcome::Failed { .. } => None,
        };
        let at_client = || record(&agents.clients, since.clients, "outbound", call.source);
        let at_server = || record(&agents.servers, since.servers, "inbound", call.source);
        Self { client: client.enrolled.then(at_client).flatten(), server: server.and_then(|_| at_server()) }
    }

    /// As the server's agent says, else as the client's does.
    pub(super) fn transport(&self) -> Option<Transport> {
        let record = self.server.as_ref().or(self.client.as_ref())?;
        Transport::of(record["transport"].as_str()?)
    }

    /// Whether both agents, where both have a record, say the same.
    pub(super) fn agree(&self) -> bool {
        match (&self.client, &self.server) {
            (Some(client), Some(server)) => client["transport"] == server["transport"],
            _ => true,
        }
    }

    /// Whom the server's agent took the client for.
    pub(super) fn identity(&self) -> Option<&str> {
        self.server.as_ref()?["peer_identity"].as_str()
    }

    /// Why, in the words of the client's agent.
    pub(super) fn reason(&self) -> Option<&str> {
        self.client.as_ref()?["reason"].as_str()
    }
}

/// The record of the connection that came from `source`. Where curl knows none, because it was refused, the next
/// record is that connection's: there is one call at a time.
fn record(agent: &Agent, mark: usize, direction: &str, source: Option<SocketAddr>) -> Option<Value> {
    let source = source.map(|source| source.to_string());
    let is_of = |line: &Value| source.as_ref().is_none_or(|source| line["source"] == **source);
    let wanted = |line: &Value| line["target"] == "access" && line["direction"] == direction && is_of(line);
    agent.wait_for_since(mark, wanted).ok()
}
