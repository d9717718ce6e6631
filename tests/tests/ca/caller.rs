//! A caller that speaks the protocol by itself, byte for byte.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use bytes::Bytes;
use culvert::identity::{
    Clock,
    istio_ca::{
        CREATE_CERTIFICATE, IMPERSONATED_IDENTITY, IstioCertificateRequest, IstioCertificateResponse,
    },
};
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use prost::Message;
use prost_types::{Struct, Value, value::Kind};
use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    version::TLS13,
};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::Code;
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::cluster::{Cluster, NAME, TestClock};

/// The identity of a service account of the cluster.
pub(crate) fn id(namespace: &str, account: &str) -> String {
    format!("spiffe://cluster.local/ns/{namespace}/sa/{account}")
}

/// One connection to an authority.
pub(crate) struct Caller {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<()>,
}

/// What is asked.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) token: Option<String>,
    pub(crate) csr: String,
    pub(crate) impersonating: Option<String>,
    pub(crate) seconds: i64,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// When to come back, in milliseconds.
    pub(crate) pushback: Option<u64>,
    /// In PEM.
    pub(crate) chain: Vec<String>,
}

/// Connects as everybody does who has the published roots.
pub(crate) async fn tls(cluster: &Cluster, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for root in certificates(&cluster.roots()) {
        roots.add(root).unwrap();
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let clock: Arc<TestClock> = cluster.clock.clone();
    let mut config = ClientConfig::builder_with_details(provider, clock)
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(NAME).unwrap(), stream).await
}

impl Caller {
    pub(crate) async fn new(cluster: &Cluster, address: SocketAddr) -> Self {
        Self::try_new(cluster, address).await.unwrap()
    }

    pub(crate) async fn try_new(cluster: &Cluster, address: SocketAddr) -> anyhow::Result<Self> {
        let stream = tls(cluster, address).await?;
        let (requests, connection) = h2::client::handshake(stream).await?;
        let connection = tokio::spawn(async move {
            // How it ends is seen by the request.
            let _ = connection.await;
        });
        Ok(Self { requests, connection })
    }

    pub(crate) async fn ask(&self, ask: &Ask) -> Answer {
        self.send(ask.token.as_deref(), ask.message()).await
    }

    /// Sends a message of any kind.
    pub(crate) async fn send(&self, token: Option<&str>, message: Vec<u8>) -> Answer {
        self.call(CREATE_CERTIFICATE, token, message).await
    }

    /// Calls a method of any name.
    pub(crate) async fn call(&self, path: &str, token: Option<&str>, message: Vec<u8>) -> Answer {
        let mut request = Request::post(format!("https://{NAME}{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut requests = self.requests.clone().ready().await.unwrap();
        let (response, mut body) = requests.send_request(request.body(()).unwrap(), false).unwrap();
        // An answer may come before all is sent.
        let _ = body.send_data(framed(&message), true);
        let response = response.await.unwrap();
        let headers = response.headers().clone();
        let mut body = response.into_body();
        let mut received = Vec::new();
        while let Some(data) = body.data().await {
            received.extend_from_slice(&data.unwrap());
        }
        let trailers = body.trailers().await.unwrap();
        Answer::read(&trailers.unwrap_or(headers), &received)
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// One message as gRPC frames it: not compressed, its length, and itself.
fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat().into()
}

impl Ask {
    /// For an identity that the caller is not, as an agent asks.
    pub(crate) fn for_pod(token: &str, id: &str) -> Self {
        Self { impersonating: Some(id.to_owned()), ..Self::for_itself(token, id) }
    }

    /// For the caller's own identity.
    pub(crate) fn for_itself(token: &str, id: &str) -> Self {
        let csr = csr(&KeyPair::generate().unwrap(), vec![uri(id)]);
        Self { token: Some(token.to_owned()), csr, impersonating: None, seconds: 3600 }
    }

    pub(crate) fn message(&self) -> Vec<u8> {
        let metadata = self.impersonating.clone().map(|id| {
            let value = Value { kind: Some(Kind::StringValue(id)) };
            Struct { fields: [(IMPERSONATED_IDENTITY.to_owned(), value)].into() }
        });
        IstioCertificateRequest { csr: self.csr.clone(), validity_duration: self.seconds, metadata }
            .encode_to_vec()
    }
}

impl Answer {
    fn read(status: &HeaderMap, body: &[u8]) -> Self {
        let text = |name: &str| status.get(name).map(|value| value.to_str().unwrap().to_owned());
        let code: i32 = text("grpc-status").expect("a status").parse().unwrap();
        let message = body.get(5..).map(|message| IstioCertificateResponse::decode(message).unwrap());
        Self {
            code: code.into(),
            message: text("grpc-message").unwrap_or_default().replace("%20", " "),
            pushback: text("grpc-retry-pushback-ms").map(|millis| millis.parse().unwrap()),
            chain: message.unwrap_or_default().cert_chain,
        }
    }

    /// The chain's certificates, the leaf first. There must be an answer.
    pub(crate) fn certificates(&self) -> Vec<CertificateDer<'static>> {
        assert_eq!(self.code, Code::Ok, "{}", self.message);
        self.chain.iter().flat_map(|pem| certificates(pem)).collect()
    }

    pub(crate) fn refused(&self, code: Code, why: &str) {
        assert_eq!(self.code, code, "{}", self.message);
        assert!(self.message.contains(why), "expected {why:?} in {:?}", self.message);
        assert!(self.chain.is_empty());
    }

    /// Checks the leaf as a peer in the mesh does that trusts `roots`.
    pub(crate) fn verify(&self, roots: &str, now: SystemTime) -> Result<(), webpki::Error> {
        let roots = certificates(roots);
        let anchors: Vec<_> =
            roots.iter().map(|root| webpki::anchor_from_trusted_cert(root).unwrap()).collect();
        let leaf = &self.certificates()[0];
        let now = UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap());
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms.all;
        for usage in [KeyUsage::client_auth(), KeyUsage::server_auth()] {
            EndEntityCert::try_from(leaf)?.verify_for_usage(
                algorithms,
                &anchors,
                &[],
                now,
                usage,
                None,
                None,
            )?;
        }
        Ok(())
    }

    /// How long the leaf still holds.
    pub(crate) fn lifetime(&self, clock: &TestClock) -> std::time::Duration {
        let leaf = &self.certificates()[0];
        let (_, leaf) = X509Certificate::from_der(leaf).unwrap();
        SystemTime::from(leaf.validity().not_after.to_datetime()).duration_since(clock.now()).unwrap()
    }
}

pub(crate) fn csr(key: &KeyPair, names: Vec<SanType>) -> String {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params.serialize_request(key).unwrap().pem().unwrap()
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().unwrap()
}
