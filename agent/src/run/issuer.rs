//! Who signs the certificates of this node's pods.

use anyhow::Result;
use culvert::{
    cluster::Settings,
    identity::{Authority, CaClient, Identities},
};

use crate::cli::{AgentOptions, IssuerOptions};

/// Identities whose certificates come from where the options say. The mesh's settings may name another trust domain
/// later.
pub(super) fn identities(options: &AgentOptions) -> Result<Identities> {
    let default = Settings::default().trust_domain;
    let trust_domain = options.trust_domain.as_ref().unwrap_or(&default);
    let lifetime = options.cert_lifetime;
    Ok(match &options.issuer {
        IssuerOptions::Own { directory: Some(directory) } => {
            Identities::new(Authority::in_dir(directory, trust_domain)?, lifetime)
        }
        IssuerOptions::Own { directory: None } => {
            Identities::new(Authority::in_memory(trust_domain)?, lifetime)
        }
        IssuerOptions::Service { address, roots, token } => {
            let client = CaClient::new(address.clone(), roots.clone(), token.clone(), trust_domain);
            Identities::new(client, lifetime)
        }
    })
}
