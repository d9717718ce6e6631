//! Certificates of any kind, for peers that are played, or that are not ours.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::Machine;

/// An authority in the hands of a test.
pub struct Mesh {
    issuer: Issuer<'static, KeyPair>,
    root: String,
}

/// A certificate and its key.
pub struct Credentials {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Mesh {
    /// The one whose key the agents of a machine share, once one of them is ready.
    pub fn of(machine: &Machine) -> Self {
        let read = |name| fs::read_to_string(machine.authority().join(name)).expect("agents have made it");
        let (root, key) = (read("ca.pem"), KeyPair::from_pem(&read("ca.key")).expect("a key"));
        Self { issuer: Issuer::from_ca_cert_pem(&root, key).expect("an authority"), root }
    }

    /// One that no agent knows.
    pub fn foreign() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), root }
    }

    /// The root, as PEM.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// A certificate for an identity that is good for a while.
    pub fn certificate(&self, identity: &str) -> Credentials {
        self.certificate_until(identity, SystemTime::now() + 10 * MINUTE)
    }

    /// A certificate that was good until a minute ago.
    pub fn expired(&self, identity: &str) -> Credentials {
        self.certificate_until(identity, SystemTime::now() - MINUTE)
    }

    fn certificate_until(&self, identity: &str, end: SystemTime) -> Credentials {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(identity.try_into().expect("ASCII"))];
        params.not_before = (end - 20 * MINUTE).into();
        params.not_after = end.into();
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Credentials { certificate, key }
    }
}

const MINUTE: Duration = Duration::from_mins(1);

impl Credentials {
    /// What a TLS configuration shows: the certificate alone, as the root signed it.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.der().clone()]
    }

    /// The key that belongs to it.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.serialize_der().into())
    }

    /// The certificate, as PEM.
    pub fn certificate_pem(&self) -> String {
        self.certificate.pem()
    }

    /// The key, as PEM.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}
