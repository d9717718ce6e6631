//! What the operator says of the mesh.

/// The mesh's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where policies for the whole mesh live.
    pub root_namespace: String,
    /// Of the SPIFFE identities.
    pub trust_domain: String,
    /// The DNS domain of Services.
    pub cluster_domain: String,
    /// Whether mTLS is chosen without a rule that asks for it.
    pub auto_mtls: bool,
    /// How it is known that a pod is enrolled and served.
    pub captured: Captured,
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
            cluster_domain: "cluster.local".to_owned(),
            auto_mtls: true,
            captured: Captured::ByAnnotation,
        }
    }
}
