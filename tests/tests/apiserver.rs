//! The API server of the tests, seen by a real client.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{pin::pin, time::Duration};

use culvert_testbed::{
    DEADLINE, Machine, PodSpec,
    apiserver::{ApiServer, Failure, LoggedRequest, Pace, Target, TokenSpec, Verb},
};
use futures::{Stream, StreamExt as _, future::join_all};
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec},
    core::v1::{ConfigMap, Namespace, Pod, Secret},
};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
        PostParams, WatchEvent, WatchParams,
    },
    config::{KubeConfigOptions, Kubeconfig},
    core::Status,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A server and somebody who asks it.
struct Asking {
    server: ApiServer,
    client: Client,
    files: TempDir,
}

impl Asking {
    async fn start() -> Self {
        let server = ApiServer::start().unwrap();
        let files = tempfile::tempdir().unwrap();
        let client = client(&server, &files, &server.admin_token()).await;
        Self { server, client, files }
    }

    async fn as_account(&self, namespace: &str, account: &str) -> Client {
        let token = self.server.issue_token(&TokenSpec::new(namespace, account)).unwrap();
        client(&self.server, &self.files, &token).await
    }

    fn pods(&self) -> Api<Pod> {
        Api::all(self.client.clone())
    }

    fn pods_here(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    fn add_pods(&self, names: &[&str]) {
        for name in names {
            self.server.apply(&pod(name)).unwrap();
        }
    }
}

async fn client(server: &ApiServer, files: &TempDir, token: &str) -> Client {
    let directory = files.path().join(server.version().to_string() + token);
    let path = server.kubeconfig(&directory, server.address(), token).unwrap();
    let kubeconfig = Kubeconfig::read_from(path).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    // What the server says at first is what is looked at.
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "namespace": "default", "name": name, "labels": { "app": name } },
        "spec": { "nodeName": "node-a", "containers": [{ "name": "main", "image": "none" }] },
        "status": { "phase": "Running" },
    })
}

fn names<T: kube::Resource>(objects: impl IntoIterator<Item = T>) -> Vec<String> {
    objects.into_iter().map(|object| object.name_any()).collect()
}

fn refusal(error: kube::Error) -> Box<Status> {
    match error {
        kube::Error::Api(status) => status,
        other => panic!("expected an answer, found {other}"),
    }
}

/// Each event as its type, with the name of its object.
async fn next(events: &mut (impl Stream<Item = kube::Result<WatchEvent<Pod>>> + Unpin)) -> String {
    let event = tokio::time::timeout(DEADLINE, events.next()).await.expect("an event comes");
    match event {
        Some(Ok(WatchEvent::Added(pod))) => format!("added {}", pod.name_any()),
        Some(Ok(WatchEvent::Modified(pod))) => format!("modified {}", pod.name_any()),
        Some(Ok(WatchEvent::Deleted(pod))) => format!("deleted {}", pod.name_any()),
        Some(Ok(WatchEvent::Bookmark(bookmark))) => {
            format!("bookmark {}", bookmark.metadata.resource_version)
        }
        Some(Ok(WatchEvent::Error(status))) => format!("error {}", status.code),
        Some(Err(error)) => format!("broken: {error}"),
        None => "end".to_owned(),
    }
}

