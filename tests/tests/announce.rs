//! The annotation by which agents tell each other of captured pods, at an API server.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::time::Duration;

use culvert::{
    announce::{Announcer, Trouble},
    cluster::{
        Cluster, Index, MeshConfig, PodRef,
        watch::{KubernetesWatch, WatchOptions, client},
    },
    enroll::{Stand, Standing},
};
use culvert_testbed::{
    DEADLINE,
    apiserver::{ApiServer, Failure, LoggedRequest, Target, TokenSpec, Verb},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

const NODE: &str = "node-a";
const CAPTURED: &str = "culvert.io/captured";

/// An agent's announcer, as far as the API server can tell.
struct Announcing {
    server: ApiServer,
    standing: Option<watch::Sender<Standing>>,
    trouble: watch::Receiver<Trouble>,
    announcer: JoinHandle<()>,
    watch: JoinHandle<()>,
    _files: TempDir,
}

impl Announcing {
    /// Begins when the cluster is known, with these pods captured.
    async fn start(server: ApiServer, captured: &[&str]) -> Self {
        let files = TempDir::new().unwrap();
        let token = server.issue_token(&TokenSpec::new("culvert-system", "culvert")).unwrap();
        let kubeconfig = server.kubeconfig(files.path(), server.address(), &token).unwrap();
        let client = client(Some(&kubeconfig)).await.unwrap();
        let options = WatchOptions::default();
        let cluster = Cluster::new(Index::new(options.overrides.settings(&MeshConfig::default())));
        let watch = tokio::spawn(KubernetesWatch::new(client.clone(), options).run(cluster.clone()));
        let mut synced = cluster.synced();
        timeout(DEADLINE, synced.wait_for(|synced| *synced)).await.unwrap().unwrap();

        let (standing, stands) = watch::channel(standing(&server, captured));
        let announcer = Announcer::new(client, NODE.to_owned(), cluster);
        let trouble = announcer.trouble();
        let announcer = tokio::spawn(announcer.run(stands));
        Self { server, standing: Some(standing), trouble, announcer, watch, _files: files }
    }

    async fn wait_annotated(&self, pod: &str, annotated: bool) {
        self.wait(pod, || is_annotated(&self.server, pod) == annotated).await;
    }

    async fn wait_patch(&self, wanted: impl Fn(&LoggedRequest) -> bool) {
        self.wait("patch", || self.patches().iter().any(&wanted)).await;
    }

    async fn wait(&self, what: &str, done: impl Fn() -> bool) {
        self.wait_within(DEADLINE, what, done).await;
    }

    async fn wait_within(&self, patience: Duration, what: &str, done: impl Fn() -> bool) {
        let deadline = Instant::now() + patience;
        while !done() {
            assert!(Instant::now() < deadline, "no {what}: {:#?}", self.patches());
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn patches(&self) -> Vec<LoggedRequest> {
        let mut requests = self.server.requests();
        requests.retain(|request| request.verb == Verb::Patch);
        requests
    }
}

impl Drop for Announcing {
    fn drop(&mut self) {
        self.announcer.abort();
        self.watch.abort();
    }
}

/// A server with pods of one node; those whose name begins with `told` are annotated.
fn server_with(pods: &[&str]) -> ApiServer {
    let server = ApiServer::start().unwrap();
    for name in pods {
        server.apply(&pod(name, NODE)).unwrap();
    }
    server
}

fn pod(name: &str, node: &str) -> Value {
    let annotations = if name.starts_with("told") { json!({ CAPTURED: "true" }) } else { json!({}) };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "namespace": "default", "name": name, "annotations": annotations },
        "spec": { "nodeName": node, "containers": [{ "name": "main", "image": "none" }] },
        "status": { "phase": "Running" },
    })
}

fn standing(server: &ApiServer, captured: &[&str]) -> Standing {
    let stand = |name: &&str| {
        let uid = server.get("pods", "default", name).unwrap()["metadata"]["uid"].as_str().unwrap().into();
        (PodRef::new("default", name), Stand { uid, certified: true })
    };
    captured.iter().map(stand).collect()
}

fn is_annotated(server: &ApiServer, pod: &str) -> bool {
    let pod = server.get("pods", "default", pod).unwrap();
    pod["metadata"]["annotations"][CAPTURED] == "true"
}

fn patches_of_pods() -> Target {
    Target::from("pods").on(Verb::Patch)
}

const RIGHTS: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: culvert }
rules:
- { apiGroups: [""], resources: [configmaps, namespaces, pods, services], verbs: [list, watch] }
- { apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch] }
- { apiGroups: [security.istio.io, networking.istio.io], resources: ["*"], verbs: [list, watch] }
- { apiGroups: [""], resources: [pods/status], verbs: [patch] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: culvert }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: culvert }
subjects: [{ kind: ServiceAccount, namespace: culvert-system, name: culvert }]
"#;

