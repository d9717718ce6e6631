//! Peers made by hand: the two ends of HBONE, with any certificate, so that what agents accept and refuse is
//! not told by agents alone.

use std::{
    io::{self, Read as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use bytes::Bytes;
use culvert_testbed::{Credentials, DEADLINE, Family, Place, Pod};
use h2::{RecvStream, SendStream, client::SendRequest};
use http::{Method, Request, Response};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, ServerConnection, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::TLS13,
};
use tokio::{net::TcpStream as TokioStream, runtime::Runtime, task::JoinHandle, time::timeout};
use tokio_rustls::TlsConnector;

pub(crate) const HBONE_PORT: u16 = 15008;

/// For a client that believes any server.
fn client_config(shown: &Credentials) -> ClientConfig {
    let config = believing_client();
    config.with_client_auth_cert(shown.chain(), shown.key()).expect("they belong together")
}

/// For a server that asks its clients for nothing.
fn server_config(shown: &Credentials) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
    let builder = builder.expect("TLS 1.3 is there").with_no_client_auth();
    let mut config = builder.with_single_cert(shown.chain(), shown.key()).expect("they belong together");
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

type ConfigWantsClientCert = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn believing_client() -> ConfigWantsClientCert {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
    builder.expect("TLS 1.3 is there").dangerous().with_custom_certificate_verifier(Arc::new(Believer))
}

fn alpn(mut config: ClientConfig, protocol: &[u8]) -> ClientConfig {
    config.alpn_protocols = vec![protocol.to_vec()];
    config
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Takes any certificate for whatever it says it is.
#[derive(Debug)]
struct Believer;

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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

fn server_name() -> ServerName<'static> {
    "peer.invalid".try_into().expect("a name")
}

/// How a handshake of ours with a pod's agent ends: what the agent says to our certificate, or to none, comes with the
/// first read. Returns our address.
pub(crate) fn refusal(
    from: &Place,
    server: &Pod,
    family: Family,
    shown: Option<&Credentials>,
) -> (SocketAddr, io::Error) {
    let anonymous = || believing_client().with_no_client_auth();
    let config = alpn(shown.map_or_else(anonymous, client_config), b"h2");
    let tcp = from.connect(server.address(family, HBONE_PORT)).expect("the agent listens");
    let source = tcp.local_addr().expect("a connected socket has one");
    let tls = ClientConnection::new(Arc::new(config), server_name()).expect("the configuration is good");
    let mut stream = rustls::StreamOwned::new(tls, tcp);
    match stream.read(&mut [0; 64]) {
        Err(error) => (source, error),
        Ok(count) => panic!("the agent accepted the certificate and sent {count} bytes"),
    }
}

/// TLS as a sidecar's client speaks it, over a connection to an application's port.
pub(crate) type Sidecar = rustls::StreamOwned<ClientConnection, TcpStream>;

/// Begins as a sidecar does: the handshake is made by the first write or read.
pub(crate) fn sidecar(tcp: TcpStream, shown: Option<&Credentials>) -> Sidecar {
    tls_client(tcp, shown, b"istio")
}

/// TLS of an application's own, which offers a protocol that is not the mesh's.
pub(crate) fn tls_client(tcp: TcpStream, shown: Option<&Credentials>, protocol: &[u8]) -> Sidecar {
    let anonymous = || believing_client().with_no_client_auth();
    let config = alpn(shown.map_or_else(anonymous, client_config), protocol);
    let tls = ClientConnection::new(Arc::new(config), server_name()).expect("the configuration is good");
    rustls::StreamOwned::new(tls, tcp)
}

/// Has one client shake hands with us, who show `credentials`, and returns what the client says to them.
pub(crate) fn accept_tls(tcp: &mut TcpStream, credentials: &Credentials) -> io::Result<()> {
    let mut tls =
        ServerConnection::new(Arc::new(server_config(credentials))).expect("the configuration is good");
    while tls.is_handshaking() {
        tls.complete_io(tcp)?;
    }
    Ok(())
}

/// The alert behind an error of a TLS stream.
pub(crate) fn alert(error: &io::Error) -> rustls::AlertDescription {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        _ => panic!("expected an alert, found {error:?}"),
    }
}

/// A client of an agent's HBONE port.
pub(crate) struct Hbone {
    runtime: Runtime,
    requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
    source: SocketAddr,
    certificate: CertificateDer<'static>,
}

/// A stream that was granted, or the answer why not.
pub(crate) struct Answer {
    response: Response<RecvStream>,
    send: SendStream<Bytes>,
}

impl Hbone {
    /// Connects from a place to the agent of a pod.
    pub(crate) fn open(
        from: &Place,
        server: &Pod,
        family: Family,
        credentials: &Credentials,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let tcp = from.connect(server.address(family, HBONE_PORT))?;
        tcp.set_nonblocking(true)?;
        let source = tcp.local_addr()?;
        let connector = TlsConnector::from(Arc::new(alpn(client_config(credentials), b"h2")));
        let (requests, connection, certificate) = runtime.block_on(async {
            let tls = connector.connect(server_name(), TokioStream::from_std(tcp)?).await?;
            let certificate = tls.get_ref().1.peer_certificates().expect("servers show one")[0].clone();
            let (requests, connection) = h2::client::handshake(tls).await.map_err(io::Error::other)?;
            io::Result::Ok((requests, tokio::spawn(connection), certificate))
        })?;
        Ok(Self { runtime, requests, connection, source, certificate })
    }

    /// Our address.
    pub(crate) fn source(&self) -> SocketAddr {
        self.source
    }

    /// What the agent has shown.
    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Sends a request and waits for the answer.
    pub(crate) fn request(&mut self, request: Request<()>) -> Result<Answer, h2::Error> {
        let requests = self.requests.clone();
        wait(&self.runtime, async {
            let (response, send) = requests.ready().await?.send_request(request, false)?;
            Ok(Answer { response: response.await?, send })
        })
    }

    /// Sends a word on a stream and waits for it to come back.
    pub(crate) fn exchange(&self, answer: &mut Answer, word: &'static [u8]) -> Result<(), h2::Error> {
        answer.send.send_data(Bytes::from_static(word), false)?;
        let back = wait(&self.runtime, answer.response.body_mut().data()).expect("the stream is open")?;
        assert_eq!(back, word);
        Ok(())
    }

    /// Ends our side of a stream and waits for the end of the other.
    pub(crate) fn finish(&self, mut answer: Answer) -> Result<(), h2::Error> {
        answer.send.send_data(Bytes::new(), true)?;
        while let Some(found) = wait(&self.runtime, answer.response.body_mut().data()) {
            assert_eq!(found?, "", "expected the end of the stream");
        }
        Ok(())
    }

    /// Waits for the agent to close the connection.
    pub(crate) fn closed(self) -> Result<(), h2::Error> {
        drop(self.requests);
        wait(&self.runtime, self.connection).expect("the task is not cancelled")
    }
}

impl Answer {
    pub(crate) fn status(&self) -> http::StatusCode {
        self.response.status()
    }
}

fn wait<R>(runtime: &Runtime, future: impl Future<Output = R>) -> R {
    runtime.block_on(async { timeout(DEADLINE, future).await }).expect("the agent answers in time")
}

/// A CONNECT to an address.
pub(crate) fn connect_to(target: SocketAddr) -> Request<()> {
    request(Method::CONNECT, &target.to_string())
}

pub(crate) fn request(method: Method, target: &str) -> Request<()> {
    Request::builder().method(method).uri(target).body(()).expect("a request")
}
