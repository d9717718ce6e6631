//! An API server, and a cluster that follows it.

use std::{net::IpAddr, time::Duration};

use culvert::cluster::{
    Cluster, Index, Kind, MeshConfig, ObjectKey, WatchState,
    watch::{KubernetesWatch, Timing, WatchOptions, client},
};
use culvert_testbed::{
    DEADLINE,
    apiserver::{ApiServer, LoggedRequest, TokenSpec, Verb},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// An API server, and a cluster that follows it until it is dropped.
pub(crate) struct Followed {
    pub(crate) server: ApiServer,
    pub(crate) cluster: Cluster,
    task: JoinHandle<()>,
    _files: TempDir,
}

impl Followed {
    /// Begins to follow a server and waits until all is known.
    pub(crate) async fn synced(server: ApiServer) -> Self {
        let followed = Self::begin(server, options()).await;
        followed.wait_until_synced().await;
        followed
    }

    /// Begins to follow a server.
    pub(crate) async fn begin(server: ApiServer, options: WatchOptions) -> Self {
        let files = TempDir::new().unwrap();
        let token = server.issue_token(&TokenSpec::new("culvert-system", "culvert")).unwrap();
        let kubeconfig = server.kubeconfig(files.path(), server.address(), &token).unwrap();
        let client = client(Some(&kubeconfig)).await.unwrap();
        let cluster = Cluster::new(Index::new(options.overrides.settings(&MeshConfig::default())));
        let task = tokio::spawn(KubernetesWatch::new(client, options).run(cluster.clone()));
        Self { server, cluster, task, _files: files }
    }

    pub(crate) async fn wait_until_synced(&self) {
        let mut synced = self.cluster.synced();
        let all = timeout(DEADLINE, synced.wait_for(|synced| *synced)).await;
        assert!(all.is_ok(), "not in sync: {:#?}", self.cluster.sources());
    }

    /// Waits for something that neither the index nor the server's log tells by itself.
    pub(crate) async fn wait(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !done(self) {
            assert!(Instant::now() < deadline, "no {what}: {:#?}", self.cluster.sources());
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the names of all pods are these.
    pub(crate) async fn wait_for_pods(&self, names: &[&str]) {
        self.wait(&format!("pods {names:?}"), |it| {
            it.count("pods") == names.len() && names.iter().all(|name| it.has(&pod_key(name)))
        })
        .await;
    }

    pub(crate) async fn wait_for_state(&self, resource: &str, state: WatchState) {
        self.wait(&format!("{resource} {state}"), |it| it.find_state(resource) == Some(state)).await;
    }

    /// Waits until a resource is watched, as the server sees it: from then on faults of watches are met.
    pub(crate) async fn wait_for_watch(&self, plural: &str) {
        self.wait(&format!("watch of {plural}"), |it| it.server.open_watches(plural) == 1).await;
    }

    pub(crate) async fn wait_for_problems(&self, count: usize) {
        self.wait(&format!("{count} problems"), |it| it.cluster.problems().len() == count).await;
    }

    pub(crate) async fn wait_for_no_errors(&self) {
        let is_well = |it: &Self| it.cluster.sources().iter().all(|status| status.error.is_none());
        self.wait("end of all errors", is_well).await;
    }

    pub(crate) fn has(&self, key: &ObjectKey) -> bool {
        self.cluster.read().object(key).is_some()
    }

    pub(crate) fn state(&self, resource: &str) -> WatchState {
        self.find_state(resource).unwrap()
    }

    /// None before following has begun.
    fn find_state(&self, resource: &str) -> Option<WatchState> {
        let statuses = self.cluster.sources();
        statuses.iter().find(|status| status.resource == resource).map(|status| status.state)
    }

    pub(crate) fn count(&self, resource: &str) -> usize {
        let statuses = self.cluster.sources();
        statuses.iter().find(|status| status.resource == resource).unwrap().objects
    }

    /// The requests for a resource since a mark.
    pub(crate) fn requests(&self, mark: usize, plural: &str, verb: Verb) -> Vec<LoggedRequest> {
        let mut requests = self.server.requests().split_off(mark);
        requests.retain(|request| request.resource == plural && request.verb == verb);
        requests
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Impatient.
pub(crate) fn options() -> WatchOptions {
    let millis = Duration::from_millis;
    let timing = Timing {
        proven: millis(50),
        first_retry: millis(20),
        retry: millis(100),
        denied: millis(100),
        look_again: millis(100),
        spread: millis(20),
        ..Timing::default()
    };
    WatchOptions { timing, ..WatchOptions::default() }
}

/// A server with these pods.
pub(crate) fn server_with_pods(names: &[&str]) -> ApiServer {
    let server = ApiServer::start().unwrap();
    for name in names {
        server.apply(&pod(name)).unwrap();
    }
    server
}

/// A pod, running, with an address of its own.
pub(crate) fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "default", "name": name, "labels": {"app": name}},
        "spec": {"nodeName": "node-a", "containers": [{"name": "main", "image": "none"}]},
        "status": {"phase": "Running", "podIPs": [{"ip": address(name).to_string()}]},
    })
}

fn address(name: &str) -> IpAddr {
    let last = name.bytes().fold(0, u8::wrapping_add);
    IpAddr::from([10, 0, 0, last])
}

pub(crate) fn pod_key(name: &str) -> ObjectKey {
    ObjectKey { kind: Kind::Pod, namespace: "default".into(), name: name.into() }
}

pub(crate) const PEER_AUTHENTICATIONS: &str = "peerauthentications.security.istio.io";

/// The policy of the namespace `default`.
pub(crate) fn policy(mode: &str) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"namespace": "default", "name": "policy"}, "spec": {"mtls": {"mode": mode}},
    })
}

pub(crate) fn policy_key() -> ObjectKey {
    ObjectKey { kind: Kind::PeerAuthentication, namespace: "default".into(), name: "policy".into() }
}

/// What is in a request's query.
pub(crate) fn query<'a>(request: &'a LoggedRequest, key: &str) -> Option<&'a str> {
    let mut pairs = request.query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
}
