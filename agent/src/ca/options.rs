//! What an authority is told when it starts.

use std::{
    fmt,
    net::{Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use crate::identity::{Clock, SystemClock};

const DAY: Duration = Duration::from_hours(24);

/// The settings of one authority. Its replicas must have the same.
#[derive(Clone, Debug)]
pub struct CaOptions {
    /// Where to listen; port 0 lets the system pick one.
    pub listen: SocketAddr,
    /// The namespace of the Secret and the `ConfigMap`.
    pub namespace: String,
    /// The Secret that holds the roots with their keys. It is made if it is missing.
    pub secret: String,
    /// The `ConfigMap` in which the trusted roots are published, under `root-cert.pem`.
    pub config_map: String,
    /// The trust domain of all certificates.
    pub trust_domain: String,
    /// A caller's token must be meant for one of these.
    pub audiences: Vec<String>,
    /// The agents' service account, which may ask for the identities of pods on its own node.
    pub agent_account: Account,
    /// How long a certificate lives if the caller does not say.
    pub default_lifetime: Duration,
    /// How long a certificate lives at most, whatever the caller says.
    pub max_lifetime: Duration,
    /// How long a root lives.
    pub root_lifetime: Duration,
    /// How long a new root is published before it signs: as long as the slowest agent takes to learn of it.
    pub overlap: Duration,
    /// The names and addresses by which callers know this server.
    pub names: Vec<String>,
    /// How many certificates one caller may ask for at once.
    pub burst: u32,
    /// After that, how long it has to wait for each further one.
    pub refill: Duration,
    /// How often the Secret is looked at; each wait is up to a quarter shorter or longer.
    pub poll: Duration,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
}

/// A service account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Account {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Settings that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsFault {
    /// Roots would follow each other faster than the certificates they sign.
    #[error(
        "expected roots that live for at least {}, twice as long as a rotation takes: found {}; \
         give a longer root lifetime, or a shorter overlap or certificate lifetime",
        humantime::format_duration(*.least),
        humantime::format_duration(*.found)
    )]
    RootTooShort {
        /// The shortest that works.
        least: Duration,
        /// What was given.
        found: Duration,
    },
    /// A certificate of no length.
    #[error("expected certificates that live for a second or more")]
    NoLifetime,
    /// Nobody could be let in.
    #[error("expected an audience that callers' tokens are meant for, found none")]
    NoAudience,
    /// Nobody could connect.
    #[error("expected a name that callers know this server by, found none")]
    NoName,
    /// Not a host name or an address.
    #[error("expected a host name or an IP address, found {found:?}")]
    BadName {
        /// What was given.
        found: String,
    },
}

/// The text names no service account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected NAMESPACE/NAME, found {found:?}")]
pub struct AccountError {
    found: String,
}

impl CaOptions {
    /// The defaults for an authority that runs in `namespace` behind a Service `culvert-ca`.
    pub fn in_namespace(namespace: &str) -> Self {
        Self {
            listen: (Ipv6Addr::UNSPECIFIED, 15012).into(),
            namespace: namespace.to_owned(),
            secret: "culvert-ca".to_owned(),
            config_map: "culvert-ca-root-cert".to_owned(),
            trust_domain: "cluster.local".to_owned(),
            audiences: vec!["culvert-ca".to_owned()],
            agent_account: Account { namespace: namespace.to_owned(), name: "culvert-agent".to_owned() },
            default_lifetime: DAY,
            max_lifetime: DAY,
            root_lifetime: 365 * DAY,
            overlap: DAY,
            names: vec![
                format!("culvert-ca.{namespace}.svc"),
                format!("culvert-ca.{namespace}.svc.cluster.local"),
            ],
            burst: 256,
            refill: Duration::from_millis(200),
            poll: Duration::from_secs(15),
            clock: Arc::new(SystemClock),
        }
    }

    /// Whether the settings can work together.
    pub fn check(&self) -> Result<(), OptionsFault> {
        let least = 2 * (self.max_lifetime + 2 * self.overlap);
        if self.root_lifetime < least {
            return Err(OptionsFault::RootTooShort { least, found: self.root_lifetime });
        }
        if self.default_lifetime.min(self.max_lifetime) < Duration::from_secs(1) {
            return Err(OptionsFault::NoLifetime);
        }
        if self.audiences.is_empty() {
            return Err(OptionsFault::NoAudience);
        }
        if self.names.is_empty() {
            return Err(OptionsFault::NoName);
        }
        Ok(())
    }
}

impl Default for CaOptions {
    fn default() -> Self {
        Self::in_namespace("culvert-system")
    }
}

impl FromStr for Account {
    type Err = AccountError;

    fn from_str(text: &str) -> Result<Self, AccountError> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(AccountError { found: text.to_owned() }),
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_work_together() {
        CaOptions::default().check().unwrap();
    }

    #[test]
    fn a_root_must_outlive_its_rotation() {
        let options = CaOptions { root_lifetime: DAY, ..CaOptions::default() };
        let fault = options.check().unwrap_err();
        assert_eq!(fault, OptionsFault::RootTooShort { least: 6 * DAY, found: DAY });
    }

    #[test]
    fn an_account_is_a_namespace_and_a_name() {
        let account: Account = "culvert-system/culvert-agent".parse().unwrap();
        assert_eq!(account, CaOptions::default().agent_account);
        for text in ["", "culvert-agent", "/culvert-agent", "culvert-system/", "a/b/c"] {
            assert!(text.parse::<Account>().is_err(), "{text} was accepted");
        }
    }
}
