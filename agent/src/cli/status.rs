//! The flags of `culvert status`.

use std::path::PathBuf;

use culvert::status;

use super::{
    flags::{Flag, Given},
    values::{name, node_name},
};

/// Whom to ask, and how to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatusOptions {
    /// The agent's socket.
    pub(crate) socket: PathBuf,
    /// What is printed.
    pub(crate) output: Output,
}

/// What `culvert status` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Everything, for people.
    Text,
    /// Everything, for machines.
    Json,
    /// Whether the agent is ready, by the exit status; why not, in words.
    Readiness,
}

pub(super) const FLAGS: &[Flag] = &[
    Flag::value(
        "node",
        "NAME",
        "the node's name, as the agent was given it [default: $NODE_NAME, or the host name]",
    ),
    Flag::value("socket", "PATH", "the agent's socket [default: /run/culvert/NODE.sock]"),
    Flag::value("output", "text|json", "how the answer is written [default: text]").short('o'),
    Flag::switch("ready", "only whether the agent is ready: exit status 0 or 1"),
];

impl StatusOptions {
    pub(super) fn parse(given: &mut Given) -> Option<Self> {
        let node = given.take("node", name).unwrap_or_else(node_name);
        let socket = given.take_os("socket").map_or_else(|| status::socket_of(&node), PathBuf::from);
        let output = given.take("output", output);
        let ready = given.take_switch("ready");
        if ready && output.is_some() {
            given.mistake("--ready goes without --output".to_owned());
            return None;
        }
        let output = if ready { Output::Readiness } else { output.unwrap_or(Output::Text) };
        Some(Self { socket, output })
    }
}

fn output(text: &str) -> Result<Output, String> {
    match text {
        "text" => Ok(Output::Text),
        "json" => Ok(Output::Json),
        _ => Err("expected text or json".to_owned()),
    }
}
