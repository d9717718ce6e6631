//! Agents that get their pods' certificates from `culvert ca`, by way of an API server.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use culvert::{
    ca::{Ca, CaOptions},
    identity::{CaClient, Clock, Identities, Workload, server_name},
};
use culvert_testbed::apiserver::{ApiServer, TokenSpec};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const SYSTEM: &str = "culvert-system";
const HOUR: Duration = Duration::from_hours(1);
/// By when everything has happened that is going to.
const DEADLINE: Duration = Duration::from_secs(30);

/// An API server with an authority, and the agents of two nodes.
struct Cluster {
    api: ApiServer,
    clock: Arc<TestClock>,
    files: TempDir,
    ca: JoinHandle<()>,
    address: SocketAddr,
}

struct Agent {
    identities: Identities,
    rotation: JoinHandle<()>,
}

#[derive(Debug)]
struct TestClock(Mutex<SystemTime>);

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

impl Cluster {
    /// `sleep` runs on node-1 and `httpbin` on node-2.
    async fn start() -> Self {
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
        let cluster = Self { api, clock, files, ca, address };
        cluster.mount_roots();
        cluster
    }

    fn agent(&self, number: u32) -> Agent {
        let token = TokenSpec::new(SYSTEM, "culvert-agent").audience("culvert-ca");
        let token = self.api.issue_token(&token.bound_to(&format!("agent-{number}"))).unwrap();
        let file = self.files.path().join(format!("token-{number}"));
        fs::write(&file, token).unwrap();
        let roots = self.files.path().join("root-cert.pem");
        let client = CaClient::new(self.address.to_string().parse().unwrap(), roots, file, "cluster.local")
            .with_clock(self.clock.clone());
        let identities = Identities::with_clock(client, 2 * HOUR, self.clock.clone(), || 0.0);
        Agent { rotation: tokio::spawn(identities.clone().rotate()), identities }
    }

    /// What the kubelet does a while after the roots were published.
    fn mount_roots(&self) -> usize {
        let published = self.api.get("configmaps", SYSTEM, "culvert-ca-root-cert").unwrap();
        let roots = published["data"]["root-cert.pem"].as_str().unwrap().to_owned();
        let draft = self.files.path().join("draft");
        fs::write(&draft, &roots).unwrap();
        fs::rename(draft, self.files.path().join("root-cert.pem")).unwrap();
        roots.matches("BEGIN CERTIFICATE").count()
    }

    async fn end_authority(&mut self) {
        self.ca.abort();
        let _ = (&mut self.ca).await;
    }

    async fn restart_authority(&mut self) {
        self.ca = authority(&self.api, self.clock.clone(), self.address, &self.files).await.0;
    }

    fn advance(&self, by: Duration) {
        *self.clock.0.lock().unwrap() += by;
    }
}

impl Agent {
    fn workload(&self, service_account: &str) -> Arc<Workload> {
        let id = format!("spiffe://cluster.local/ns/full/sa/{service_account}");
        self.identities.workload(&id.parse().unwrap())
    }

    /// A new workload is an occasion to look at the clock, which was set.
    fn wake(&self) {
        drop(self.workload("another"));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.ca.abort();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.rotation.abort();
    }
}

/// Roots of ten hours, certificates of two, an overlap of one.
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
    let token = api.issue_token(&TokenSpec::new(SYSTEM, "culvert-ca")).unwrap();
    let file = api.kubeconfig(&files.path().join("ca"), api.address(), &token).unwrap();
    let kubeconfig = Kubeconfig::read_from(file).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let ca = Ca::start(options, Client::try_from(config).unwrap()).await.unwrap();
    let address = ca.address();
    (tokio::spawn(ca.run(std::future::pending())), address)
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

async fn ready(workload: &Workload) {
    timeout(DEADLINE, workload.ready()).await.expect("a certificate");
}

async fn eventually<R>(what: &str, mut attempt: impl FnMut() -> Option<R>) -> R {
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
async fn exchange(client: &Workload, server: &Workload) -> std::io::Result<()> {
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

#[tokio::test]
async fn pods_of_two_nodes_know_each_other() {
    let cluster = Cluster::start().await;
    let (one, two) = (cluster.agent(1), cluster.agent(2));
    let (sleep, httpbin) = (one.workload("sleep"), two.workload("httpbin"));
    ready(&sleep).await;
    ready(&httpbin).await;
    exchange(&sleep, &httpbin).await.unwrap();
    exchange(&httpbin, &sleep).await.unwrap();
}

#[tokio::test]
async fn a_pod_gets_its_certificate_when_it_comes_to_the_node_and_not_before() {
    let cluster = Cluster::start().await;
    let agent = cluster.agent(1);
    let late = agent.workload("httpbin");
    let error = eventually("a refusal", || agent.identities.report().remove(0).error).await;
    assert!(error.contains("refused a certificate for spiffe://cluster.local/ns/full/sa/httpbin"), "{error}");
    assert!(late.certificate().is_none());
    run(&cluster.api, "full", "httpbin-2", "httpbin", "node-1");
    cluster.advance(HOUR / 10);
    agent.wake();
    ready(&late).await;
    assert_eq!(agent.identities.report()[0].error, None);
}

#[tokio::test]
async fn certificates_serve_while_the_authority_is_away() {
    let mut cluster = Cluster::start().await;
    let agent = cluster.agent(1);
    let sleep = agent.workload("sleep");
    ready(&sleep).await;
    cluster.end_authority().await;
    run(&cluster.api, "full", "new", "new", "node-1");
    let new = agent.workload("new");
    let error = eventually("an outage", || agent.identities.report().remove(0).error).await;
    assert!(error.starts_with("cannot reach the certificate authority at 127.0.0.1:"), "{error}");
    assert!(new.valid_certificate().is_none());
    exchange(&sleep, &sleep).await.unwrap();
    cluster.restart_authority().await;
    cluster.advance(HOUR / 10);
    agent.wake();
    ready(&new).await;
    exchange(&sleep, &new).await.unwrap();
}

#[tokio::test]
async fn one_root_follows_the_other_under_the_pods() {
    let cluster = Cluster::start().await;
    let (one, two) = (cluster.agent(1), cluster.agent(2));
    let (sleep, httpbin) = (one.workload("sleep"), two.workload("httpbin"));
    ready(&sleep).await;
    ready(&httpbin).await;
    let first = one.identities.roots();
    let renewed = async |roots: usize| {
        for agent in [&one, &two] {
            eventually("the roots", || (agent.identities.roots().len() == roots).then_some(())).await;
        }
        for (agent, workload) in [(&one, &sleep), (&two, &httpbin)] {
            let changes = workload.certificates();
            eventually("a new certificate", || {
                cluster.advance(Duration::from_secs(1));
                agent.wake();
                changes.has_changed().unwrap().then_some(())
            })
            .await;
        }
        exchange(&sleep, &httpbin).await.unwrap();
    };

    cluster.advance(6 * HOUR);
    eventually("the next root is announced", || (cluster.mount_roots() == 2).then_some(())).await;
    renewed(2).await;
    cluster.advance(HOUR);
    renewed(2).await;
    cluster.advance(3 * HOUR);
    eventually("the old root goes", || (cluster.mount_roots() == 1).then_some(())).await;
    renewed(1).await;
    assert_ne!(one.identities.roots(), first);
}
