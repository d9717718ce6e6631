//! The hosts that a `DestinationRule` is for.

use std::iter;

/// `spec.host`, in full.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// One host.
    Exact(String),
    /// Each host that ends like this: `*` is the empty suffix, `*.example.com` is `.example.com`.
    Suffix(String),
}

/// `spec.host` is neither a host nor a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a host name, \"*\" or \"*.suffix\", found {found:?}")]
pub struct HostPatternError {
    found: String,
}

impl HostPattern {
    /// Reads the host of a rule in `namespace`. A name without a dot is a Service of that namespace; any other is
    /// taken as it is (Istio, `pilot/pkg/model/config.go`, `ResolveShortnameToFQDN`).
    pub fn parse(host: &str, namespace: &str, cluster_domain: &str) -> Result<Self, HostPatternError> {
        let host = host.to_ascii_lowercase();
        match host.strip_prefix('*') {
            Some(suffix) if is_suffix(suffix) => Ok(Self::Suffix(suffix.to_owned())),
            None if is_host(&host) => Ok(Self::Exact(in_full(host, namespace, cluster_domain))),
            _ => Err(HostPatternError { found: host }),
        }
    }

    /// Whether it is for this host, which is written in full and in lower case.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == host,
            Self::Suffix(suffix) => host.ends_with(suffix.as_str()),
        }
    }
}

/// The suffixes under which a pattern for this host may be filed, the most specific first.
pub(crate) fn suffixes(host: &str) -> impl Iterator<Item = &str> {
    host.match_indices('.').map(|(dot, _)| &host[dot..]).chain(iter::once(""))
}

fn is_suffix(text: &str) -> bool {
    text.is_empty() || text.strip_prefix('.').is_some_and(is_host)
}

fn is_host(text: &str) -> bool {
    text.split('.').all(|label| !label.is_empty() && label.bytes().all(is_label_byte))
}

const fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn in_full(host: String, namespace: &str, cluster_domain: &str) -> String {
    if host.contains('.') { host } else { format!("{host}.{namespace}.svc.{cluster_domain}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(host: &str) -> Result<HostPattern, HostPatternError> {
        HostPattern::parse(host, "full", "cluster.local")
    }

    #[test]
    fn short_names_are_of_the_rules_namespace() {
        let exact = |host: &str| Ok(HostPattern::Exact(host.to_owned()));
        assert_eq!(parse("httpbin"), exact("httpbin.full.svc.cluster.local"));
        assert_eq!(parse("httpbin.full"), exact("httpbin.full"));
        assert_eq!(parse("API.example.com"), exact("api.example.com"));
    }

    #[test]
    fn a_star_stands_at_the_start_of_a_suffix() {
        let suffix = |text: &str| Ok(HostPattern::Suffix(text.to_owned()));
        assert_eq!(parse("*"), suffix(""));
        assert_eq!(parse("*.full.svc.cluster.local"), suffix(".full.svc.cluster.local"));
    }

    #[test]
    fn refuses_what_is_no_host() {
        for host in ["", ".", "*.", "**", "*example.com", "a.*.b", "a..b", "a b", ".example.com"] {
            assert!(parse(host).is_err(), "{host:?} was accepted");
        }
    }

    #[test]
    fn suffixes_go_from_the_longest_to_the_star() {
        assert_eq!(suffixes("a.b.c").collect::<Vec<_>>(), [".b.c", ".c", ""]);
        assert_eq!(suffixes("a").collect::<Vec<_>>(), [""]);
    }
}
