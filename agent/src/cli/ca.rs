//! The flags of `culvert ca`.

use std::{net::SocketAddr, path::PathBuf};

use culvert::ca;

use super::{
    flags::{Flag, Given},
    values::{LogFormat, duration, filter, lifetime, list, log_format, name},
};

/// How to serve certificates.
#[derive(Clone, Debug)]
pub(crate) struct CaOptions {
    /// The authority's own settings.
    pub(crate) settings: ca::CaOptions,
    /// The API server's kubeconfig; none means that of the cluster that this is a pod of.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// How log lines are written.
    pub(crate) log_format: LogFormat,
    /// Which lines, as tracing's filter directives.
    pub(crate) log: String,
}

pub(super) const FLAGS: &[Flag] = &[
    Flag::value("listen", "ADDRESS:PORT", "where to serve [default: [::]:15012]"),
    Flag::value("namespace", "NAME", "where the Secret and the ConfigMap are [default: culvert-system]"),
    Flag::value("secret", "NAME", "the Secret with the roots and their keys [default: culvert-ca]"),
    Flag::value(
        "config-map",
        "NAME",
        "the ConfigMap that publishes the trusted roots [default: culvert-ca-root-cert]",
    ),
    Flag::value("trust-domain", "NAME", "the trust domain of all certificates [default: cluster.local]"),
    Flag::value(
        "audience",
        "NAME[,NAME...]",
        "whom callers' tokens have to be meant for [default: culvert-ca]",
    ),
    Flag::value(
        "agent-account",
        "NAMESPACE/NAME",
        "the agents' service account, which may ask for the pods of its own node [default: culvert-agent, of the \
         same namespace]",
    ),
    Flag::value("max-lifetime", "TIME", "how long a certificate lives at most [default: 24h]"),
    Flag::value("root-lifetime", "TIME", "how long a root lives [default: 365d]"),
    Flag::value("overlap", "TIME", "how long a new root is published before it signs [default: 24h]"),
    Flag::value(
        "dns-name",
        "NAME[,NAME...]",
        "names and addresses of this server [default: culvert-ca.NAMESPACE.svc, with .cluster.local too]",
    ),
    Flag::value(
        "kubeconfig",
        "FILE",
        "the API server to ask [default: that of the cluster the authority runs in]",
    ),
    Flag::value("log-format", "text|json", "how log lines are written [default: text]"),
    Flag::value("log", "FILTER", "which lines, such as info,culvert=debug [default: info]"),
];

impl CaOptions {
    pub(super) fn parse(given: &mut Given) -> Option<Self> {
        let settings = settings(given);
        if let Err(fault) = settings.check() {
            given.mistake(fault.to_string());
            return None;
        }
        Some(Self {
            settings,
            kubeconfig: given.take_os("kubeconfig").map(PathBuf::from),
            log_format: given.take("log-format", log_format).unwrap_or_default(),
            log: given.take("log", filter).unwrap_or_else(|| "info".to_owned()),
        })
    }
}

fn settings(given: &mut Given) -> ca::CaOptions {
    let namespace = given.take("namespace", name);
    let default = namespace.map_or_else(ca::CaOptions::default, |name| ca::CaOptions::in_namespace(&name));
    let max_lifetime = given.take("max-lifetime", lifetime).unwrap_or(default.max_lifetime);
    let overlap = given.take("overlap", duration).unwrap_or(default.overlap);
    ca::CaOptions {
        listen: given.take("listen", address).unwrap_or(default.listen),
        secret: given.take("secret", name).unwrap_or(default.secret),
        config_map: given.take("config-map", name).unwrap_or(default.config_map),
        trust_domain: given.take("trust-domain", name).unwrap_or(default.trust_domain),
        audiences: given.take("audience", list).unwrap_or(default.audiences),
        agent_account: given.take("agent-account", account).unwrap_or(default.agent_account),
        default_lifetime: default.default_lifetime.min(max_lifetime),
        max_lifetime,
        root_lifetime: given.take("root-lifetime", lifetime).unwrap_or(default.root_lifetime),
        overlap,
        names: given.take("dns-name", list).unwrap_or(default.names),
        // Each replica has to see a new root well before it signs.
        poll: default.poll.min(overlap / 4),
        ..default
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected ADDRESS:PORT, such as [::]:15012".to_owned())
}

fn account(text: &str) -> Result<ca::Account, String> {
    text.parse().map_err(|_| "expected NAMESPACE/NAME".to_owned())
}
