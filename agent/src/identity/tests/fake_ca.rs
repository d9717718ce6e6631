//! A certificate authority over a real socket that does what the test says.

use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::future::{BoxFuture, pending};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tonic::{Status, codegen::Service, server::Grpc};
use tonic_prost::ProstCodec;

use super::mesh::TRUST_DOMAIN;
use crate::identity::{
    CaClient,
    istio_ca::{IstioCertificateRequest, IstioCertificateResponse},
};

/// Nothing here takes as long.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A key that signs certificates, with its own.
pub(super) struct Signer {
    pub(super) ca: Issuer<'static, KeyPair>,
    pub(super) pem: String,
}

impl Signer {
    pub(super) fn root(name: &str) -> Self {
        Self::root_with(name, KeyPair::generate().unwrap())
    }

    /// A root with a key of any kind.
    pub(super) fn root_with(name: &str, key: KeyPair) -> Self {
        let params = authority(name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { ca: Issuer::new(params, key), pem }
    }

    pub(super) fn below(root: &Self, name: &str) -> Self {
        let (params, key) = (authority(name), KeyPair::generate().unwrap());
        let pem = params.signed_by(&key, &root.ca).unwrap().pem();
        Self { ca: Issuer::new(params, key), pem }
    }

    /// What a right authority answers, but for what `change` makes of it.
    pub(super) fn sign_with(&self, csr: &str, change: impl FnOnce(&mut CertificateParams)) -> String {
        let mut csr = CertificateSigningRequestParams::from_pem(csr).unwrap();
        let now = OffsetDateTime::now_utc();
        csr.params.is_ca = IsCa::ExplicitNoCa;
        csr.params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        csr.params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        csr.params.not_before = now - Duration::from_mins(2);
        csr.params.not_after = now + Duration::from_hours(24);
        change(&mut csr.params);
        csr.signed_by(&self.ca).unwrap().pem()
    }

    pub(super) fn sign(&self, csr: &str) -> String {
        self.sign_with(csr, |_| {})
    }

    /// For a server of gRPC that is known by these names.
    fn server(&self, names: &[SanType]) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        let leaf: CertificateDer<'static> = params.signed_by(&key, &self.ca).unwrap().into();
        let mut config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf], PrivatePkcs8KeyDer::from(key.serialized_der().to_vec()).into())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::OrganizationName, TRUST_DOMAIN);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// What came with one request.
pub(super) struct Asked {
    pub(super) message: IstioCertificateRequest,
    pub(super) authorization: String,
}

/// No answer at all is one, too.
pub(super) type Reply = Option<Result<Vec<String>, Status>>;
type Behaviour = Arc<dyn Fn(&IstioCertificateRequest) -> Reply + Send + Sync>;

/// The authority, and the files by which a client knows it.
pub(super) struct FakeCa {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    dir: TempDir,
    config: Arc<ServerConfig>,
    server: Arc<Server>,
    asked: tokio::sync::Mutex<mpsc::UnboundedReceiver<Asked>>,
    tasks: JoinSet<()>,
}

struct Server {
    behaviour: Mutex<Behaviour>,
    asked: mpsc::UnboundedSender<Asked>,
}

impl FakeCa {
    /// Shows a certificate of `root` for its address; clients trust `root`.
    pub(super) async fn start(
        root: &Signer,
        behaviour: impl Fn(&IstioCertificateRequest) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::named(root, &[SanType::IpAddress([127, 0, 0, 1].into())], behaviour).await
    }

    /// The same, for other names.
    pub(super) async fn named(
        root: &Signer,
        names: &[SanType],
        behaviour: impl Fn(&IstioCertificateRequest) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (sender, asked) = mpsc::unbounded_channel();
        let server = Arc::new(Server { behaviour: Mutex::new(Arc::new(behaviour)), asked: sender });
        let mut ca = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            dir: tempfile::tempdir().unwrap(),
            config: root.server(names),
            server,
            asked: asked.into(),
            tasks: JoinSet::new(),
        };
        ca.trust(&root.pem);
        ca.set_token("first");
        ca.listen(listener);
        ca
    }

    /// Ends all connections, and accepts no more.
    pub(super) async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }

    pub(super) async fn resume(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.listen(listener);
    }

    fn listen(&mut self, listener: TcpListener) {
        let (config, server) = (self.config.clone(), self.server.clone());
        self.tasks.spawn(accept(listener, config, server, self.connections.clone()));
    }

    pub(super) fn client(&self) -> CaClient {
        self.client_at(&self.address.to_string(), PATIENCE)
    }

    pub(super) fn client_at(&self, address: &str, patience: Duration) -> CaClient {
        let (roots, token) = (self.roots(), self.token());
        CaClient::new(address.parse().unwrap(), roots, token, TRUST_DOMAIN).with_patience(patience)
    }

    pub(super) fn behave(
        &self,
        behaviour: impl Fn(&IstioCertificateRequest) -> Reply + Send + Sync + 'static,
    ) {
        *self.server.behaviour.lock().unwrap() = Arc::new(behaviour);
    }

    /// What clients trust from now on.
    pub(super) fn trust(&self, pem: &str) {
        fs::write(self.roots(), pem).unwrap();
    }

    pub(super) fn set_token(&self, token: &str) {
        fs::write(self.token(), format!("{token}\n")).unwrap();
    }

    pub(super) fn token(&self) -> PathBuf {
        self.dir.path().join("token")
    }

    fn roots(&self) -> PathBuf {
        self.dir.path().join("root.pem")
    }

    pub(super) async fn asked(&self) -> Asked {
        let asked = async { self.asked.lock().await.recv().await.unwrap() };
        tokio::time::timeout(PATIENCE, asked).await.unwrap()
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn accept(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    server: Arc<Server>,
    connections: Arc<AtomicUsize>,
) {
    let mut serving = JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        connections.fetch_add(1, Ordering::Relaxed);
        serving.spawn(serve(tcp, config.clone(), server.clone()));
    }
}

async fn serve(tcp: TcpStream, config: Arc<ServerConfig>, server: Arc<Server>) {
    // A client that does not trust us leaves.
    let Ok(tls) = TlsAcceptor::from(config).accept(tcp).await else { return };
    let answer = service_fn(move |request: http::Request<Incoming>| {
        let server = server.clone();
        async move {
            let mut grpc =
                Grpc::new(ProstCodec::<IstioCertificateResponse, IstioCertificateRequest>::default());
            Ok::<_, Infallible>(grpc.unary(Answering(server), request).await)
        }
    });
    let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(tls), answer).await;
}

struct Answering(Arc<Server>);

impl Service<tonic::Request<IstioCertificateRequest>> for Answering {
    type Response = tonic::Response<IstioCertificateResponse>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<IstioCertificateRequest>) -> Self::Future {
        let authorization = request.metadata().get("authorization").unwrap().to_str().unwrap().to_owned();
        let message = request.into_inner();
        let behaviour = self.0.behaviour.lock().unwrap().clone();
        let reply = behaviour(&message);
        // A test that has seen enough does not wait for the rest.
        let _ = self.0.asked.send(Asked { message, authorization });
        Box::pin(async move {
            match reply {
                None => pending().await,
                Some(reply) => {
                    reply.map(|cert_chain| tonic::Response::new(IstioCertificateResponse { cert_chain }))
                }
            }
        })
    }
}