#[tokio::test]
async fn a_list_in_pages_is_one_snapshot() {
    let it = Asking::start().await;
    it.add_pods(&["a", "b", "c", "d", "e"]);
    let first = it.pods().list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!(first.metadata.remaining_item_count, Some(3));
    let version = first.metadata.resource_version.clone();
    it.server.delete("pods", "default", "d").unwrap();
    it.add_pods(&["aa"]);
    let mut found = names(first.items);
    let mut token = first.metadata.continue_;
    while let Some(next) = token.filter(|token| !token.is_empty()) {
        let page = it.pods().list(&ListParams::default().limit(2).continue_token(&next)).await.unwrap();
        assert_eq!(page.metadata.resource_version, version);
        found.extend(names(page.items));
        token = page.metadata.continue_;
    }
    assert_eq!(found, ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn a_page_after_a_compaction_has_expired() {
    let it = Asking::start().await;
    it.add_pods(&["a", "b"]);
    let first = it.pods().list(&ListParams::default().limit(1)).await.unwrap();
    it.server.compact();
    let token = first.metadata.continue_.unwrap();
    let error = it.pods().list(&ListParams::default().limit(1).continue_token(&token)).await.unwrap_err();
    let status = refusal(error);
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
}

#[tokio::test]
async fn a_watch_resumes_where_the_list_ended() {
    let it = Asking::start().await;
    it.add_pods(&["a"]);
    let version = it.pods().list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    it.add_pods(&["b"]);
    let mut events = pin!(it.pods().watch(&WatchParams::default(), &version).await.unwrap());
    assert_eq!(next(&mut events).await, "added b");
    it.server.edit("pods", "default", "a", |pod| pod["status"]["phase"] = "Failed".into()).unwrap();
    assert_eq!(next(&mut events).await, "modified a");
    it.server.delete("pods", "default", "a").unwrap();
    assert_eq!(next(&mut events).await, "deleted a");
    assert_eq!(it.server.open_watches("pods"), 1);
}

#[tokio::test]
async fn an_object_that_leaves_a_selection_is_deleted_from_it() {
    let it = Asking::start().await;
    it.add_pods(&["a"]);
    let selected = WatchParams::default().labels("app in (a, b)").fields("spec.nodeName=node-a");
    let mut events = pin!(it.pods_here().watch(&selected, &it.server.version().to_string()).await.unwrap());
    let label = |app: &str| {
        it.server.edit("pods", "default", "a", |pod| pod["metadata"]["labels"]["app"] = app.into()).unwrap();
    };
    label("c");
    assert_eq!(next(&mut events).await, "deleted a");
    label("d");
    label("b");
    assert_eq!(next(&mut events).await, "added a");
}

#[tokio::test]
async fn bookmarks_tell_how_far_a_quiet_watch_has_come() {
    let it = Asking::start().await;
    let version = it.server.version().to_string();
    let mut events = pin!(it.pods().watch(&WatchParams::default(), &version).await.unwrap());
    it.server
        .apply(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "namespace": "default", "name": "other" },
        }))
        .unwrap();
    it.server.send_bookmarks("pods");
    assert_eq!(next(&mut events).await, format!("bookmark {}", it.server.version()));
}

#[tokio::test]
async fn a_watch_from_a_version_that_is_gone_says_so_in_either_way() {
    let it = Asking::start().await;
    let version = it.server.version().to_string();
    it.server.compact();
    let mut events = pin!(it.pods().watch(&WatchParams::default(), &version).await.unwrap());
    assert_eq!(next(&mut events).await, "error 410");
    it.server.fail_gone_watches_at_once(true);
    let error = it.pods().watch(&WatchParams::default(), &version).await.err().unwrap();
    assert_eq!(refusal(error).code, 410);
}

#[tokio::test]
async fn a_watch_can_be_cut_garbled_expired_and_ended() {
    let it = Asking::start().await;
    let version = it.server.version().to_string();
    let pods = it.pods();
    let watch = async || pods.watch(&WatchParams::default(), &version).await.unwrap().boxed();
    let mut cut = watch().await;
    it.server.drop_watches("pods");
    let seen = next(&mut cut).await;
    assert!(seen.starts_with("broken") || seen == "end", "{seen}");
    let mut garbled = watch().await;
    it.server.garble_watches("pods");
    assert!(next(&mut garbled).await.starts_with("broken"));
    let mut expired = watch().await;
    it.server.expire_watches("pods");
    assert_eq!(next(&mut expired).await, "error 410");
    let mut ended = watch().await;
    it.server.end_watches("pods");
    assert!(next(&mut ended).await.starts_with("bookmark"), "clients learn how far they have come");
    assert_eq!(next(&mut ended).await, "end");
}

#[tokio::test]
async fn a_watch_that_was_cut_says_nothing_of_what_comes_after() {
    let it = Asking::start().await;
    let version = it.server.version().to_string();
    // So many that the server comes to the last of them after all that has happened.
    let watches =
        (0..100).map(async |_| it.pods().watch(&WatchParams::default(), &version).await.unwrap().boxed());
    let watches = join_all(watches).await;
    it.server.drop_watches("pods");
    it.add_pods(&["a"]);
    it.server.compact();
    for mut cut in watches {
        let seen = next(&mut cut).await;
        assert!(seen.starts_with("broken") || seen == "end", "{seen}");
    }
}

