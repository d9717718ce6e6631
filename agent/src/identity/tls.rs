//! rustls configurations: TLS 1.3 only, both sides show a certificate, nothing is resumed.

use std::{
    net::Ipv4Addr,
    sync::{Arc, LazyLock},
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::{ResolvesClientCert, Resumption, danger::ServerCertVerifier},
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, aws_lc_rs::cipher_suite, aws_lc_rs::kx_group,
    },
    pki_types::ServerName,
    server::{NoClientAuth, NoServerSessionStorage, ResolvesServerCert, danger::ClientCertVerifier},
    version::TLS13,
};

use super::{Clock, Roots, clock::TlsClock};

/// The application protocol of HBONE.
pub(super) const ALPN_HBONE: &[u8] = b"h2";
/// The application protocol of Istio sidecars, for streams whose protocol they do not know.
pub(crate) const ALPN_SIDECAR: &[u8] = b"istio";

/// The name that rustls demands for a server. Servers are known by their SPIFFE id, and an address is never sent in
/// the clear as SNI.
pub fn server_name() -> ServerName<'static> {
    ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into())
}

/// AES-128 before AES-256: it is what every TLS 1.3 peer must speak (RFC 8446, section 9.1), and takes 10 rounds
/// instead of 14. The other groups are for peers without the post-quantum one.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1],
        ..aws_lc_rs::default_provider()
    })
});

/// The signature algorithms that certificates and handshakes may use.
pub(super) fn algorithms() -> WebPkiSupportedAlgorithms {
    PROVIDER.signature_verification_algorithms
}

pub(super) fn server_config(
    clock: Arc<dyn Clock>,
    verifier: Arc<dyn ClientCertVerifier>,
    certificate: Arc<dyn ResolvesServerCert>,
    alpn: &[u8],
) -> ServerConfig {
    let mut config = ServerConfig::builder_with_details(PROVIDER.clone(), Arc::new(TlsClock(clock)))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has TLS 1.3 suites and groups")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![alpn.to_vec()];
    // A resumed session would not be verified anew.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.enable_secret_extraction = is_sealed_elsewhere(alpn);
    config
}

/// For a certificate authority, whose callers prove themselves by a token instead of a certificate.
pub(crate) fn authority_config(
    clock: Arc<dyn Clock>,
    certificate: Arc<dyn ResolvesServerCert>,
) -> ServerConfig {
    server_config(clock, Arc::new(NoClientAuth), certificate, ALPN_HBONE)
}

pub(super) fn client_config(
    clock: Arc<dyn Clock>,
    verifier: Arc<dyn ServerCertVerifier>,
    certificate: Arc<dyn ResolvesClientCert>,
    alpn: &[u8],
) -> ClientConfig {
    let mut config = ClientConfig::builder_with_details(PROVIDER.clone(), Arc::new(TlsClock(clock)))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has TLS 1.3 suites and groups")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(certificate);
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config.enable_secret_extraction = is_sealed_elsewhere(alpn);
    config
}

/// A tunnel's records are sealed by the tunnel itself, after the handshake.
fn is_sealed_elsewhere(alpn: &[u8]) -> bool {
    alpn == ALPN_HBONE
}

/// For the client of a certificate authority, which proves itself by a token instead of a certificate. The authority
/// must show a certificate for the name that it is asked by.
pub(super) fn authority_client_config(clock: Arc<dyn Clock>, roots: &Roots) -> ClientConfig {
    let roots = RootCertStore { roots: roots.anchors.clone() };
    let mut config = ClientConfig::builder_with_details(PROVIDER.clone(), Arc::new(TlsClock(clock)))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has TLS 1.3 suites and groups")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_HBONE.to_vec()];
    config
}
