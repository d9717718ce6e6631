//! What the Helm chart renders: objects of Kubernetes as Kubernetes knows them, with no more rights and mounts than it
//! takes.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{fs, path::PathBuf, process::Command};

use culvert::cluster::watch;
use culvert_testbed::{
    apiserver::ApiServer,
    chart::{self, Chart, NAMESPACE, rendered_objects},
    culvert,
};
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment},
        batch::v1::Job,
        core::v1::{Namespace, Service, ServiceAccount},
        policy::v1::PodDisruptionBudget,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
        scheduling::v1::PriorityClass,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, TypeMeta},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Values that take each branch of the templates.
const VARIANTS: &[&[(&str, &str)]] = &[
    &[],
    &[("namespace.create", "true"), ("ca.replicas", "1"), ("agent.failure", "open")],
    &[
        ("priorityClass.create", "false"),
        ("priorityClass.name", "system-node-critical"),
        ("imagePullSecrets[0].name", "registry"),
        ("trustDomain", "example.org"),
        ("rootNamespace", "mesh"),
        ("agent.workers", "2"),
        ("agent.cgroupRoot", "/sys/fs/cgroup/unified"),
        ("agent.kubeletCgroup", "/sys/fs/cgroup/unified/node/kubelet"),
        ("agent.mountBpffs", "false"),
        ("agent.maxUnavailable", "10%"),
        ("agent.log", "info\\,access=off"),
        ("agent.podAnnotations.note", "a: b # c"),
        ("agent.podLabels.team", "mesh"),
        ("agent.nodeSelector.zone", "a"),
        (
            "agent.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey",
            "zone",
        ),
        ("ca.podAnnotations.note", "a: b # c"),
        ("ca.podLabels.team", "mesh"),
        ("ca.tolerations[0].operator", "Exists"),
        ("ca.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey", "zone"),
        ("ca.dnsNames[0]", "ca.example.org"),
        ("ca.log", "info\\,culvert=debug"),
        ("ca.audiences", "{culvert-ca,istio-ca}"),
    ],
    &[("ca.external.address", "istiod.istio-system.svc:15012"), ("uninstall.hook", "false")],
];

/// With what runs at the end.
fn rendered(values: &[(&str, &str)]) -> Vec<Value> {
    values.iter().fold(Chart::new(), |chart, (name, value)| chart.set(name, value)).objects().unwrap()
}

fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let mut found =
        objects.iter().filter(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    let (object, more) = (found.next(), found.next());
    assert!(more.is_none(), "there are two of {kind} {name}");
    object.unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

/// Where a value has something that another one lacks or has otherwise, as a path.
fn lost(wanted: &Value, found: &Value) -> Option<String> {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => wanted.iter().find_map(|(key, value)| {
            let below = lost(value, found.get(key).unwrap_or(&Value::Null))?;
            Some(format!(".{key}{below}"))
        }),
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            let mut pairs = wanted.iter().zip(found).enumerate();
            pairs.find_map(|(at, (wanted, found))| Some(format!("[{at}]{}", lost(wanted, found)?)))
        }
        _ => (wanted != found).then(|| format!(": {wanted} is {found}")),
    }
}

fn through<T: Serialize + DeserializeOwned>(object: &Value) -> Value {
    let typed: T =
        serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}: {object:#}"));
    serde_json::to_value(typed).unwrap()
}

/// The object as its type has it.
fn typed(object: &Value) -> Value {
    let word = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
    match (word("apiVersion").as_str(), word("kind").as_str()) {
        ("apps/v1", "DaemonSet") => through::<DaemonSet>(object),
        ("apps/v1", "Deployment") => through::<Deployment>(object),
        ("batch/v1", "Job") => through::<Job>(object),
        ("v1", "Namespace") => through::<Namespace>(object),
        ("v1", "Service") => through::<Service>(object),
        ("v1", "ServiceAccount") => through::<ServiceAccount>(object),
        ("policy/v1", "PodDisruptionBudget") => through::<PodDisruptionBudget>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => through::<ClusterRole>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => through::<ClusterRoleBinding>(object),
        ("rbac.authorization.k8s.io/v1", "Role") => through::<Role>(object),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => through::<RoleBinding>(object),
        ("scheduling.k8s.io/v1", "PriorityClass") => through::<PriorityClass>(object),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition") => {
            through::<CustomResourceDefinition>(object)
        }
        (version, kind) => panic!("no type is known for {version} {kind}"),
    }
}