#[tokio::test]
async fn a_stale_write_is_a_conflict() {
    let it = Asking::start().await;
    let maps: Api<ConfigMap> = Api::namespaced(it.client.clone(), "default");
    let map: ConfigMap =
        serde_json::from_value(json!({ "metadata": { "name": "m" }, "data": { "a": "1" } })).unwrap();
    let mut first = maps.create(&PostParams::default(), &map).await.unwrap();
    assert_eq!(refusal(maps.create(&PostParams::default(), &map).await.unwrap_err()).reason, "AlreadyExists");
    let second = first.clone();
    first.data.get_or_insert_default().insert("b".to_owned(), "2".to_owned());
    let first = maps.replace("m", &PostParams::default(), &first).await.unwrap();
    let error = maps.replace("m", &PostParams::default(), &second).await.unwrap_err();
    assert_eq!(refusal(error).reason, "Conflict");
    let same = maps.replace("m", &PostParams::default(), &first).await.unwrap();
    assert_eq!(same.resource_version(), first.resource_version(), "nothing has changed");
    let patch = json!({ "metadata": { "resourceVersion": "1" }, "data": { "c": "3" } });
    let error = maps.patch("m", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap_err();
    assert_eq!(refusal(error).reason, "Conflict");
}

#[tokio::test]
async fn the_status_of_a_pod_takes_annotations_and_no_spec() {
    let it = Asking::start().await;
    it.add_pods(&["a"]);
    let uid = it.pods_here().get("a").await.unwrap().uid().unwrap();
    let patch = json!({
        "metadata": { "uid": uid, "annotations": { "culvert.io/captured": "true" } },
        "spec": { "nodeName": "elsewhere" },
    });
    let patched =
        it.pods_here().patch_status("a", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    assert_eq!(patched.annotations()["culvert.io/captured"], "true");
    assert_eq!(patched.spec.unwrap().node_name.unwrap(), "node-a");
    assert_eq!(patched.status.unwrap().phase.unwrap(), "Running");
    it.add_pods(&["a"]);
    assert!(it.pods_here().get("a").await.unwrap().annotations().contains_key("culvert.io/captured"));

    let other = json!({ "metadata": { "uid": "another", "annotations": { "culvert.io/captured": null } } });
    let error = it.pods_here().patch_status("a", &PatchParams::default(), &Patch::Merge(&other)).await;
    let status = refusal(error.unwrap_err());
    assert_eq!(status.reason, "Invalid");
    assert_eq!(status.details.unwrap().causes[0].field, "metadata.uid");
}

#[tokio::test]
async fn a_client_says_nothing_of_a_status_and_writes_only_what_parses() {
    let it = Asking::start().await;
    let pod: Pod = serde_json::from_value(pod("a")).unwrap();
    let created = it.pods_here().create(&PostParams::default(), &pod).await.unwrap();
    assert_eq!(created.status.unwrap().phase.unwrap(), "Pending");
    let wrong = json!({ "spec": { "containers": "none" } });
    let error = it.pods_here().patch("a", &PatchParams::default(), &Patch::Merge(&wrong)).await.unwrap_err();
    assert_eq!(refusal(error).reason, "BadRequest");
    let elsewhere: Api<Pod> = Api::namespaced(it.client.clone(), "nowhere");
    let mut pod = pod;
    pod.metadata.namespace = None;
    let error = elsewhere.create(&PostParams::default(), &pod).await.unwrap_err();
    assert_eq!(refusal(error).message, r#"namespaces "nowhere" not found"#);
}

#[tokio::test]
async fn applying_creates_and_then_changes_what_is_ones_own() {
    let it = Asking::start().await;
    let secrets: Api<Secret> = Api::namespaced(it.client.clone(), "default");
    let apply = PatchParams::apply("one");
    let wanted = |data: Value| json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "stringData": data });
    secrets.patch("s", &apply, &Patch::Apply(&wanted(json!({ "a": "1" })))).await.unwrap();
    let labels = json!({ "metadata": { "labels": { "theirs": "yes" } } });
    secrets.patch("s", &PatchParams::default(), &Patch::Merge(&labels)).await.unwrap();
    let after = secrets.patch("s", &apply, &Patch::Apply(&wanted(json!({ "a": "2" })))).await.unwrap();
    assert_eq!(after.labels()["theirs"], "yes");
    assert_eq!(after.data.unwrap()["a"].0, b"2");
}

#[tokio::test]
async fn deleting_a_namespace_deletes_what_is_in_it() {
    let it = Asking::start().await;
    it.add_pods(&["a"]);
    let namespaces: Api<Namespace> = Api::all(it.client.clone());
    namespaces.delete("default", &DeleteParams::default()).await.unwrap();
    assert_eq!(names(it.pods().list(&ListParams::default()).await.unwrap()), [""; 0]);
}

#[tokio::test]
async fn what_no_role_grants_is_refused_and_logged() {
    let it = Asking::start().await;
    it.add_pods(&["a"]);
    it.server.enforce_rbac();
    it.server.apply_yaml(ROLES).unwrap();
    let client = it.as_account("default", "robot").await;
    let pods: Api<Pod> = Api::all(client.clone());
    pods.list(&ListParams::default()).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    maps.list(&ListParams::default().fields("metadata.name=mesh")).await.unwrap();
    maps.list(&ListParams::default()).await.unwrap_err();
    let error = maps.list(&ListParams::default().fields("metadata.name=other")).await.unwrap_err();
    assert_eq!(
        refusal(error).message,
        "configmaps is forbidden: User \"system:serviceaccount:default:robot\" cannot list resource \
         \"configmaps\" in API group \"\" in the namespace \"default\""
    );
    let patch = Patch::Merge(json!({ "metadata": { "annotations": { "a": "b" } } }));
    let here: Api<Pod> = Api::namespaced(client.clone(), "default");
    here.patch_status("a", &PatchParams::default(), &patch).await.unwrap();
    here.patch("a", &PatchParams::default(), &patch).await.unwrap_err();
    let refused: Vec<_> = it.server.refused().into_iter().map(|it| (it.verb, it.resource)).collect();
    let expected = [(Verb::List, "configmaps"), (Verb::List, "configmaps"), (Verb::Patch, "pods")];
    assert_eq!(refused, expected.map(|(verb, resource)| (verb, resource.to_owned())));
    it.server.deny("pods");
    assert_eq!(refusal(pods.list(&ListParams::default()).await.unwrap_err()).code, 403);
    it.server.deny_nothing();
    pods.list(&ListParams::default()).await.unwrap();
}

const ROLES: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: reader }
rules:
- { apiGroups: [""], resources: [pods], verbs: [get, list, watch] }
- { apiGroups: [""], resources: [pods/status], verbs: [patch] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: reader }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader }
subjects: [{ kind: ServiceAccount, namespace: default, name: robot }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { namespace: default, name: mesh }
rules:
- { apiGroups: [""], resources: [configmaps], resourceNames: [mesh], verbs: [get, list, watch] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { namespace: default, name: mesh }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: mesh }
subjects: [{ kind: ServiceAccount, name: robot }]
"#;

#[tokio::test]
async fn a_token_review_tells_who_holds_a_token_while_it_holds() {
    let it = Asking::start().await;
    it.add_pods(&["a"]);
    let uid = it.server.get("pods", "default", "a").unwrap()["metadata"]["uid"].clone();
    let spec =
        TokenSpec::new("default", "robot").audience("ca").bound_to("a").lifetime(Duration::from_mins(10));
    let token = it.server.issue_token(&spec).unwrap();
    let review = async |token: &str, audience: &str| {
        let spec = TokenReviewSpec {
            token: token.to_owned(),
            audiences: Some(vec![audience.to_owned(), "else".to_owned()]),
        };
        let review = TokenReview { spec, ..TokenReview::default() };
        let reviews: Api<TokenReview> = Api::all(it.client.clone());
        reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap()
    };
    let good = review(&token, "ca").await;
    assert_eq!((good.authenticated, good.audiences), (Some(true), Some(vec!["ca".to_owned()])));
    let user = good.user.unwrap();
    assert_eq!(user.username.unwrap(), "system:serviceaccount:default:robot");
    let extra = user.extra.unwrap();
    assert_eq!(extra["authentication.kubernetes.io/pod-uid"], [uid.as_str().unwrap()]);
    assert_eq!(extra["authentication.kubernetes.io/node-name"], ["node-a"]);

    it.server.name_nodes_of_tokens(false);
    let extra = review(&token, "ca").await.user.unwrap().extra.unwrap();
    assert!(!extra.contains_key("authentication.kubernetes.io/node-name"));

    for (token, audience) in [("unknown", "ca"), (&token, "istio-ca")] {
        let bad = review(token, audience).await;
        assert_ne!((bad.authenticated, bad.error), (Some(true), None));
    }
    it.server.set_clock_ahead(601);
    assert!(review(&token, "ca").await.error.unwrap().contains("expired"));
    it.server.set_clock_ahead(0);
    it.server.delete("pods", "default", "a").unwrap();
    assert!(review(&token, "ca").await.error.unwrap().contains("invalidated"));
    let stranger = client(&it.server, &it.files, &token).await;
    let error = Api::<Pod>::all(stranger).list(&ListParams::default()).await.unwrap_err();
    assert_eq!(refusal(error).code, 401);
}

#[tokio::test]
async fn requests_fail_wait_and_dawdle_on_demand() {
    let it = Asking::start().await;
    it.add_pods(&["a"]);
    it.server.fail_next(1, "pods", Failure::TooManyRequests(7));
    let url = format!("/api/v1/pods?limit={}", 1);
    let request = || http::Request::get(&url).body(Vec::new()).unwrap();
    let status = refusal(it.client.request::<Value>(request()).await.unwrap_err());
    assert_eq!((status.code, status.details.unwrap().retry_after_seconds), (429, 7));
    it.server.fail_next(1, Target::from("pods").on(Verb::List), Failure::InternalError);
    it.client.request::<Value>(request()).await.unwrap_err();

    let hold = it.server.hold(Target::everything());
    let mark = it.server.mark();
    let mut waiting = pin!(it.client.request::<Value>(request()));
    let arrived = |it: &LoggedRequest| it.status.is_none();
    tokio::select! {
        _ = &mut waiting => panic!("it is held"),
        arrived = it.server.requested(mark, arrived) => assert_eq!(arrived.unwrap().query, "limit=1"),
    }
    drop(hold);
    waiting.await.unwrap();

    it.server.slow_down("pods", Pace { bytes: 50, pause: Duration::from_millis(1) });
    assert_eq!(names(it.pods().list(&ListParams::default()).await.unwrap()), ["a"]);
}

#[tokio::test]
async fn a_server_that_went_away_comes_back_where_it_was() {
    let it = Asking::start().await;
    let version = it.server.version().to_string();
    let mut events = pin!(it.pods().watch(&WatchParams::default(), &version).await.unwrap());
    it.server.go_away().unwrap();
    let seen = next(&mut events).await;
    assert!(seen.starts_with("broken") || seen == "end", "{seen}");
    assert_eq!(
        std::net::TcpStream::connect(it.server.address()).unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
    it.server.come_back().unwrap();
    it.pods().list(&ListParams::default()).await.unwrap();
}

#[tokio::test]
async fn custom_resources_come_and_go_with_their_objects() {
    let it = Asking::start().await;
    let of = |version| GroupVersionKind::gvk("security.istio.io", version, "PeerAuthentication");
    let policies = |version| {
        let resource = ApiResource::from_gvk_with_plural(&of(version), "peerauthentications");
        Api::<DynamicObject>::all_with(it.client.clone(), &resource)
    };
    it.server
        .apply_yaml("{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: p, namespace: default}}")
        .unwrap();
    let old = policies("v1beta1").list(&ListParams::default()).await.unwrap();
    assert_eq!(old.items[0].types.as_ref().unwrap().api_version, "security.istio.io/v1beta1");
    let group = async || it.client.list_api_groups().await.unwrap().groups;
    assert!(group().await.iter().any(|group| group.name == "security.istio.io"));

    it.server.serve("peerauthentications", &[]).unwrap();
    assert_eq!(refusal(policies("v1").list(&ListParams::default()).await.unwrap_err()).code, 404);
    assert!(group().await.iter().all(|group| group.name != "security.istio.io"));

    it.server.serve("peerauthentications", &["v1beta1"]).unwrap();
    assert_eq!(policies("v1beta1").list(&ListParams::default()).await.unwrap().items.len(), 0);
    assert_eq!(refusal(policies("v1").list(&ListParams::default()).await.unwrap_err()).code, 404);
    let served = it.client.list_api_group_resources("security.istio.io/v1beta1").await.unwrap();
    assert_eq!(served.resources[0].kind, "PeerAuthentication");
}

#[tokio::test]
async fn an_object_that_does_not_decode_can_be_put() {
    let it = Asking::start().await;
    let broken = json!({ "metadata": { "namespace": "default", "name": "broken" }, "spec": 7 });
    it.server.put_raw("pods", broken).unwrap();
    it.pods().list(&ListParams::default()).await.unwrap_err();
}

#[tokio::test]
async fn many_objects_are_listed_whole_and_many_changes_followed_in_order() {
    let it = Asking::start().await;
    let pods = (0..20_000).map(|number| pod(&format!("pod-{number:05}")));
    it.server.load(pods).unwrap();
    let version = it.server.version().to_string();
    let mut events = pin!(it.pods().watch(&WatchParams::default(), &version).await.unwrap());
    let listed = it.pods().list(&ListParams::default()).await.unwrap();
    assert_eq!(listed.items.len(), 20_000);
    for number in 0..2_000 {
        let fail = |pod: &mut Value| pod["status"]["phase"] = "Failed".into();
        it.server.edit("pods", "default", &format!("pod-{number:05}"), fail).unwrap();
    }
    for number in 0..2_000 {
        assert_eq!(next(&mut events).await, format!("modified pod-{number:05}"));
    }
}

#[test]
fn a_machine_publishes_to_it_what_has_changed_and_nodes_reach_it() {
    let server = ApiServer::start().unwrap();
    let mut machine = Machine::new().unwrap().with_api(&server);
    let node = machine.node("a").unwrap();
    let pod = machine.pod(&node, PodSpec::new("full", "sleep")).unwrap();
    machine.publish().unwrap();
    let published = server.get("pods", "full", "sleep").unwrap();
    assert_eq!(
        (&published["metadata"]["uid"], &published["spec"]["nodeName"]),
        (&pod.uid().into(), &node.name().into())
    );
    let captured = |pod: &mut Value| pod["metadata"]["annotations"]["culvert.io/captured"] = "true".into();
    let version = server.edit("pods", "full", "sleep", captured).unwrap();
    machine.publish().unwrap();
    assert_eq!(server.version(), version, "nothing has changed");
    machine.relabel(&pod, |labels| drop(labels.insert("app".to_owned(), "sleep".to_owned())));
    machine.publish().unwrap();
    let labelled = server.get("pods", "full", "sleep").unwrap();
    assert_eq!(labelled["metadata"]["labels"]["app"], "sleep");
    assert_eq!(labelled["metadata"]["annotations"]["culvert.io/captured"], "true");

    machine.apply("policy", POLICY).unwrap();
    assert!(server.get("peerauthentications", "full", "default").is_some());
    machine.unapply("policy").unwrap();
    machine.delete(pod);
    machine.publish().unwrap();
    assert_eq!((server.list("peerauthentications"), server.list("pods")), (vec![], vec![]));

    let kubeconfig = machine.kubeconfig(&node, "admin", &server.admin_token()).unwrap();
    let ask = || {
        let mut curl = node.command("curl");
        curl.args(["-sS", "-w", "%{http_version} %{http_code}", "-o", "/dev/null", "--cacert"]);
        curl.arg(kubeconfig.with_file_name("ca.crt"));
        curl.args(["-H", &format!("Authorization: Bearer {}", server.admin_token())]);
        let output = curl.arg("https://127.0.0.1:6443/api/v1/pods").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(ask(), "2 200");
    server.go_away().unwrap();
    assert_eq!(ask(), "0 000");
    server.come_back().unwrap();
    assert_eq!(ask(), "2 200");
}

const POLICY: &str = "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: default, namespace: full}}";
