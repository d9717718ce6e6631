//! One `DestinationRule`, as far as it concerns TLS.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use crate::{HostPattern, Labels, Meta, TlsSettings, selects};

/// A `DestinationRule`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationRule {
    /// Which object it is.
    pub meta: Meta,
    /// Whose connections it is for, by where they go.
    pub host: HostPattern,
    /// Whose connections it is for, by where they come from.
    pub export_to: ExportTo,
    /// For all endpoints of the host.
    pub policy: TrafficPolicy,
    /// For some of them.
    pub subsets: Vec<Subset>,
}

/// Which clients see a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportTo {
    /// Those of each namespace.
    All,
    /// Those of these namespaces.
    Namespaces(BTreeSet<String>),
}

/// The TLS settings of a rule or a subset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrafficPolicy {
    /// `tls`.
    pub tls: Option<TlsSettings>,
    /// `portLevelSettings`, by the port of the Service. A port that is listed inherits nothing, so a port without
    /// `tls` has none.
    pub ports: BTreeMap<u16, Option<TlsSettings>>,
}

/// Some endpoints of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subset {
    /// Its name.
    pub name: String,
    /// The labels that its endpoints carry.
    pub labels: Labels,
    /// Their settings.
    pub policy: TrafficPolicy,
}

/// `tls.mode` of a `DestinationRule`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClientTls {
    /// Plaintext.
    Disable,
    /// TLS by the rule's settings.
    Simple,
    /// TLS with a client certificate, by the rule's settings.
    Mutual,
    /// The mesh's mTLS.
    IstioMutual,
}

/// `tls.mode` is a word that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected mode DISABLE, SIMPLE, MUTUAL or ISTIO_MUTUAL, found {0:?}")]
pub struct UnknownTlsMode(String);

impl DestinationRule {
    /// Whether it says anything of TLS: if not, it changes no choice.
    pub fn sets_tls(&self) -> bool {
        self.settings().next().is_some()
    }

    /// All that it says of TLS.
    pub fn settings(&self) -> impl Iterator<Item = &TlsSettings> {
        let policies = self.subsets.iter().map(|subset| &subset.policy);
        [&self.policy].into_iter().chain(policies).flat_map(TrafficPolicy::settings)
    }
}

impl ExportTo {
    /// Reads `exportTo` of a rule in `namespace`: `.` is that namespace, `*` is each, and so is nothing at all. `~`,
    /// which is no namespace, is none.
    pub fn parse(entries: &[String], namespace: &str) -> Self {
        if entries.is_empty() || entries.iter().any(|entry| entry == "*") {
            return Self::All;
        }
        let named = |entry: &String| {
            if entry == "." { namespace.to_owned() } else { entry.clone() }
        };
        Self::Namespaces(entries.iter().map(named).collect())
    }

    /// Whether clients of a namespace see it.
    pub fn includes(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespaces(namespaces) => namespaces.contains(namespace),
        }
    }
}

impl TrafficPolicy {
    /// What it says of a port of the Service.
    pub(crate) fn at(&self, port: u16) -> Option<&TlsSettings> {
        self.ports.get(&port).unwrap_or(&self.tls).as_ref()
    }

    /// Whether it decides for that port, be it that there is no TLS setting.
    pub(crate) fn decides(&self, port: u16) -> bool {
        self.tls.is_some() || self.ports.contains_key(&port)
    }

    fn settings(&self) -> impl Iterator<Item = &TlsSettings> {
        self.tls.iter().chain(self.ports.values().flatten())
    }
}

impl Subset {
    /// Whether an endpoint with these labels is in it.
    pub(crate) fn has(&self, labels: &Labels) -> bool {
        selects(&self.labels, labels)
    }
}

impl ClientTls {
    /// The word for it in a rule.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "DISABLE",
            Self::Simple => "SIMPLE",
            Self::Mutual => "MUTUAL",
            Self::IstioMutual => "ISTIO_MUTUAL",
        }
    }
}

impl FromStr for ClientTls {
    type Err = UnknownTlsMode;

    fn from_str(word: &str) -> Result<Self, UnknownTlsMode> {
        match word {
            "DISABLE" => Ok(Self::Disable),
            "SIMPLE" => Ok(Self::Simple),
            "MUTUAL" => Ok(Self::Mutual),
            "ISTIO_MUTUAL" => Ok(Self::IstioMutual),
            _ => Err(UnknownTlsMode(word.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(entries: &[&str]) -> ExportTo {
        let entries: Vec<String> = entries.iter().map(ToString::to_string).collect();
        ExportTo::parse(&entries, "full")
    }

    #[test]
    fn export_to_names_namespaces() {
        for (entries, own, other) in [
            (&[][..], true, true),
            (&["*"][..], true, true),
            (&["."][..], true, false),
            (&["other"][..], false, true),
            (&[".", "other"][..], true, true),
            (&[".", "*"][..], true, true),
            (&["~"][..], false, false),
        ] {
            assert_eq!(export(entries).includes("full"), own, "{entries:?}");
            assert_eq!(export(entries).includes("other"), other, "{entries:?}");
        }
    }

    #[test]
    fn modes_are_four_words() {
        assert_eq!("DISABLE".parse(), Ok(ClientTls::Disable));
        assert_eq!("SIMPLE".parse(), Ok(ClientTls::Simple));
        assert_eq!("MUTUAL".parse(), Ok(ClientTls::Mutual));
        assert_eq!("ISTIO_MUTUAL".parse(), Ok(ClientTls::IstioMutual));
        assert_eq!("STRICT".parse::<ClientTls>(), Err(UnknownTlsMode("STRICT".to_owned())));
    }
}
