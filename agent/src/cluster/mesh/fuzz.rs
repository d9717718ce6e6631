//! Istio's configuration of the mesh.

use culvert_policy::SpiffeId;

use super::*;

/// A trust domain that is accepted is one that an identity can have.
pub(crate) fn run(data: &[u8]) -> bool {
    let Some(config) = std::str::from_utf8(data).ok().and_then(|yaml| MeshConfig::parse(yaml).ok()) else {
        return false;
    };
    let settings = Overrides::default().settings(&config);
    for domain in settings.trust_domain_aliases.iter().chain([&settings.trust_domain]) {
        let id = SpiffeId::new(domain, "full", "sleep");
        assert_eq!(id.to_string().parse().ok(), Some(id), "{domain:?}");
    }
    true
}
