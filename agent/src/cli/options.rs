//! The flags of each command, as types with nothing left to parse.

use std::{num::NonZeroUsize, path::PathBuf, thread, time::Duration};

use culvert::kernel::Failure;

use super::flags::{Flag, Given};

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The flags of `culvert agent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentOptions {
    /// The node's name, as `spec.nodeName` of its pods has it.
    pub(crate) node: String,
    /// The node's cgroup; none means the root of the mounted hierarchy.
    pub(crate) cgroup_root: Option<PathBuf>,
    /// Where the cluster's objects stand.
    pub(crate) manifests: PathBuf,
    /// The certificate authority's directory; none means one inside this agent.
    pub(crate) ca_dir: Option<PathBuf>,
    /// The mesh's trust domain.
    pub(crate) trust_domain: String,
    /// Where mesh-wide policies stand.
    pub(crate) root_namespace: String,
    /// How long workload certificates live.
    pub(crate) cert_lifetime: Duration,
    /// What becomes of connections that cannot be captured.
    pub(crate) failure: Failure,
    /// How long open connections may go on after SIGTERM.
    pub(crate) drain: Duration,
    /// How many threads carry connections.
    pub(crate) workers: NonZeroUsize,
    /// How log lines are written.
    pub(crate) log_format: LogFormat,
    /// Which lines, as tracing's filter directives.
    pub(crate) log: String,
    /// What the kernel's programs log.
    pub(crate) kernel_log: Option<aya_log::Level>,
}

pub(super) const AGENT_FLAGS: &[Flag] = &[
    Flag {
        name: "node",
        value: "NAME",
        help: "the node's name, as spec.nodeName has it [default: the host name]",
    },
    Flag { name: "cgroup-root", value: "DIR", help: "the node's cgroup v2 [default: where it is mounted]" },
    Flag {
        name: "manifests",
        value: "DIR",
        help: "a directory of Kubernetes objects, followed as it changes",
    },
    Flag {
        name: "ca-dir",
        value: "DIR",
        help: "a certificate authority shared by agents [default: one of its own]",
    },
    Flag { name: "trust-domain", value: "NAME", help: "the mesh's trust domain [default: cluster.local]" },
    Flag {
        name: "root-namespace",
        value: "NAME",
        help: "where mesh-wide policies stand [default: istio-system]",
    },
    Flag { name: "cert-lifetime", value: "TIME", help: "how long workload certificates live [default: 24h]" },
    Flag {
        name: "failure",
        value: "closed|open",
        help: "what cannot be captured is refused, or passes in plaintext [default: closed]",
    },
    Flag {
        name: "drain",
        value: "TIME",
        help: "how long connections may go on after SIGTERM [default: 30s]",
    },
    Flag { name: "workers", value: "N", help: "threads that carry connections [default: one per CPU]" },
    Flag { name: "log-format", value: "text|json", help: "how log lines are written [default: text]" },
    Flag {
        name: "log",
        value: "FILTER",
        help: "which lines, such as info,culvert=debug,access=off [default: info]",
    },
    Flag {
        name: "kernel-log",
        value: "LEVEL",
        help: "what the kernel's programs log: off, error, warn, info, debug, trace [default: off]",
    },
];

impl AgentOptions {
    pub(super) fn parse(given: &mut Given) -> Option<Self> {
        let manifests = given.take_os("manifests").map(PathBuf::from);
        if manifests.is_none() {
            given.mistake(
                "--manifests DIR is required: it is where the agent learns of the cluster".to_owned(),
            );
        }
        let options = Self {
            node: given.take("node", name).unwrap_or_else(host_name),
            cgroup_root: given.take_os("cgroup-root").map(PathBuf::from),
            manifests: manifests.clone().unwrap_or_default(),
            ca_dir: given.take_os("ca-dir").map(PathBuf::from),
            trust_domain: given.take("trust-domain", name).unwrap_or_else(|| "cluster.local".to_owned()),
            root_namespace: given.take("root-namespace", name).unwrap_or_else(|| "istio-system".to_owned()),
            cert_lifetime: given.take("cert-lifetime", lifetime).unwrap_or(DEFAULT_LIFETIME),
            failure: given.take("failure", failure).unwrap_or_default(),
            drain: given.take("drain", duration).unwrap_or(DEFAULT_DRAIN),
            workers: given.take("workers", count).unwrap_or_else(cpus),
            log_format: given.take("log-format", log_format).unwrap_or(LogFormat::Text),
            log: given.take("log", filter).unwrap_or_else(|| "info".to_owned()),
            kernel_log: given.take("kernel-log", kernel_log).flatten(),
        };
        manifests.map(|_| options)
    }
}

/// The flags of `culvert detach`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DetachOptions {
    /// The node's name.
    pub(crate) node: String,
}

pub(super) const DETACH_FLAGS: &[Flag] = &[Flag {
    name: "node",
    value: "NAME",
    help: "the node's name, as the agent was given it [default: the host name]",
}];

impl DetachOptions {
    #[expect(
        clippy::unnecessary_wraps,
        reason = "each command's flags are parsed by a function of one shape"
    )]
    pub(super) fn parse(given: &mut Given) -> Option<Self> {
        Some(Self { node: given.take("node", name).unwrap_or_else(host_name) })
    }
}

/// Istio's default (`SECRET_TTL`, pilot/cmd/pilot-agent/options).
const DEFAULT_LIFETIME: Duration = Duration::from_hours(24);
/// Kubernetes' own default grace period.
const DEFAULT_DRAIN: Duration = Duration::from_secs(30);
/// A certificate is renewed at half of its life, and validity has whole seconds.
const MIN_LIFETIME: Duration = Duration::from_secs(2);

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn cpus() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// A DNS name; it becomes the name of a directory.
fn name(text: &str) -> Result<String, String> {
    let ok = !text.starts_with('.')
        && !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if ok { Ok(text.to_owned()) } else { Err("expected letters, digits, '-', '_' and '.'".to_owned()) }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "expected a time such as 30s, 10m or 24h".to_owned())
}

fn lifetime(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        lifetime if lifetime >= MIN_LIFETIME => Ok(lifetime),
        _ => Err(format!("expected at least {}s", MIN_LIFETIME.as_secs())),
    }
}

fn failure(text: &str) -> Result<Failure, String> {
    match text {
        "closed" => Ok(Failure::Closed),
        "open" => Ok(Failure::Open),
        _ => Err("expected closed or open".to_owned()),
    }
}

fn count(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "expected a number of at least 1".to_owned())
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("expected text or json".to_owned()),
    }
}

fn filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("expected filter directives ({error})")),
    }
}

fn kernel_log(text: &str) -> Result<Option<aya_log::Level>, String> {
    Ok(Some(match text {
        "off" => return Ok(None),
        "error" => aya_log::Level::Error,
        "warn" => aya_log::Level::Warn,
        "info" => aya_log::Level::Info,
        "debug" => aya_log::Level::Debug,
        "trace" => aya_log::Level::Trace,
        _ => return Err("expected off, error, warn, info, debug or trace".to_owned()),
    }))
}
