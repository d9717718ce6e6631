//! The resources that the server knows: where they are served, and what their objects must look like.

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    authentication::v1::TokenReview,
    batch::v1::Job,
    coordination::v1::Lease,
    core::v1::{ConfigMap, Event, Namespace, Node, Pod, Secret, Service, ServiceAccount},
    discovery::v1::EndpointSlice,
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    scheduling::v1::PriorityClass,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A resource, such as `pods`.
pub(super) struct Resource {
    /// Empty for the core group.
    pub(super) group: &'static str,
    /// The versions that can be served, the preferred one first.
    pub(super) versions: &'static [&'static str],
    pub(super) plural: &'static str,
    pub(super) kind: &'static str,
    pub(super) namespaced: bool,
    /// Defined by a CRD, which may come and go.
    pub(super) custom: bool,
    /// Has the `status` subresource.
    pub(super) has_status: bool,
    /// What field selectors may name, beside `metadata.name` and `metadata.namespace`.
    pub(super) fields: &'static [&'static str],
    check: fn(&Value) -> Result<(), serde_json::Error>,
}

static RESOURCES: &[Resource] = &[
    core("configmaps", "ConfigMap", parses::<ConfigMap>),
    core("events", "Event", parses::<Event>),
    core("namespaces", "Namespace", parses::<Namespace>).of_cluster().with_status(),
    core("nodes", "Node", parses::<Node>).of_cluster().with_status(),
    core("pods", "Pod", parses::<Pod>).with_status().selected_by(&["spec.nodeName", "status.phase"]),
    core("secrets", "Secret", parses::<Secret>).selected_by(&["type"]),
    core("serviceaccounts", "ServiceAccount", parses::<ServiceAccount>),
    core("services", "Service", parses::<Service>).with_status(),
    v1(
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        parses::<CustomResourceDefinition>,
    )
    .of_cluster()
    .with_status(),
    v1("apps", "daemonsets", "DaemonSet", parses::<DaemonSet>).with_status(),
    v1("apps", "deployments", "Deployment", parses::<Deployment>).with_status(),
    v1("authentication.k8s.io", "tokenreviews", "TokenReview", parses::<TokenReview>).of_cluster(),
    v1("batch", "jobs", "Job", parses::<Job>).with_status(),
    v1("coordination.k8s.io", "leases", "Lease", parses::<Lease>),
    v1("discovery.k8s.io", "endpointslices", "EndpointSlice", parses::<EndpointSlice>),
    v1("networking.k8s.io", "networkpolicies", "NetworkPolicy", parses::<NetworkPolicy>),
    v1("policy", "poddisruptionbudgets", "PodDisruptionBudget", parses::<PodDisruptionBudget>).with_status(),
    v1("rbac.authorization.k8s.io", "clusterroles", "ClusterRole", parses::<ClusterRole>).of_cluster(),
    v1(
        "rbac.authorization.k8s.io",
        "clusterrolebindings",
        "ClusterRoleBinding",
        parses::<ClusterRoleBinding>,
    )
    .of_cluster(),
    v1("rbac.authorization.k8s.io", "roles", "Role", parses::<Role>),
    v1("rbac.authorization.k8s.io", "rolebindings", "RoleBinding", parses::<RoleBinding>),
    v1("scheduling.k8s.io", "priorityclasses", "PriorityClass", parses::<PriorityClass>).of_cluster(),
    custom("security.istio.io", &["v1", "v1beta1"], "peerauthentications", "PeerAuthentication"),
    custom("networking.istio.io", &["v1", "v1beta1", "v1alpha3"], "destinationrules", "DestinationRule"),
    custom("networking.istio.io", &["v1", "v1beta1", "v1alpha3"], "serviceentries", "ServiceEntry"),
    custom("networking.istio.io", &["v1", "v1beta1", "v1alpha3"], "workloadentries", "WorkloadEntry"),
];

type Check = fn(&Value) -> Result<(), serde_json::Error>;

const fn v1(group: &'static str, plural: &'static str, kind: &'static str, check: Check) -> Resource {
    Resource {
        group,
        versions: &["v1"],
        plural,
        kind,
        namespaced: true,
        custom: false,
        has_status: false,
        fields: &[],
        check,
    }
}

const fn core(plural: &'static str, kind: &'static str, check: Check) -> Resource {
    v1("", plural, kind, check)
}

const fn custom(
    group: &'static str,
    versions: &'static [&'static str],
    plural: &'static str,
    kind: &'static str,
) -> Resource {
    Resource { versions, custom: true, ..v1(group, plural, kind, anything) }.with_status()
}

fn parses<T: DeserializeOwned>(object: &Value) -> Result<(), serde_json::Error> {
    T::deserialize(object).map(drop)
}

#[expect(clippy::unnecessary_wraps, reason = "it stands where a check that can fail may stand")]
const fn anything(_: &Value) -> Result<(), serde_json::Error> {
    Ok(())
}

impl Resource {
    const fn of_cluster(self) -> Self {
        Self { namespaced: false, ..self }
    }

    const fn with_status(self) -> Self {
        Self { has_status: true, ..self }
    }

    const fn selected_by(self, fields: &'static [&'static str]) -> Self {
        Self { fields, ..self }
    }

    /// All that there are.
    pub(super) fn all() -> impl Iterator<Item = &'static Self> {
        RESOURCES.iter()
    }

    /// The one that bears a name in its group.
    pub(super) fn find(group: &str, plural: &str) -> Option<&'static Self> {
        Self::all().find(|it| it.group == group && it.plural == plural)
    }

    /// The one that bears a name, which no two groups here share.
    pub(super) fn named(plural: &str) -> &'static Self {
        let found = Self::all().find(|it| it.plural == plural);
        found.unwrap_or_else(|| panic!("the server has no resource {plural}"))
    }

    /// The one that an object belongs to, by its `apiVersion` and `kind`.
    pub(super) fn of(object: &Value) -> Option<&'static Self> {
        let (api_version, kind) = (object["apiVersion"].as_str()?, object["kind"].as_str()?);
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        Self::all().find(|it| it.group == group && it.kind == kind && it.versions.contains(&version))
    }

    /// `apiVersion` of its objects.
    pub(super) fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    /// Its name as messages have it: `deployments.apps`.
    pub(super) fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Whether its objects are questions, which are answered and not kept.
    pub(super) fn is_answered(&self) -> bool {
        self.plural == "tokenreviews"
    }

    /// Says what is wrong with an object's form.
    pub(super) fn check(&self, object: &Value) -> Result<(), serde_json::Error> {
        (self.check)(object)
    }
}

impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        (self.group, self.plural) == (other.group, other.plural)
    }
}

impl std::fmt::Debug for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.qualified())
    }
}
