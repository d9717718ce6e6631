//! From a rule's settings and files to a rustls configuration.

use std::{path::Path, sync::Arc};

use culvert_policy::{ClientFiles, Origination, ServerProof};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    client::Resumption,
    crypto::aws_lc_rs::{default_provider, sign::any_supported_type},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use zeroize::Zeroizing;

use super::{OriginationFault, files::read, verifier::Server};
use crate::{
    cluster::TlsVersion,
    identity::{Clock, clock::TlsClock},
};

/// Without ALPN: the bytes are the application's, and nobody knows its protocol. Where the settings name nobody whom the
/// server's certificate may be for, others may (Istio, `pilot/pkg/networking/core/cluster_tls.go`,
/// `constructUpstreamTLS`).
pub(super) fn make(
    settings: &Origination,
    names_otherwise: &[Arc<str>],
    min_version: TlsVersion,
    clock: Arc<dyn Clock>,
) -> Result<ClientConfig, OriginationFault> {
    let provider = Arc::new(default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let server = match &settings.server {
        ServerProof::Certificate { roots, names } => {
            let names = if names.is_empty() { names_otherwise } else { names };
            Server::with_certificate(trusted(roots.as_deref())?, names, algorithms)
        }
        ServerProof::None => Server::unverified(algorithms),
    };
    let builder = ClientConfig::builder_with_details(provider, Arc::new(TlsClock(clock)))
        .with_protocol_versions(versions(min_version))
        .expect("the provider has suites and groups of both versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(server));
    let mut config = match &settings.client {
        Some(files) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown(files)?))),
        None => builder.with_no_client_auth(),
    };
    // A resumed session would not be verified anew.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static ALL: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match min {
        TlsVersion::Tls12 => &ALL,
        TlsVersion::Tls13 => &ALL[..1],
    }
}

fn trusted(roots: Option<&Path>) -> Result<RootCertStore, OriginationFault> {
    roots.map_or_else(of_system, of_file)
}

/// One that cannot be a root spoils the file: what it was meant to be would be missing.
fn of_file(path: &Path) -> Result<RootCertStore, OriginationFault> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path, "root certificates")? {
        store.add(certificate).map_err(|error| content(path, "root certificates", error))?;
    }
    Ok(store)
}

/// A system's store has been looked after by others: what of it cannot be used is left out.
fn of_system() -> Result<RootCertStore, OriginationFault> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() { Err(OriginationFault::NoSystemRoots) } else { Ok(store) }
}

fn shown(files: &ClientFiles) -> Result<CertifiedKey, OriginationFault> {
    let expected = "a private key";
    let chain = certificates(&files.certificate, "a certificate")?;
    let path = &files.private_key;
    let key = PrivateKeyDer::from_pem_slice(&read(path)?).map(Zeroizing::new);
    let key = key.map_err(|error| content(path, expected, error))?;
    let key = any_supported_type(&key).map_err(|error| content(path, expected, error))?;
    let shown = CertifiedKey::new(chain, key);
    let mismatch =
        |_| OriginationFault::Mismatch { certificate: files.certificate.clone(), key: path.clone() };
    shown.keys_match().map_err(mismatch)?;
    Ok(shown)
}

fn certificates(
    path: &Path,
    expected: &'static str,
) -> Result<Vec<CertificateDer<'static>>, OriginationFault> {
    let text = read(path)?;
    let found = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if found.is_empty() => Err(content(path, expected, "found none")),
        Ok(found) => Ok(found),
        Err(error) => Err(content(path, expected, error)),
    }
}

fn content(
    path: &Path,
    expected: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> OriginationFault {
    OriginationFault::Content { path: path.into(), expected, source: source.into() }
}