#[test]
fn kubernetes_knows_every_field_of_every_object() {
    for values in VARIANTS {
        for object in rendered(values) {
            let lost = lost(&object, &typed(&object));
            assert_eq!(lost, None, "{} {} with {values:?}", object["kind"], object["metadata"]["name"]);
        }
    }
}

#[test]
fn a_field_that_kubernetes_does_not_know_would_be_seen() {
    let mut objects = rendered(&[]);
    let agent = objects.iter_mut().find(|object| object["kind"] == "DaemonSet").unwrap();
    agent["spec"]["template"]["spec"]["containers"][0]["securityContext"]["priviledged"] = json!(true);
    let lost = lost(agent, &typed(agent)).unwrap();
    assert_eq!(lost, ".spec.template.spec.containers[0].securityContext.priviledged: true is null");
}

/// An API server with Culvert's namespace, and what its administrator asks it with.
struct Cluster {
    api: ApiServer,
    kubeconfig: PathBuf,
    _files: TempDir,
}

impl Cluster {
    fn new() -> Self {
        let (api, files) = (ApiServer::start().unwrap(), TempDir::new().unwrap());
        let metadata = json!({ "name": NAMESPACE });
        api.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata })).unwrap();
        let kubeconfig = api.kubeconfig(files.path(), api.address(), &api.admin_token()).unwrap();
        Self { api, kubeconfig, _files: files }
    }

    async fn client(&self) -> Client {
        watch::client(Some(&self.kubeconfig)).await.unwrap()
    }
}

/// Does what `kubectl apply --server-side` does.
async fn apply(client: Client, object: &Value) -> Value {
    let types: TypeMeta = serde_json::from_value(object.clone()).unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types).unwrap());
    let metadata = &object["metadata"];
    let api: Api<DynamicObject> = match metadata["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let applied = api
        .patch(metadata["name"].as_str().unwrap(), &PatchParams::apply("kubectl"), &Patch::Apply(object))
        .await;
    let applied = applied.unwrap_or_else(|error| panic!("{error}: {object:#}"));
    serde_json::to_value(applied).unwrap()
}

#[tokio::test]
async fn an_api_server_takes_every_object_and_changes_nothing_the_second_time() {
    for values in VARIANTS {
        let cluster = Cluster::new();
        let client = cluster.client().await;
        let crds = chart::objects(&fs::read_to_string(chart::deploy().join("crds.yaml")).unwrap()).unwrap();
        let objects = [crds, rendered(values)].concat();
        for object in &objects {
            let lost = lost(object, &apply(client.clone(), object).await);
            assert_eq!(lost, None, "{} {} with {values:?}", object["kind"], object["metadata"]["name"]);
        }
        let version = cluster.api.version();
        for object in &objects {
            apply(client.clone(), object).await;
        }
        assert_eq!(cluster.api.version(), version, "with {values:?}");
    }
}

#[test]
fn the_manifests_hold_all_that_they_need_in_the_order_that_works() {
    let cluster = Cluster::new();
    cluster.api.delete("namespaces", "", NAMESPACE).unwrap();
    for name in ["culvert.yaml", "uninstall.yaml"] {
        let objects = chart::objects(&fs::read_to_string(chart::deploy().join(name)).unwrap()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = cluster.client().await;
            for object in &objects {
                apply(client.clone(), object).await;
            }
        });
    }
    let owners =
        [("daemonsets", "culvert-agent"), ("deployments", "culvert-ca"), ("jobs", "culvert-uninstall")];
    for (plural, name) in owners {
        let workload = cluster.api.get(plural, NAMESPACE, name).unwrap();
        let pod = &workload["spec"]["template"]["spec"];
        let account = pod["serviceAccountName"].as_str().unwrap();
        assert!(cluster.api.get("serviceaccounts", NAMESPACE, account).is_some(), "{account} of {name}");
        if let Some(class) = pod["priorityClassName"].as_str() {
            assert!(cluster.api.get("priorityclasses", "", class).is_some(), "{class} of {name}");
        }
    }
}

/// Every command line that runs one of the programs: in containers, their probes, and on a machine.
fn command_lines(objects: &[Value]) -> Vec<Vec<String>> {
    let of = |list: &Value| -> Vec<String> { serde_json::from_value(list.clone()).unwrap() };
    let agent = &pod(objects, "DaemonSet", "culvert-agent")["containers"][0];
    let mut lines = vec![of(&agent["args"]), of(&agent["readinessProbe"]["exec"]["command"]).split_off(1)];
    let deployments = objects.iter().filter(|object| object["kind"] == "Deployment");
    lines.extend(deployments.map(|object| of(&object["spec"]["template"]["spec"]["containers"][0]["args"])));
    if let Some(job) = objects.iter().find(|object| object["kind"] == "Job") {
        let patch = detach_patch(&job["spec"]["template"]["spec"]);
        lines.push(of(&patch["spec"]["template"]["spec"]["initContainers"][0]["args"]));
    }
    lines
}

