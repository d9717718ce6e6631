//! The flags of `culvert agent`, as types with nothing left to parse.

use std::{num::NonZeroUsize, path::PathBuf, thread, time::Duration};

use culvert::{identity::CaAddress, kernel::Failure, status};

use super::{
    flags::{Flag, Given},
    values::{
        LogFormat, busy_poll, ca_address, count, duration, failure, filter, kernel_log, lifetime, log_format,
        name, node_name,
    },
};

/// The flags of `culvert agent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentOptions {
    /// The node's name, as `spec.nodeName` of its pods has it.
    pub(crate) node: String,
    /// The node's cgroup; none means the root of the mounted hierarchy.
    pub(crate) cgroup_root: Option<PathBuf>,
    /// The kubelet's cgroup; none means the one that is found by its name.
    pub(crate) kubelet_cgroup: Option<PathBuf>,
    /// Where the agent learns of the cluster.
    pub(crate) source: Source,
    /// Who signs certificates.
    pub(crate) issuer: IssuerOptions,
    /// The mesh's trust domain, whatever the mesh's own settings say.
    pub(crate) trust_domain: Option<String>,
    /// Where mesh-wide policies stand, whatever the mesh's own settings say.
    pub(crate) root_namespace: Option<String>,
    /// Where `DestinationRule`s may name files.
    pub(crate) tls_files: PathBuf,
    /// How long workload certificates live.
    pub(crate) cert_lifetime: Duration,
    /// What becomes of connections that cannot be captured.
    pub(crate) failure: Failure,
    /// How long open connections may go on after SIGTERM.
    pub(crate) drain: Duration,
    /// How many threads carry connections.
    pub(crate) workers: NonZeroUsize,
    /// For how long a thread may look for what comes next before it sleeps; zero for not at all.
    pub(crate) busy_poll: Duration,
    /// Where `culvert status` asks.
    pub(crate) status_socket: PathBuf,
    /// How log lines are written.
    pub(crate) log_format: LogFormat,
    /// Which lines, as tracing's filter directives.
    pub(crate) log: String,
    /// What the kernel's programs log.
    pub(crate) kernel_log: Option<aya_log::Level>,
}

/// Where the agent learns of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A directory of manifests.
    Manifests(PathBuf),
    /// The API server: of the cluster that the agent is a pod of, or of a kubeconfig.
    Kubernetes {
        /// The kubeconfig.
        kubeconfig: Option<PathBuf>,
    },
}

/// Who signs certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IssuerOptions {
    /// The agent itself, with a key in this directory, or one of its own.
    Own {
        /// The directory.
        directory: Option<PathBuf>,
    },
    /// `culvert ca`, or istiod.
    Service {
        /// Host and port.
        address: CaAddress,
        /// A file of the roots that the service and the mesh are trusted by, in PEM.
        roots: PathBuf,
        /// A file with the token that the agent shows.
        token: PathBuf,
    },
}

pub(super) const FLAGS: &[Flag] = &[
    Flag::value(
        "node",
        "NAME",
        "the node's name, as spec.nodeName has it [default: $NODE_NAME, or the host name]",
    ),
    Flag::value("cgroup-root", "DIR", "the node's cgroup v2 [default: where it is mounted]"),
    Flag::value(
        "kubelet-cgroup",
        "DIR",
        "the kubelet's cgroup v2, whose probes STRICT pods accept [default: kubelet.service or kubelet, where it is found]",
    ),
    Flag::value(
        "kubeconfig",
        "FILE",
        "the API server to follow [default: that of the cluster the agent runs in]",
    ),
    Flag::value("manifests", "DIR", "a directory of Kubernetes objects, followed instead of an API server"),
    Flag::value("ca-address", "HOST:PORT", "the certificate authority: `culvert ca`, or istiod"),
    Flag::value(
        "ca-roots",
        "FILE",
        "the roots of the mesh, in PEM, followed as they change; with --ca-address",
    ),
    Flag::value("ca-token", "FILE", "the token that the authority knows the agent by; with --ca-address"),
    Flag::value(
        "ca-dir",
        "DIR",
        "an authority of the agents' own, shared by a directory; without --ca-address",
    ),
    Flag::value(
        "trust-domain",
        "NAME",
        "the mesh's trust domain [default: as the mesh says, or cluster.local]",
    ),
    Flag::value(
        "root-namespace",
        "NAME",
        "where mesh-wide policies stand [default: as the mesh says, or istio-system]",
    ),
    Flag::value(
        "tls-files",
        "DIR",
        "DestinationRules of mode SIMPLE or MUTUAL may name files below it [default: /etc/culvert/tls]",
    ),
    Flag::value("cert-lifetime", "TIME", "how long workload certificates live [default: 24h]"),
    Flag::value(
        "failure",
        "closed|open",
        "what cannot be captured is refused, or passes in plaintext [default: closed]",
    ),
    Flag::value("drain", "TIME", "how long connections may go on after SIGTERM [default: 30s]"),
    Flag::value("workers", "N", "threads that carry connections [default: one per CPU]"),
    Flag::value(
        "busy-poll",
        "TIME",
        "for how long a worker may look for what comes next before it sleeps, where that pays; 0s: never [default: 100us]",
    ),
    Flag::value("status-socket", "PATH", "where `culvert status` asks [default: /run/culvert/NODE.sock]"),
    Flag::value("log-format", "text|json", "how log lines are written [default: text]"),
    Flag::value("log", "FILTER", "which lines, such as info,culvert=debug,access=off [default: info]"),
    Flag::value(
        "kernel-log",
        "LEVEL",
        "what the kernel's programs log: off, error, warn, info, debug, trace [default: off]",
    ),
];

