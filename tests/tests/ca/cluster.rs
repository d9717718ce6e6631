//! A cluster with two nodes, seen through its API server, and authorities that serve it.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use culvert::{
    ca::{Ca, CaError, CaOptions},
    identity::Clock,
};
use culvert_testbed::apiserver::{ApiServer, TokenSpec};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use rustls::{pki_types::UnixTime, time_provider::TimeProvider};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

pub(crate) const SYSTEM: &str = "culvert-system";
pub(crate) const AUDIENCE: &str = "culvert-ca";
pub(crate) const SECRET: &str = "culvert-ca";
pub(crate) const CONFIG_MAP: &str = "culvert-ca-root-cert";
/// The name that callers know the authority by.
pub(crate) const NAME: &str = "culvert-ca.culvert-system.svc";
/// By when everything has happened that is going to.
const DEADLINE: Duration = Duration::from_secs(20);

/// The least that an authority has to be granted.
const ROLES: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: culvert-ca }
rules:
- { apiGroups: [authentication.k8s.io], resources: [tokenreviews], verbs: [create] }
- { apiGroups: [''], resources: [pods], verbs: [get, list] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: culvert-ca }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: culvert-ca }
subjects: [{ kind: ServiceAccount, namespace: culvert-system, name: culvert-ca }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { namespace: culvert-system, name: culvert-ca }
rules:
- { apiGroups: [''], resources: [secrets, configmaps], verbs: [create] }
- { apiGroups: [''], resources: [secrets], resourceNames: [culvert-ca], verbs: [get, update] }
- { apiGroups: [''], resources: [configmaps], resourceNames: [culvert-ca-root-cert], verbs: [get, update] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { namespace: culvert-system, name: culvert-ca }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: culvert-ca }
subjects: [{ kind: ServiceAccount, namespace: culvert-system, name: culvert-ca }]
";

/// `sleep` runs on node-1 and `httpbin` on node-2, both in `full`; each node has its agent.
pub(crate) struct Cluster {
    pub(crate) api: ApiServer,
    pub(crate) clock: Arc<TestClock>,
    files: TempDir,
}

/// A clock that goes when it is told to.
#[derive(Debug)]
pub(crate) struct TestClock(Mutex<SystemTime>);

/// An authority that serves until this is dropped.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let api = ApiServer::start().unwrap();
        for namespace in [SYSTEM, "full"] {
            let metadata = json!({ "name": namespace });
            api.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata })).unwrap();
        }
        let clock = Arc::new(TestClock(Mutex::new(SystemTime::now())));
        let cluster = Self { api, clock, files: tempfile::tempdir().unwrap() };
        cluster.api.apply_yaml(ROLES).unwrap();
        cluster.api.enforce_rbac();
        cluster.run(SYSTEM, "agent-1", "culvert-agent", "node-1");
        cluster.run(SYSTEM, "agent-2", "culvert-agent", "node-2");
        cluster.run("full", "sleep", "sleep", "node-1");
        cluster.run("full", "httpbin", "httpbin", "node-2");
        cluster
    }

    /// Puts a running pod on a node.
    pub(crate) fn run(&self, namespace: &str, pod: &str, account: &str, node: &str) {
        self.api.apply(&pod_object(namespace, pod, account, node, "Running")).unwrap();
    }

    /// Brings a pod to an end.
    pub(crate) fn end(&self, namespace: &str, pod: &str, account: &str, node: &str, phase: &str) {
        self.api.apply(&pod_object(namespace, pod, account, node, phase)).unwrap();
    }

    /// The token of the agent on `node-1` or `node-2`, as the kubelet mounts it.
    pub(crate) fn agent(&self, number: u32) -> String {
        self.token(&agent_token().bound_to(&format!("agent-{number}")))
    }

    pub(crate) fn token(&self, spec: &TokenSpec) -> String {
        self.api.issue_token(spec).unwrap()
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// The roots that are published.
    pub(crate) fn roots(&self) -> String {
        let published = self.api.get("configmaps", SYSTEM, CONFIG_MAP).expect("roots are published");
        published["data"]["root-cert.pem"].as_str().expect("roots are text").to_owned()
    }

    /// How many roots are published.
    pub(crate) fn root_count(&self) -> usize {
        self.roots().matches("BEGIN CERTIFICATE").count()
    }

    /// What the Secret holds.
    pub(crate) fn secret(&self) -> Value {
        self.api.get("secrets", SYSTEM, SECRET).expect("there is a Secret")["data"].clone()
    }

    pub(crate) fn options(&self) -> CaOptions {
        CaOptions {
            listen: ([127, 0, 0, 1], 0).into(),
            poll: Duration::from_millis(50),
            clock: self.clock.clone(),
            ..CaOptions::in_namespace(SYSTEM)
        }
    }

    pub(crate) async fn start(&self, options: CaOptions) -> Result<Serving, CaError> {
        let ca = Ca::start(options, self.client().await).await?;
        let address = ca.address();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            // Dropped is told as well.
            let _ = stopped.await;
        };
        Ok(Serving { address, stop: Some(stop), task: tokio::spawn(ca.run(shutdown)) })
    }

    pub(crate) async fn serve(&self) -> Serving {
        self.start(self.options()).await.unwrap()
    }

    /// A client with the rights of an authority.
    async fn client(&self) -> Client {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig(&self.own_token())).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap()
    }

    /// A token with the rights of an authority.
    pub(crate) fn own_token(&self) -> String {
        self.token(&TokenSpec::new(SYSTEM, "culvert-ca"))
    }

    /// A file with the way to the API server and this token.
    pub(crate) fn kubeconfig(&self, token: &str) -> PathBuf {
        let directory = tempfile::tempdir_in(self.files.path()).unwrap().keep();
        self.api.kubeconfig(&directory, self.api.address(), token).unwrap()
    }
}

/// An agent's token, not bound to a pod yet.
pub(crate) fn agent_token() -> TokenSpec {
    TokenSpec::new(SYSTEM, "culvert-agent").audience(AUDIENCE)
}

/// Tries until there is something.
pub(crate) async fn eventually<R>(what: &str, mut attempt: impl AsyncFnMut() -> Option<R>) -> R {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

impl Serving {
    /// Ends it as SIGTERM does.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        timeout(DEADLINE, &mut self.task).await.expect("it ends").unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TimeProvider for TestClock {
    fn current_time(&self) -> Option<UnixTime> {
        self.now().duration_since(UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}

fn pod_object(namespace: &str, pod: &str, account: &str, node: &str, phase: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "namespace": namespace, "name": pod },
        "spec": {
            "serviceAccountName": account, "nodeName": node,
            "containers": [{ "name": "main", "image": "none" }],
        },
        "status": { "phase": phase },
    })
}