/// The programs tell of all that is wrong with a command line together.
fn mistakes(arguments: &[String]) -> String {
    let arguments = arguments.iter().map(|argument| argument.replace("$(NODE_NAME)", "node-1"));
    let refused = Command::new(culvert()).args(arguments).arg("--no-such-flag").output().unwrap();
    assert_eq!(refused.status.code(), Some(64));
    String::from_utf8(refused.stderr).unwrap()
}

const NO_MISTAKE_BUT_OURS: &str = "culvert: there is no flag --no-such-flag\nculvert: see `culvert --help`\n";

#[test]
fn programs_take_every_flag_that_they_are_started_with() {
    for values in VARIANTS {
        for line in command_lines(&rendered(values)) {
            assert_eq!(mistakes(&line), NO_MISTAKE_BUT_OURS, "{line:?}");
        }
    }
    let unit = fs::read_to_string(chart::deploy().join("systemd/culvert.service")).unwrap();
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/culvert ")).unwrap();
    let line: Vec<_> = start.split(' ').map(str::to_owned).collect();
    assert_eq!(mistakes(&line), NO_MISTAKE_BUT_OURS, "{line:?}");
}

#[test]
fn a_flag_that_a_program_does_not_take_would_be_seen() {
    let line = ["agent", "--failure=maybe", "--ca-dir=/ca", "--manifest=/m"].map(str::to_owned);
    let told = mistakes(&line);
    assert!(told.contains("--manifest\n") && told.contains("expected closed or open"), "{told}");
}

#[test]
fn helm_has_nothing_against_the_chart() {
    assert_eq!(chart::lint().unwrap(), "");
}

#[test]
fn the_manifests_are_what_the_chart_renders() {
    for (name, rendered) in chart::manifests().unwrap() {
        let committed = fs::read_to_string(chart::deploy().join(name)).unwrap();
        assert!(
            committed == rendered,
            "deploy/{name} is not what the chart renders: run `cargo xtask manifest`"
        );
    }
}

#[test]
fn the_chart_carries_the_version_of_the_agent() {
    let text = fs::read_to_string(chart::directory().join("Chart.yaml")).unwrap();
    let chart = &chart::objects(&text).unwrap()[0];
    assert_eq!([&chart["version"], &chart["appVersion"]], [env!("CARGO_PKG_VERSION"); 2]);
}

#[test]
fn the_schema_refuses_wrong_values() {
    for (name, value) in [
        ("agent.failure", "maybe"),
        ("agent.failre", "open"),
        ("agent.certLifetime", "24"),
        ("agent.drainSeconds", "-1"),
        ("agent.cgroupRoot", "unified"),
        ("agent.maxUnavailable", "0"),
        ("agent.logFormat", "xml"),
        ("ca.replicas", "0"),
        ("ca.overlap", "soon"),
        ("ca.audiences", "{}"),
        ("ca.listen", "0.0.0.0:443"),
        ("ca.logFormat", "xml"),
        ("ca.external.address", "istiod"),
        ("trustDomain", "https://example.org"),
        ("rootNamespace", "Mesh"),
        ("priorityClass.name", "system-node-critical"),
        ("image.repository", ""),
        ("image.pullPolicy", "Sometimes"),
        ("nonsense", "1"),
    ] {
        let refused = Chart::new().set(name, value).render();
        let told = refused.expect_err(&format!("{name}={value} was accepted")).to_string();
        assert!(told.contains("don't meet the specifications of the schema"), "{name}={value}: {told}");
    }
}

