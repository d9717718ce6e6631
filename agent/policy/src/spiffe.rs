//! Workload identities.

use std::{fmt, str::FromStr, sync::Arc};

/// A workload's identity: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    /// The trust domain, such as `cluster.local`.
    pub trust_domain: Arc<str>,
    /// The Kubernetes namespace.
    pub namespace: Arc<str>,
    /// The Kubernetes service account.
    pub service_account: Arc<str>,
}

/// The text is not a workload identity of a Kubernetes mesh.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected spiffe://<trust domain>/ns/<namespace>/sa/<service account>, found {found:?}")]
pub struct SpiffeIdError {
    found: String,
}

impl SpiffeId {
    /// An identity from its three parts.
    pub fn new(trust_domain: &str, namespace: &str, service_account: &str) -> Self {
        Self {
            trust_domain: trust_domain.into(),
            namespace: namespace.into(),
            service_account: service_account.into(),
        }
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        let error = || SpiffeIdError { found: text.chars().take(MAX_SHOWN).collect() };
        let path = text.strip_prefix("spiffe://").filter(|_| text.len() <= MAX_LENGTH).ok_or_else(error)?;
        let parts: Vec<&str> = path.split('/').collect();
        match parts[..] {
            [trust_domain, "ns", namespace, "sa", service_account]
                if [trust_domain, namespace, service_account].into_iter().all(is_name) =>
            {
                Ok(Self::new(trust_domain, namespace, service_account))
            }
            _ => Err(error()),
        }
    }
}

/// In bytes (SPIFFE-ID, section 2.3).
const MAX_LENGTH: usize = 2048;

/// How much of a refused identity an error repeats: it comes from the other side.
const MAX_SHOWN: usize = 256;

/// The characters that SPIFFE allows in a trust domain or a path segment (SPIFFE-ID, sections 2.1 and 2.2).
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/ns/{}/sa/{}", self.trust_domain, self.namespace, self.service_account)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes() {
        let id = SpiffeId::new("cluster.local", "full", "sleep");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn refuses_what_is_not_a_workload() {
        for text in [
            "",
            "spiffe://cluster.local",
            "spiffe://cluster.local/ns/full/sa/",
            "spiffe://cluster.local/ns/full/sa/sleep/more",
            "spiffe:///ns/full/sa/sleep",
            "https://cluster.local/ns/full/sa/sleep",
            "spiffe://cluster.local/ns/fu%6cl/sa/sleep",
            "spiffe://cluster.local/ns/full/sa/sleep?x",
        ] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text} was accepted");
        }
        let of_length = |length: usize| format!("{:a<length$}", "spiffe://cluster.local/ns/full/sa/");
        assert!(of_length(2048).parse::<SpiffeId>().is_ok());
        assert!(of_length(2049).parse::<SpiffeId>().is_err());
    }
}
