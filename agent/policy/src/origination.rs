//! TLS that a `DestinationRule` sets by itself, with nothing of the mesh's.

use std::{path::PathBuf, sync::Arc};

use crate::ClientTls;

/// The TLS settings of a rule, of a subset or of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsSettings {
    /// Plaintext.
    Disable,
    /// The mesh's mTLS.
    IstioMutual,
    /// TLS to whoever is there, by these settings.
    Originate(Arc<Origination>),
    /// TLS in a way that this version does not have, by mode and the field that demands it.
    Unsupported(ClientTls, &'static str),
}

/// How TLS is opened to an endpoint, and what it has to prove. The files are the agent's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origination {
    /// `sni`: the name to ask for; none is the name of the host.
    pub sni: Option<Arc<str>>,
    /// What the server has to show.
    pub server: ServerProof,
    /// What is shown to the server, of `MUTUAL`; none is `SIMPLE`.
    pub client: Option<ClientFiles>,
}

/// What a server has to show.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerProof {
    /// A certificate that one of the trusted roots signed.
    Certificate {
        /// `caCertificates`: a file of the roots, in PEM; none means those of the agent's system.
        roots: Option<PathBuf>,
        /// `subjectAltNames`: the certificate is for one of these; none means for the name that is asked for.
        names: Vec<Arc<str>>,
    },
    /// Nothing: `insecureSkipVerify`.
    None,
}

/// Files in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientFiles {
    /// `clientCertificate`: the client's certificate, and what leads from it to its root.
    pub certificate: PathBuf,
    /// `privateKey`: its key.
    pub private_key: PathBuf,
}

impl TlsSettings {
    /// The word for them in a rule.
    pub fn mode(&self) -> ClientTls {
        match self {
            Self::Disable => ClientTls::Disable,
            Self::IstioMutual => ClientTls::IstioMutual,
            Self::Originate(origination) if origination.client.is_some() => ClientTls::Mutual,
            Self::Originate(_) => ClientTls::Simple,
            Self::Unsupported(mode, _) => *mode,
        }
    }
}

impl Default for ServerProof {
    fn default() -> Self {
        Self::Certificate { roots: None, names: Vec::new() }
    }
}
