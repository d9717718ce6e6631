//! What holds for the whole mesh.

/// The mesh's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where policies for the whole mesh live.
    pub root_namespace: String,
    /// Of the SPIFFE identities.
    pub trust_domain: String,
    /// Other trust domains whose identities count as the mesh's own.
    pub trust_domain_aliases: Vec<String>,
    /// The DNS domain of Services.
    pub cluster_domain: String,
    /// Whether mTLS is chosen without a rule that asks for it.
    pub auto_mtls: bool,
    /// The oldest version of TLS that the mesh's workloads speak with each other. HBONE is 1.3 in any case.
    pub min_tls: TlsVersion,
    /// The oldest version of TLS that is spoken where a `DestinationRule` demands TLS without the mesh's identities.
    pub min_origination_tls: TlsVersion,
    /// How it is known that a pod is enrolled and served.
    pub captured: Captured,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// How it is known that a pod is enrolled and served by an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Captured {
    /// The wish counts as the fact: where nobody can write annotations, as in a directory of manifests.
    ByWish,
    /// By the annotation that its agent sets.
    ByAnnotation,
}

impl Default for Settings {
    /// As Istio and Kubernetes have it where nobody says otherwise.
    fn default() -> Self {
        Self {
            root_namespace: "istio-system".to_owned(),
            trust_domain: "cluster.local".to_owned(),
            trust_domain_aliases: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
            auto_mtls: true,
            min_tls: TlsVersion::Tls12,
            min_origination_tls: TlsVersion::Tls12,
            captured: Captured::ByAnnotation,
        }
    }
}
