//! What the Helm chart renders: objects of Kubernetes as Kubernetes knows them, with no more rights and mounts than it
//! takes.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;

use culvert_testbed::chart::{self, Chart, NAMESPACE, rendered_objects};
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
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

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
    let job = pod(&objects, "Job", "culvert-uninstall");
    let arguments = job["initContainers"][0]["args"].as_array().unwrap();
    let patch = arguments.iter().find_map(|argument| argument.as_str()?.strip_prefix("--patch=")).unwrap();
    let patch: Value = serde_json::from_str(patch).unwrap();
    assert_eq!(lost(&without_nulls(&patch), &through::<DaemonSet>(&patch)), None);

    let agent = pod(&objects, "DaemonSet", "culvert-agent");
    let patched = &patch["spec"]["template"]["spec"];
    assert_eq!(patched["containers"][0]["name"], agent["containers"][0]["name"]);
    let detach = &patched["initContainers"][0];
    assert_eq!(detach["args"], json!(["detach", "--node=$(NODE_NAME)"]));
    let mounts = agent["containers"][0]["volumeMounts"].as_array().unwrap();
    assert!(mounts.contains(&detach["volumeMounts"][0]), "the same file system has to be mounted");
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