impl AgentOptions {
    #[expect(
        clippy::unnecessary_wraps,
        reason = "each command's flags are parsed by a function of one shape"
    )]
    pub(super) fn parse(given: &mut Given) -> Option<Self> {
        let node = given.take("node", name).unwrap_or_else(node_name);
        let source = source(given);
        let issuer = issuer(given, &source);
        Some(Self {
            status_socket: given
                .take_os("status-socket")
                .map_or_else(|| status::socket_of(&node), PathBuf::from),
            node,
            cgroup_root: given.take_os("cgroup-root").map(PathBuf::from),
            kubelet_cgroup: given.take_os("kubelet-cgroup").map(PathBuf::from),
            source,
            issuer,
            trust_domain: given.take("trust-domain", name),
            root_namespace: given.take("root-namespace", name),
            tls_files: given.take_os("tls-files").map_or_else(|| DEFAULT_TLS_FILES.into(), PathBuf::from),
            cert_lifetime: given.take("cert-lifetime", lifetime).unwrap_or(DEFAULT_LIFETIME),
            failure: given.take("failure", failure).unwrap_or_default(),
            drain: given.take("drain", duration).unwrap_or(DEFAULT_DRAIN),
            workers: given.take("workers", count).unwrap_or_else(cpus),
            busy_poll: given.take("busy-poll", busy_poll).unwrap_or(DEFAULT_BUSY_POLL),
            log_format: given.take("log-format", log_format).unwrap_or_default(),
            log: given.take("log", filter).unwrap_or_else(|| "info".to_owned()),
            kernel_log: given.take("kernel-log", kernel_log).flatten(),
        })
    }
}

/// What stands in the place of a mistake is never used.
fn source(given: &mut Given) -> Source {
    let kubeconfig = given.take_os("kubeconfig").map(PathBuf::from);
    let manifests = given.take_os("manifests").map(PathBuf::from);
    if kubeconfig.is_some() && manifests.is_some() {
        given.mistake("--manifests and --kubeconfig exclude each other: a cluster has one source".to_owned());
    }
    manifests.map_or(Source::Kubernetes { kubeconfig }, Source::Manifests)
}

fn issuer(given: &mut Given, source: &Source) -> IssuerOptions {
    let directory = given.take_os("ca-dir").map(PathBuf::from);
    let roots = given.take_os("ca-roots").map(PathBuf::from);
    let token = given.take_os("ca-token").map(PathBuf::from);
    let address = given.take("ca-address", ca_address);
    let is_alone = matches!(source, Source::Manifests(_));
    let mistake = match (address, roots, token, directory) {
        (Some(address), Some(roots), Some(token), None) => {
            return IssuerOptions::Service { address, roots, token };
        }
        (None, None, None, directory) if directory.is_some() || is_alone => {
            return IssuerOptions::Own { directory };
        }
        (None, None, None, _) => {
            "expected --ca-address, or --ca-dir: agents of one cluster need one authority"
        }
        (_, _, _, Some(_)) => "--ca-dir excludes --ca-address, --ca-roots and --ca-token",
        _ => "--ca-address, --ca-roots and --ca-token go together",
    };
    given.mistake(mistake.to_owned());
    IssuerOptions::Own { directory: None }
}

/// Istio's default (`SECRET_TTL`, pilot/cmd/pilot-agent/options).
const DEFAULT_LIFETIME: Duration = Duration::from_hours(24);
const DEFAULT_TLS_FILES: &str = "/etc/culvert/tls";
/// Kubernetes' own default grace period.
const DEFAULT_DRAIN: Duration = Duration::from_secs(30);
/// As recommended for hundreds of sockets (Linux, Documentation/admin-guide/sysctl/net.rst, `busy_poll`).
const DEFAULT_BUSY_POLL: Duration = Duration::from_micros(100);

fn cpus() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