#[test]
fn the_agent_may_do_what_it_has_to_and_nothing_else() {
    let objects = rendered_objects(&[]).unwrap();
    let rules = json!([
        { "apiGroups": [""], "resources": ["namespaces", "pods", "services"], "verbs": ["list", "watch"] },
        { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"] },
        { "apiGroups": ["security.istio.io"], "resources": ["peerauthentications"], "verbs": ["list", "watch"] },
        {
            "apiGroups": ["networking.istio.io"],
            "resources": ["destinationrules", "serviceentries", "workloadentries"],
            "verbs": ["list", "watch"],
        },
        { "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["istio"], "verbs": ["list", "watch"] },
        { "apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch"] },
    ]);
    assert_eq!(object(&objects, "ClusterRole", "culvert-agent")["rules"], rules);
    assert_eq!(bound_to(&objects, "culvert-agent"), [("ClusterRole", "culvert-agent")]);
}

#[test]
fn the_authority_may_do_what_it_has_to_and_nothing_else() {
    let objects = rendered_objects(&[]).unwrap();
    let everywhere = json!([
        { "apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"] },
        { "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"] },
    ]);
    let own = ["get", "update"];
    let here = json!([
        { "apiGroups": [""], "resources": ["configmaps", "secrets"], "verbs": ["create"] },
        { "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["culvert-ca"], "verbs": own },
        { "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["culvert-ca-root-cert"], "verbs": own },
    ]);
    assert_eq!(object(&objects, "ClusterRole", "culvert-ca")["rules"], everywhere);
    assert_eq!(object(&objects, "Role", "culvert-ca")["rules"], here);
    assert_eq!(bound_to(&objects, "culvert-ca"), [("ClusterRole", "culvert-ca"), ("Role", "culvert-ca")]);
}

#[test]
fn the_uninstallation_may_change_the_agents_and_nothing_else() {
    let objects = rendered(&[]);
    let rules = json!([{
        "apiGroups": ["apps"],
        "resources": ["daemonsets"],
        "resourceNames": ["culvert-agent"],
        "verbs": ["get", "list", "patch", "watch"],
    }]);
    assert_eq!(object(&objects, "Role", "culvert-uninstall")["rules"], rules);
    assert_eq!(bound_to(&objects, "culvert-uninstall"), [("Role", "culvert-uninstall")]);
}

/// The roles that a service account has, by every binding that there is.
fn bound_to<'a>(objects: &'a [Value], account: &str) -> Vec<(&'a str, &'a str)> {
    let subject = json!([{ "kind": "ServiceAccount", "name": account, "namespace": NAMESPACE }]);
    let bindings = objects.iter().filter(|object| object["subjects"] == subject);
    let roles = bindings.map(|binding| &binding["roleRef"]);
    roles.map(|role| (role["kind"].as_str().unwrap(), role["name"].as_str().unwrap())).collect()
}

fn pod<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    &object(objects, kind, name)["spec"]["template"]["spec"]
}

#[test]
fn the_agent_sees_of_the_node_what_it_needs() {
    let objects = rendered_objects(&[]).unwrap();
    let agent = pod(&objects, "DaemonSet", "culvert-agent");
    let [container] = &agent["containers"].as_array().unwrap()[..] else { panic!("it has one container") };
    assert_eq!(
        [&agent["hostPID"], &agent["hostNetwork"], &agent["hostIPC"]],
        [&json!(true), &json!(true), &Value::Null]
    );
    assert_eq!(agent["dnsPolicy"], "ClusterFirstWithHostNet");
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    let of_the_node =
        agent["volumes"].as_array().unwrap().iter().filter_map(|volume| volume["hostPath"]["path"].as_str());
    assert_eq!(of_the_node.collect::<Vec<_>>(), ["/sys/fs/cgroup", "/sys/fs/bpf", "/run/culvert"]);
    assert_eq!(
        container["volumeMounts"],
        json!([
            { "name": "cgroup", "mountPath": "/sys/fs/cgroup", "readOnly": true },
            { "name": "bpffs", "mountPath": "/sys/fs/bpf", "mountPropagation": "Bidirectional" },
            { "name": "run", "mountPath": "/run/culvert" },
            { "name": "ca", "mountPath": "/var/run/secrets/culvert-ca", "readOnly": true },
        ])
    );
}

#[test]
fn one_agent_at_a_time_has_longer_to_end_than_it_drains() {
    let objects = rendered_objects(&[("agent.drainSeconds", "300")]).unwrap();
    let agent = pod(&objects, "DaemonSet", "culvert-agent");
    assert!(flags(agent).contains(&"--drain=300s".to_owned()));
    assert_eq!(agent["terminationGracePeriodSeconds"], 315);
    let update = &object(&objects, "DaemonSet", "culvert-agent")["spec"]["updateStrategy"]["rollingUpdate"];
    assert_eq!(*update, json!({ "maxSurge": 0, "maxUnavailable": 1 }));
}

fn flags(pod: &Value) -> Vec<String> {
    serde_json::from_value(pod["containers"][0]["args"].clone()).unwrap()
}

#[test]
fn the_authority_has_no_rights_on_its_node() {
    let objects = rendered_objects(&[]).unwrap();
    let authority = pod(&objects, "Deployment", "culvert-ca");
    assert_eq!(authority["securityContext"]["runAsNonRoot"], true);
    assert_eq!(authority["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(
        authority["containers"][0]["securityContext"],
        json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        })
    );
    assert_eq!([&authority["volumes"], &authority["hostNetwork"], &authority["hostPID"]], [&Value::Null; 3]);
}