#[tokio::test]
async fn a_captured_pod_is_annotated_with_no_more_than_the_right_to_its_status() {
    let server = server_with(&["new", "other"]);
    server.apply_yaml(RIGHTS).unwrap();
    server.enforce_rbac();
    let it = Announcing::start(server, &["new"]).await;
    it.wait_annotated("new", true).await;
    let asked: Vec<_> = it.patches().into_iter().map(|it| (it.resource, it.name, it.status)).collect();
    assert_eq!(asked, [("pods/status".to_owned(), "new".to_owned(), Some(200))]);
    assert!(!is_annotated(&it.server, "other"));
}

#[tokio::test]
async fn what_an_earlier_agent_left_is_taken_away_and_what_stands_is_left_alone() {
    let server = server_with(&["told-stale", "told-standing"]);
    server.apply(&pod("told-elsewhere", "node-b")).unwrap();
    let it = Announcing::start(server, &["told-standing"]).await;
    it.wait_annotated("told-stale", false).await;
    let asked: Vec<_> = it.patches().into_iter().map(|it| it.name).collect();
    assert_eq!(asked, ["told-stale"]);
}

#[tokio::test]
async fn what_somebody_takes_away_is_written_again() {
    let it = Announcing::start(server_with(&["p"]), &["p"]).await;
    it.wait_annotated("p", true).await;
    let strip = |pod: &mut Value| pod["metadata"]["annotations"] = json!({});
    it.server.edit("pods", "default", "p", strip).unwrap();
    // Where both changes come together, it looks as if the watch were late, which is waited for.
    it.wait_within(3 * DEADLINE, "second patch", || it.patches().len() == 2).await;
    it.wait_annotated("p", true).await;
}

#[tokio::test]
async fn a_pod_that_took_the_captured_ones_name_is_not_annotated() {
    let server = server_with(&["p", "q"]);
    let hold = server.hold(patches_of_pods());
    let it = Announcing::start(server, &["p"]).await;
    it.wait_patch(|patch| patch.name == "p").await;
    it.server.delete("pods", "default", "p").unwrap();
    it.server.apply(&pod("p", NODE)).unwrap();
    drop(hold);
    it.wait_patch(|patch| patch.name == "p" && patch.status == Some(422)).await;
    // Nothing is asked of it again, and others are served.
    it.standing.as_ref().unwrap().send_modify(|stands| stands.extend(standing(&it.server, &["q"])));
    it.wait_annotated("q", true).await;
    assert!(!is_annotated(&it.server, "p"));
    assert_eq!(it.patches().len(), 2);
}

#[tokio::test]
async fn it_outlasts_an_api_server_that_has_too_much_to_do() {
    for failure in [Failure::TooManyRequests(1), Failure::InternalError, Failure::Unavailable] {
        let server = server_with(&["p"]);
        server.fail_next(1, patches_of_pods(), failure);
        let mut it = Announcing::start(server, &["p"]).await;
        timeout(DEADLINE, it.trouble.wait_for(Option::is_some)).await.unwrap().unwrap();
        it.wait_annotated("p", true).await;
        timeout(DEADLINE, it.trouble.wait_for(Option::is_none)).await.unwrap().unwrap();
        assert_eq!(it.patches().len(), 2, "{failure:?}");
    }
}

#[tokio::test]
async fn it_outlasts_an_api_server_that_is_away() {
    let mut it = Announcing::start(server_with(&["p"]), &[]).await;
    it.server.go_away().unwrap();
    it.standing.as_ref().unwrap().send_replace(standing(&it.server, &["p"]));
    timeout(DEADLINE, it.trouble.wait_for(Option::is_some)).await.unwrap().unwrap();
    it.server.come_back().unwrap();
    it.wait_annotated("p", true).await;
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let server = server_with(&["p", "q"]);
    server.deny(patches_of_pods());
    let mut it = Announcing::start(server, &["p", "q"]).await;
    let trouble = timeout(DEADLINE, it.trouble.wait_for(Option::is_some)).await.unwrap().unwrap().clone();
    assert!(trouble.unwrap().contains("grant the agent `patch` on `pods/status`"));
    it.wait("refusal of each", || it.patches().iter().filter(|it| it.status == Some(403)).count() == 2).await;
}

#[tokio::test]
async fn at_the_end_everything_is_taken_away() {
    let pods = ["a", "b", "c", "d", "e", "f"];
    let mut it = Announcing::start(server_with(&pods), &pods).await;
    for pod in pods {
        it.wait_annotated(pod, true).await;
    }
    drop(it.standing.take());
    timeout(DEADLINE, &mut it.announcer).await.unwrap().unwrap();
    for pod in pods {
        assert!(!is_annotated(&it.server, pod), "{pod}");
    }
}
