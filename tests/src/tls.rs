//! TLS by hand: what a played peer shows, and whom it lets in.

use std::{net::TcpStream, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};

use crate::{Credentials, Mesh};

/// TLS over a connection, at its client.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// Begins over a connection. The handshake is made by the first write or read.
pub fn client(tcp: TcpStream, config: ClientConfig) -> TlsStream {
    let tls = ClientConnection::new(Arc::new(config), server_name()).expect("the configuration is good");
    StreamOwned::new(tls, tcp)
}

/// Of a client that offers one protocol, shows these credentials or none, and takes any server for whom it says it is.
pub fn client_config(shown: Option<&Credentials>, protocol: &[u8]) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let believer = Believer(provider().signature_verification_algorithms);
    let builder = builder.expect("TLS is there").dangerous();
    let builder = builder.with_custom_certificate_verifier(Arc::new(believer));
    let mut config = match shown {
        Some(shown) => {
            builder.with_client_auth_cert(shown.chain(), shown.key()).expect("they belong together")
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    config
}

/// Of a server that speaks one protocol, and asks its clients for certificates of a mesh, or for nothing.
pub fn server_config(shown: &Credentials, protocol: &[u8], clients: Option<&Mesh>) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.expect("TLS is there");
    let builder = match clients {
        Some(mesh) => builder.with_client_cert_verifier(members(mesh)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(shown.chain(), shown.key()).expect("they belong together");
    config.alpn_protocols = vec![protocol.to_vec()];
    config
}

/// The name that a client asks for, where nobody looks at it.
pub fn server_name() -> ServerName<'static> {
    "peer.invalid".try_into().expect("a name")
}

fn members(mesh: &Mesh) -> Arc<dyn ClientCertVerifier> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(mesh.root().as_bytes()).expect("a certificate");
    roots.add(root).expect("a root");
    let members = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    members.build().expect("there is a root")
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

#[derive(Debug)]
struct Believer(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
