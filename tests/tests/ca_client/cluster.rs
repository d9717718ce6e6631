//! An API server with an authority, and the agents of two nodes.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use culvert::{
    ca::{Ca, CaOptions},
    identity::{CaClient, Certificate, Clock, Identities, Workload, server_name},
};
use culvert_testbed::apiserver::{ApiServer, TokenSpec};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

pub(crate) const HOUR: Duration = Duration::from_hours(1);
const SYSTEM: &str = "culvert-system";
/// By when everything has happened that is going to.
const DEADLINE: Duration = Duration::from_secs(30);

/// `sleep` runs on node-1 and `httpbin` on node-2. Roots live for ten hours and certificates for two, and a new root is
/// published for one hour before it signs.
pub(crate) struct Cluster {
    pub(crate) api: ApiServer,
    clock: Arc<TestClock>,
    files: TempDir,
    ca: JoinHandle<()>,
    address: SocketAddr,
}

/// The part of an agent that gets certificates.
pub(crate) struct Agent {
    pub(crate) identities: Identities,
    clock: Arc<TestClock>,
    rotation: JoinHandle<()>,
}

#[derive(Debug)]
struct TestClock(Mutex<SystemTime>);

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

impl TestClock {
    fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let api = ApiServer::start().unwrap();
        for namespace in [SYSTEM, "full"] {
            let metadata = json!({ "name": namespace });
            api.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata })).unwrap();
        }
        run(&api, SYSTEM, "agent-1", "culvert-agent", "node-1");
        run(&api, SYSTEM, "agent-2", "culvert-agent", "node-2");
        run(&api, "full", "sleep", "sleep", "node-1");
        run(&api, "full", "httpbin", "httpbin", "node-2");
        let clock = Arc::new(TestClock(Mutex::new(SystemTime::now())));
        let files = tempfile::tempdir().unwrap();
        let (ca, address) = authority(&api, clock.clone(), ([127, 0, 0, 1], 0).into(), &files).await;
        Self { api, clock, files, ca, address }
    }

    /// The agent of `node-1` or `node-2`, with the roots that are published now and a token for an hour.
    pub(crate) fn agent(&self, number: u32) -> Agent {
        self.mount_roots(number);
        self.mount_token(number);
        let (roots, token) = (self.roots_file(number), self.token_file(number));
        let client = CaClient::new(self.address.to_string().parse().unwrap(), roots, token, "cluster.local")
            .with_clock(self.clock.clone());
        let identities = Identities::with_clock(client, 2 * HOUR, self.clock.clone(), || 0.0);
        let rotation = tokio::spawn(identities.clone().rotate());
        Agent { identities, clock: self.clock.clone(), rotation }
    }

    /// What the kubelet does a while after roots were published.
    pub(crate) fn mount_roots(&self, agent: u32) {
        self.mount(&self.roots_file(agent), &self.published().join(""));
    }

    /// What the kubelet does before a token ends.
    pub(crate) fn mount_token(&self, agent: u32) {
        let token = TokenSpec::new(SYSTEM, "culvert-agent").audience("culvert-ca");
        let token = self.api.issue_token(&token.bound_to(&format!("agent-{agent}"))).unwrap();
        self.mount(&self.token_file(agent), &token);
    }

    /// The roots that are published, the oldest first.
    pub(crate) fn published(&self) -> Vec<String> {
        let published = self.api.get("configmaps", SYSTEM, "culvert-ca-root-cert").unwrap();
        let roots = published["data"]["root-cert.pem"].as_str().unwrap();
        roots.split_inclusive("-----END CERTIFICATE-----\n").map(str::to_owned).collect()
    }

    pub(crate) async fn end_authority(&mut self) {
        self.ca.abort();
        let _ = (&mut self.ca).await;
    }

    pub(crate) async fn restart_authority(&mut self) {
        self.ca = authority(&self.api, self.clock.clone(), self.address, &self.files).await.0;
    }

    pub(crate) fn run(&self, pod: &str, account: &str, node: &str) {
        run(&self.api, "full", pod, account, node);
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    fn mount(&self, file: &Path, content: &str) {
        let draft = self.files.path().join("draft");
        fs::write(&draft, content).unwrap();
        fs::rename(draft, file).unwrap();
    }

    fn roots_file(&self, agent: u32) -> PathBuf {
        self.files.path().join(format!("roots-{agent}"))
    }

    fn token_file(&self, agent: u32) -> PathBuf {
        self.files.path().join(format!("token-{agent}"))
    }
}

