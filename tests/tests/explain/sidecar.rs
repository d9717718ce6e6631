//! A sidecar's two ends: TLS on the application's own port, with certificates of the agents' authority.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, SystemTime},
};

use culvert_testbed::Machine;
use rcgen::{CertificateParams, DistinguishedName, Issuer, KeyPair, SanType};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, ServerConfig, ServerConnection,
    SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
};
use serde::Deserialize;
use x509_parser::{extensions::GeneralName, prelude::FromDer};

/// What a sidecar of one service account shows, and whom it lets in.
#[derive(Clone)]
pub(crate) struct Sidecar {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

/// Of `PeerAuthentication`: what its server accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Mode {
    Strict,
    Permissive,
    Disable,
}

impl Sidecar {
    pub(crate) fn new(machine: &Machine, identity: &str) -> Self {
        let read = |name| fs::read_to_string(machine.authority().join(name)).unwrap();
        let (root, key) = (read("ca.pem"), KeyPair::generate().unwrap());
        let authority = Issuer::from_ca_cert_pem(&root, KeyPair::from_pem(&read("ca.key")).unwrap()).unwrap();
        let chain = vec![certificate(identity).signed_by(&key, &authority).unwrap().into()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let root = CertificateDer::from_pem_slice(root.as_bytes()).unwrap();
        Self { client: client(chain.clone(), key.clone_key()), server: server(chain, key, root) }
    }

    /// Asks over mTLS, and returns the answer.
    pub(crate) fn ask(&self, tcp: TcpStream) -> io::Result<String> {
        let name = ServerName::try_from("peer.invalid").unwrap();
        let tls = ClientConnection::new(Arc::clone(&self.client), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(tls, tcp);
        let answer = crate::stage::ask(&mut stream)?;
        stream.conn.send_close_notify();
        stream.flush()?;
        Ok(answer)
    }

    /// Answers who asks: over TLS who begins so, with what is said to the identity that was shown, and in plaintext who
    /// does not, as the mode has it.
    pub(crate) fn answer(
        &self,
        mut tcp: TcpStream,
        mode: Mode,
        say: impl FnOnce(Option<&str>) -> String,
    ) -> io::Result<()> {
        let mut first = [0];
        tcp.peek(&mut first)?;
        match (first == [HANDSHAKE], mode) {
            (true, Mode::Strict | Mode::Permissive) => {}
            (false, Mode::Strict) => return Ok(()),
            (_, Mode::Disable) | (false, Mode::Permissive) => {
                tcp.read_exact(&mut first)?;
                return tcp.write_all(say(None).as_bytes());
            }
        }
        let tls = ServerConnection::new(Arc::clone(&self.server)).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(tls, tcp);
        stream.read_exact(&mut first)?;
        let identity = identity(&stream.conn.peer_certificates().unwrap()[0]);
        stream.write_all(say(Some(&identity)).as_bytes())?;
        stream.conn.send_close_notify();
        stream.flush()
    }
}

/// The content type of a TLS record with which a client begins (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

fn certificate(identity: &str) -> CertificateParams {
    let (mut params, now) = (CertificateParams::default(), SystemTime::now());
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(identity.try_into().unwrap())];
    params.not_before = (now - Duration::from_mins(1)).into();
    params.not_after = (now + Duration::from_mins(10)).into();
    params
}

fn identity(certificate: &CertificateDer<'_>) -> String {
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(certificate).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let [GeneralName::URI(uri)] = names.value.general_names[..] else { panic!("{names:?}") };
    uri.to_owned()
}

fn client(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Arc<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let believer = Believer(provider.signature_verification_algorithms);
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(believer));
    let mut config = builder.with_client_auth_cert(chain, key).unwrap();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Arc::new(config)
}

fn server(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    root: CertificateDer<'static>,
) -> Arc<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_client_cert_verifier(clients.build().unwrap());
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Arc::new(config)
}

const ALPN: &[u8] = b"istio";

/// Takes any certificate for whatever it says it is: whom agents show is not what is tested here.
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