#[test]
fn an_authority_of_its_own_can_be_drained_if_there_are_two() {
    let budget = |objects: &[Value]| objects.iter().any(|object| object["kind"] == "PodDisruptionBudget");
    assert!(budget(&rendered_objects(&[]).unwrap()));
    assert!(!budget(&rendered_objects(&[("ca.replicas", "1")]).unwrap()));
}

#[test]
fn istiod_takes_the_place_of_the_authority() {
    let address = "istiod.istio-system.svc:15012";
    let objects = rendered_objects(&[("ca.external.address", address)]).unwrap();
    let own: Vec<_> = objects.iter().filter(|object| object["metadata"]["name"] == "culvert-ca").collect();
    assert!(own.is_empty(), "{own:#?}");
    let agent = pod(&objects, "DaemonSet", "culvert-agent");
    assert!(flags(agent).contains(&format!("--ca-address={address}")));
    let sources = &agent["volumes"][3]["projected"]["sources"];
    assert_eq!(sources[0]["serviceAccountToken"]["audience"], "istio-ca");
    assert_eq!(sources[1]["configMap"]["name"], "istio-ca-root-cert");
}

#[test]
fn agents_trust_and_call_the_authority_that_is_installed() {
    let objects = rendered_objects(&[]).unwrap();
    let (agent, authority) =
        (pod(&objects, "DaemonSet", "culvert-agent"), pod(&objects, "Deployment", "culvert-ca"));
    let flags_of_authority = flags(authority);
    let value = |name: &str| {
        let flag = flags_of_authority.iter().find_map(|flag| flag.strip_prefix(&format!("--{name}=")));
        flag.unwrap_or_else(|| panic!("there is no --{name}")).to_owned()
    };
    let host = format!("culvert-ca.{NAMESPACE}.svc");
    assert!(flags(agent).contains(&format!("--ca-address={host}:15012")));
    assert!(value("dns-name").split(',').any(|name| name == host));
    assert_eq!(value("agent-account"), format!("{NAMESPACE}/culvert-agent"));
    let sources = &agent["volumes"][3]["projected"]["sources"];
    assert_eq!(sources[0]["serviceAccountToken"]["audience"], value("audience"));
    assert_eq!(sources[1]["configMap"]["name"], value("config-map"));
    assert_eq!(object(&objects, "Service", "culvert-ca")["spec"]["ports"][0]["port"], 15012);
}

#[test]
fn uninstalling_puts_detach_in_the_place_of_each_agent() {
    let objects = rendered(&[]);
    let patch = detach_patch(pod(&objects, "Job", "culvert-uninstall"));
    assert_eq!(lost(&without_nulls(&patch), &through::<DaemonSet>(&patch)), None);

    let agent = pod(&objects, "DaemonSet", "culvert-agent");
    let patched = &patch["spec"]["template"]["spec"];
    assert_eq!(patched["containers"][0]["name"], agent["containers"][0]["name"]);
    let detach = &patched["initContainers"][0];
    assert_eq!(detach["args"], json!(["detach", "--node=$(NODE_NAME)"]));
    let mounts = agent["containers"][0]["volumeMounts"].as_array().unwrap();
    assert!(mounts.contains(&detach["volumeMounts"][0]), "the same file system has to be mounted");
}

/// What the pod of the uninstallation makes of the agents' `DaemonSet`.
fn detach_patch(job: &Value) -> Value {
    let arguments = job["initContainers"][0]["args"].as_array().unwrap();
    let patch = arguments.iter().find_map(|argument| argument.as_str()?.strip_prefix("--patch=")).unwrap();
    serde_json::from_str(patch).unwrap()
}

/// Without what a patch takes away.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), without_nulls(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

#[test]
fn the_stand_ins_for_istios_resources_serve_what_the_agent_reads() {
    let text = fs::read_to_string(chart::deploy().join("crds.yaml")).unwrap();
    let resources = chart::objects(&text).unwrap();
    for resource in &resources {
        assert_eq!(lost(resource, &typed(resource)), None);
        assert!(
            resource["spec"]["versions"].as_array().unwrap().iter().any(|version| version["name"] == "v1")
        );
    }
    let names: Vec<_> =
        resources.iter().map(|resource| resource["metadata"]["name"].as_str().unwrap()).collect();
    let expected = [
        "peerauthentications.security.istio.io",
        "destinationrules.networking.istio.io",
        "serviceentries.networking.istio.io",
        "workloadentries.networking.istio.io",
    ];
    assert_eq!(names, expected);
}