impl Agent {
    pub(crate) fn workload(&self, service_account: &str) -> Arc<Workload> {
        let id = format!("spiffe://cluster.local/ns/full/sa/{service_account}");
        self.identities.workload(&id.parse().unwrap())
    }

    /// A new workload is an occasion to look at the clock, which was set.
    pub(crate) fn wake(&self) {
        drop(self.workload("another"));
    }

    /// Why its first workload gets no certificate.
    pub(crate) async fn error(&self) -> String {
        eventually("a refusal", || self.identities.report().remove(0).error).await
    }

    /// Waits until it trusts so many roots.
    pub(crate) async fn trusts(&self, roots: usize) {
        eventually("the roots", || (self.identities.roots().len() == roots).then_some(())).await;
    }

    /// Waits until a workload has a certificate newer than its present one; every look is a second later.
    pub(crate) async fn renewed(&self, workload: &Workload) {
        let changes = workload.certificates();
        eventually("a new certificate", || {
            self.clock.advance(Duration::from_secs(1));
            self.wake();
            changes.has_changed().unwrap().then_some(())
        })
        .await;
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.rotation.abort();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.ca.abort();
    }
}

async fn authority(
    api: &ApiServer,
    clock: Arc<TestClock>,
    listen: SocketAddr,
    files: &TempDir,
) -> (JoinHandle<()>, SocketAddr) {
    let options = CaOptions {
        listen,
        names: vec!["127.0.0.1".to_owned()],
        root_lifetime: 10 * HOUR,
        max_lifetime: 2 * HOUR,
        default_lifetime: 2 * HOUR,
        overlap: HOUR,
        poll: Duration::from_millis(50),
        clock,
        ..CaOptions::in_namespace(SYSTEM)
    };
    let token = lasting_token(api);
    let file = api.kubeconfig(&files.path().join("ca"), api.address(), &token).unwrap();
    let kubeconfig = Kubeconfig::read_from(file).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let ca = Ca::start(options, Client::try_from(config).unwrap()).await.unwrap();
    let address = ca.address();
    (tokio::spawn(ca.run(std::future::pending())), address)
}

/// The authority's own, which holds however wrong the API server's clock is set.
fn lasting_token(api: &ApiServer) -> String {
    api.set_clock_ahead(-86_400);
    let token = api.issue_token(&TokenSpec::new(SYSTEM, "culvert-ca").lifetime(1000 * HOUR)).unwrap();
    api.set_clock_ahead(0);
    token
}

fn run(api: &ApiServer, namespace: &str, pod: &str, account: &str, node: &str) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "namespace": namespace, "name": pod },
        "spec": {
            "serviceAccountName": account, "nodeName": node,
            "containers": [{ "name": "main", "image": "none" }],
        },
        "status": { "phase": "Running" },
    });
    api.apply(&pod).unwrap();
}

pub(crate) async fn ready(workload: &Workload) {
    timeout(DEADLINE, workload.ready()).await.expect("a certificate");
}

pub(crate) async fn eventually<R>(what: &str, mut attempt: impl FnMut() -> Option<R>) -> R {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// One word from one workload to the other and back, over mutual TLS.
pub(crate) async fn exchange(client: &Workload, server: &Workload) -> std::io::Result<()> {
    let (near, far) = duplex(64 * 1024);
    let asking = async {
        let mut stream =
            TlsConnector::from(client.hbone_connector(server.id())).connect(server_name(), near).await?;
        stream.write_all(b"word").await?;
        stream.read_exact(&mut [0; 4]).await
    };
    let answering = async {
        let mut stream = TlsAcceptor::from(server.hbone_acceptor()).accept(far).await?;
        stream.read_exact(&mut [0; 4]).await?;
        stream.write_all(b"word").await?;
        stream.flush().await
    };
    let (asked, answered) = tokio::join!(asking, answering);
    asked.map(drop).and(answered)
}

/// Whether `root` (PEM) signed the workload's certificate.
pub(crate) fn is_signed_by(workload: &Workload, root: &str) -> bool {
    let held: Arc<Certificate> = workload.valid_certificate().expect("a certificate that holds");
    let root = CertificateDer::from_pem_slice(root.as_bytes()).unwrap();
    let (_, root) = X509Certificate::from_der(&root).unwrap();
    let (_, leaf) = X509Certificate::from_der(&held.chain()[0]).unwrap();
    leaf.verify_signature(Some(root.public_key())).is_ok()
}
