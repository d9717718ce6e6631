//! A root certificate with its key, and what it signs.

use std::time::{Duration, SystemTime};

use culvert_policy::SpiffeId;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, PublicKeyData,
    SanType,
};
use rustls::pki_types::CertificateDer;

use super::{RootFault, SKEW, root, root::Root};
use crate::identity::Key;

/// A root that can sign.
pub(crate) struct Signer {
    root: Root,
    issuer: rcgen::Issuer<'static, Key>,
}

/// A certificate that was signed just now.
pub(crate) struct Leaf {
    pub(crate) certificate: rcgen::Certificate,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

impl Signer {
    /// Checks that the two belong together and to the trust domain. Whether the root holds depends on the time, and is
    /// checked where it is used.
    pub(crate) fn new(
        key: Key,
        root: CertificateDer<'static>,
        trust_domain: &str,
    ) -> Result<Self, RootFault> {
        let root = Root::check(root, &key, trust_domain)?;
        webpki::anchor_from_trusted_cert(&root.certificate).map_err(RootFault::Anchor)?;
        let issuer = rcgen::Issuer::from_ca_cert_der(&root.certificate, key).map_err(RootFault::Issuer)?;
        Ok(Self { root, issuer })
    }

    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    /// A workload's certificate for `key`, as X.509-SVID, section 4, has it: its identity and nothing else. It holds
    /// from a little before `now` for `lifetime`, and never longer than the root.
    pub(crate) fn workload(
        &self,
        id: &SpiffeId,
        key: &impl PublicKeyData,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Leaf, rcgen::Error> {
        let names = vec![SanType::URI(id.to_string().try_into()?)];
        let purposes = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(names, purposes, key, lifetime, now)
    }

    /// The certificate of a server that is known by host names or addresses, and is no workload.
    pub(crate) fn server(
        &self,
        names: Vec<SanType>,
        key: &impl PublicKeyData,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Leaf, rcgen::Error> {
        self.sign(names, vec![ExtendedKeyUsagePurpose::ServerAuth], key, lifetime, now)
    }

    fn sign(
        &self,
        names: Vec<SanType>,
        purposes: Vec<ExtendedKeyUsagePurpose>,
        key: &impl PublicKeyData,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Leaf, rcgen::Error> {
        let not_before = root::whole_seconds(now - SKEW).max(self.root.not_before);
        let not_after = root::whole_seconds(now + lifetime.min(root::LIFETIME)).min(self.root.not_after);
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = purposes;
        params.use_authority_key_identifier_extension = true;
        params.not_before = not_before.into();
        params.not_after = not_after.into();
        let certificate = params.signed_by(key, &self.issuer)?;
        Ok(Leaf { certificate, not_before, not_after })
    }
}
