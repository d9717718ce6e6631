//! The mesh's settings as Istio has them, and what the operator puts above them.

use serde::Deserialize;

use super::{Captured, Settings, TlsVersion};

/// What the agent's flags say of the mesh. They win over Istio's configuration; what they leave open it decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Where policies for the whole mesh live, and where Istio's configuration is looked for.
    pub root_namespace: Option<String>,
    /// Of the SPIFFE identities.
    pub trust_domain: Option<String>,
    /// The DNS domain of Services.
    pub cluster_domain: Option<String>,
    /// Whether mTLS is chosen without a rule that asks for it.
    pub auto_mtls: Option<bool>,
    /// The oldest version of TLS.
    pub min_tls: Option<TlsVersion>,
    /// How it is known that a pod is enrolled and served.
    pub captured: Option<Captured>,
}

/// Istio's `MeshConfig`, as far as Culvert reads it (`istio.io/api`, `mesh/v1alpha1/config.proto`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MeshConfig {
    enable_auto_mtls: Option<bool>,
    trust_domain: Option<String>,
    trust_domain_aliases: Option<Vec<String>>,
    root_namespace: Option<String>,
    #[serde(rename = "meshMTLS")]
    mesh_mtls: Option<TlsDefaults>,
    tls_defaults: Option<TlsDefaults>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TlsDefaults {
    min_protocol_version: Option<MinProtocolVersion>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum MinProtocolVersion {
    #[serde(rename = "TLS_AUTO")]
    Auto,
    #[serde(rename = "TLSV1_2")]
    Tls12,
    #[serde(rename = "TLSV1_3")]
    Tls13,
}

/// The text does not say what a mesh's configuration has to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeshConfigError {
    /// It is no such YAML.
    #[error("{0}")]
    Unreadable(String),
    /// A trust domain that no SPIFFE identity can have.
    #[error("expected letters, digits, dots, dashes and underscores in {field}, found {found:?}")]
    TrustDomain {
        /// Where.
        field: &'static str,
        /// What stands there.
        found: String,
    },
}

impl MeshConfig {
    /// Reads the YAML that stands under the key `mesh`.
    pub fn parse(yaml: &str) -> Result<Self, MeshConfigError> {
        let read: Option<Self> = serde_saphyr::from_str(yaml)
            .map_err(|error| MeshConfigError::Unreadable(error.without_snippet().to_string()))?;
        let config = read.unwrap_or_default();
        let mut aliases = config.trust_domain_aliases.iter().flatten();
        let own = written(config.trust_domain.as_ref());
        own.map_or(Ok(()), |own| check("trustDomain", own))?;
        aliases.try_for_each(|alias| check("trustDomainAliases", alias))?;
        Ok(config)
    }
}

fn check(field: &'static str, found: &str) -> Result<(), MeshConfigError> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if !found.is_empty() && found.bytes().all(is_name) {
        return Ok(());
    }
    Err(MeshConfigError::TrustDomain { field, found: found.to_owned() })
}

/// Protocol buffers do not tell an empty string from an absent one.
fn written(text: Option<&String>) -> Option<&String> {
    text.filter(|text| !text.is_empty())
}

impl Overrides {
    /// What holds: these, then the mesh's configuration, then the defaults.
    pub fn settings(&self, mesh: &MeshConfig) -> Settings {
        let default = Settings::default();
        let text = |flag: &Option<String>, mesh: Option<&String>, default: String| {
            flag.clone().or(written(mesh).cloned()).unwrap_or(default)
        };
        let least = |tls: &Option<TlsDefaults>| Some(tls.as_ref()?.min_protocol_version?.into());
        Settings {
            root_namespace: text(&self.root_namespace, mesh.root_namespace.as_ref(), default.root_namespace),
            trust_domain: text(&self.trust_domain, mesh.trust_domain.as_ref(), default.trust_domain),
            trust_domain_aliases: mesh.trust_domain_aliases.clone().unwrap_or_default(),
            cluster_domain: text(&self.cluster_domain, None, default.cluster_domain),
            auto_mtls: self.auto_mtls.or(mesh.enable_auto_mtls).unwrap_or(default.auto_mtls),
            min_tls: self.min_tls.or(least(&mesh.mesh_mtls)).unwrap_or(default.min_tls),
            min_origination_tls: least(&mesh.tls_defaults).unwrap_or(default.min_origination_tls),
            captured: self.captured.unwrap_or(default.captured),
        }
    }
}

impl From<MinProtocolVersion> for TlsVersion {
    fn from(version: MinProtocolVersion) -> Self {
        match version {
            MinProtocolVersion::Auto | MinProtocolVersion::Tls12 => Self::Tls12,
            MinProtocolVersion::Tls13 => Self::Tls13,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(yaml: &str) -> Settings {
        Overrides::default().settings(&MeshConfig::parse(yaml).unwrap())
    }

    #[test]
    fn what_is_not_written_has_its_default() {
        for yaml in ["", "{}", "# nothing", "accessLogFile: /dev/stdout", "trustDomain: ''", "meshMTLS: {}"] {
            assert_eq!(settings(yaml), Settings::default(), "{yaml:?}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let read = settings(
            "defaultConfig:\n  discoveryAddress: istiod.istio-system.svc:15012\nenableAutoMtls: false\n\
             trustDomain: example.org\ntrustDomainAliases: [old.example.org]\nrootNamespace: mesh\n\
             meshMTLS:\n  minProtocolVersion: TLSV1_3\n",
        );
        let expected = Settings {
            auto_mtls: false,
            trust_domain: "example.org".to_owned(),
            trust_domain_aliases: vec!["old.example.org".to_owned()],
            root_namespace: "mesh".to_owned(),
            min_tls: TlsVersion::Tls13,
            ..Settings::default()
        };
        assert_eq!(read, expected);
        assert_eq!(settings("meshMTLS: {minProtocolVersion: TLS_AUTO}").min_tls, TlsVersion::Tls12);
        let outside = settings("tlsDefaults: {minProtocolVersion: TLSV1_3}");
        assert_eq!((outside.min_origination_tls, outside.min_tls), (TlsVersion::Tls13, TlsVersion::Tls12));
    }

    #[test]
    fn flags_win() {
        let flags = Overrides {
            trust_domain: Some("flag.example".to_owned()),
            auto_mtls: Some(true),
            min_tls: Some(TlsVersion::Tls13),
            ..Overrides::default()
        };
        let mesh = MeshConfig::parse("{enableAutoMtls: false, trustDomain: mesh.example, rootNamespace: r}");
        let settings = flags.settings(&mesh.unwrap());
        assert_eq!((settings.trust_domain.as_str(), settings.root_namespace.as_str()), ("flag.example", "r"));
        assert_eq!((settings.auto_mtls, settings.min_tls), (true, TlsVersion::Tls13));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (yaml, expected) in [
            ("enableAutoMtls: [", "line 1"),
            ("enableAutoMtls: maybe", "line 1"),
            ("meshMTLS: {minProtocolVersion: TLSV1_1}", "line 1"),
            ("trustDomain: a/b", "in trustDomain, found \"a/b\""),
            ("trustDomainAliases: ['']", "in trustDomainAliases, found \"\""),
        ] {
            let error = MeshConfig::parse(yaml).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains('\n'), "{yaml}: {error}");
        }
    }
}
