//! The flags of `culvert explain`.

use std::path::PathBuf;

use culvert::{
    explain::{Question, parse_from, parse_to},
    status,
};

use super::{
    flags::{Flag, Given},
    values::{name, node_name},
};

/// What is asked, of whom, and how the answer is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExplainOptions {
    /// What is asked.
    pub(crate) question: Question,
    /// Who is asked.
    pub(crate) source: ExplainSource,
    /// For people, or for machines.
    pub(crate) format: ExplainFormat,
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExplainSource {
    /// The running agent behind this socket.
    Agent(PathBuf),
    /// A directory of manifests, and no agent.
    Manifests {
        /// The directory.
        directory: PathBuf,
        /// Where mesh-wide policies stand.
        root_namespace: Option<String>,
    },
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ExplainFormat {
    /// Sentences.
    #[default]
    Text,
    /// JSON.
    Json,
}

pub(super) const FLAGS: &[Flag] = &[
    Flag::value("from", "NAMESPACE/POD", "the pod that connects"),
    Flag::value(
        "to",
        "HOST[:PORT]",
        "where to: a Service, a pod of a headless one, a ServiceEntry's host, or an address",
    ),
    Flag::value("manifests", "DIR", "decide by a directory of Kubernetes objects, without any agent"),
    Flag::value(
        "root-namespace",
        "NAME",
        "where mesh-wide policies stand; with --manifests [default: istio-system]",
    ),
    Flag::value(
        "node",
        "NAME",
        "the node of the agent that is asked [default: $NODE_NAME, or the host name]",
    ),
    Flag::value("socket", "PATH", "the agent's socket [default: /run/culvert/NODE.sock]"),
    Flag::value("output", "text|json", "how the answer is written [default: text]").short('o'),
];

impl ExplainOptions {
    pub(super) fn parse(given: &mut Given) -> Option<Self> {
        let from = required(given, "from", |text| parse_from(text).map_err(|error| error.to_string()));
        let to = required(given, "to", |text| parse_to(text).map_err(|error| error.to_string()));
        let source = source(given);
        let format = given.take("output", format).unwrap_or_default();
        let ((namespace, pod), (host, port)) = (from?, to?);
        Some(Self { question: Question { namespace, pod, host, port }, source, format })
    }
}

fn required<T>(
    given: &mut Given,
    flag: &'static str,
    convert: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    if !given.has(flag) {
        given.mistake(format!("expected --{flag}"));
    }
    given.take(flag, convert)
}

fn source(given: &mut Given) -> ExplainSource {
    let directory = given.take_os("manifests").map(PathBuf::from);
    let root_namespace = given.take("root-namespace", name);
    let node = given.take("node", name);
    let socket = given.take_os("socket").map(PathBuf::from);
    if directory.is_some() && (node.is_some() || socket.is_some()) {
        given.mistake("--manifests goes without --node and --socket: no agent is asked".to_owned());
    }
    if directory.is_none() && root_namespace.is_some() {
        given.mistake("--root-namespace goes with --manifests: an agent knows its own".to_owned());
    }
    let of_node = || status::socket_of(&node.unwrap_or_else(node_name));
    match directory {
        Some(directory) => ExplainSource::Manifests { directory, root_namespace },
        None => ExplainSource::Agent(socket.unwrap_or_else(of_node)),
    }
}

fn format(text: &str) -> Result<ExplainFormat, String> {
    match text {
        "text" => Ok(ExplainFormat::Text),
        "json" => Ok(ExplainFormat::Json),
        _ => Err("expected text or json".to_owned()),
    }
}
