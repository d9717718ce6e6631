//! Who may do what: everything, or what RBAC objects in the store grant.

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use serde::de::DeserializeOwned;

use super::{
    ApiServer,
    faults::Target,
    resources::Resource,
    route::Call,
    selector::Selector,
    status::{ApiError, Reason},
    store::Store,
    tokens::User,
};

/// What is asked of authorization.
#[derive(Default)]
pub(super) struct Access {
    /// Grants what Roles grant, and nothing else.
    by_roles: bool,
    denied: Vec<Target>,
}

impl ApiServer {
    /// Refuses from here on what no role in the store grants; before, everybody may do everything.
    pub fn enforce_rbac(&self) {
        self.shared.access().by_roles = true;
    }

    /// Refuses some requests, whatever is granted, but for those of [`admin_token`](Self::admin_token).
    pub fn deny(&self, target: impl Into<Target>) {
        self.shared.access().denied.push(target.into());
    }

    /// Takes back all that [`deny`](Self::deny) has said.
    pub fn deny_nothing(&self) {
        self.shared.access().denied.clear();
    }
}

impl Access {
    /// Refuses a call that its user may not make.
    pub(super) fn check(&self, store: &Store, user: &User, call: &Call) -> Result<(), ApiError> {
        let is_master = user.groups.iter().any(|group| group == "system:masters");
        let is_denied = self.denied.iter().any(|target| target.is(call));
        if is_master || (!is_denied && (!self.by_roles || is_granted(store, user, call))) {
            return Ok(());
        }
        Err(refusal(user, call))
    }
}

/// In the words of the API server's `responsewriters.Forbidden`.
fn refusal(user: &User, call: &Call) -> ApiError {
    let scope = match &call.namespace {
        Some(namespace) => format!("in the namespace \"{namespace}\""),
        None => "at the cluster scope".to_owned(),
    };
    let name = call.name.as_ref().map_or(String::new(), |name| format!(" {name:?}"));
    let message = format!(
        "{}{name} is forbidden: User {:?} cannot {} resource {:?} in API group {:?} {scope}",
        call.resource.qualified(),
        user.name,
        call.verb.as_str(),
        resource_name(call),
        call.resource.group
    );
    ApiError::new(Reason::Forbidden, message)
}

/// `pods`, `pods/status`.
pub(super) fn resource_name(call: &Call) -> String {
    match call.subresource {
        Some(subresource) => format!("{}/{}", call.resource.plural, subresource.as_str()),
        None => call.resource.plural.to_owned(),
    }
}

fn is_granted(store: &Store, user: &User, call: &Call) -> bool {
    let everywhere = read::<ClusterRoleBinding>(store, "clusterrolebindings", None);
    let everywhere = everywhere.into_iter().map(|it| (it.role_ref, it.subjects, None));
    let bindings = call.namespace.as_deref().map(|namespace| {
        let bindings = read::<RoleBinding>(store, "rolebindings", Some(namespace));
        bindings.into_iter().map(|it| (it.role_ref, it.subjects, it.metadata.namespace))
    });
    everywhere.chain(bindings.into_iter().flatten()).any(|(role, subjects, namespace)| {
        let home = namespace.as_deref();
        subjects.iter().flatten().any(|subject| is_user(subject, home, user))
            && rules(store, &role, home).iter().any(|rule| grants(rule, call))
    })
}

fn is_user(subject: &Subject, home: Option<&str>, user: &User) -> bool {
    match subject.kind.as_str() {
        "ServiceAccount" => {
            let namespace = subject.namespace.as_deref().or(home).unwrap_or_default();
            user.name == format!("system:serviceaccount:{namespace}:{}", subject.name)
        }
        "Group" => user.groups.contains(&subject.name),
        _ => user.name == subject.name,
    }
}

fn rules(store: &Store, role: &RoleRef, home: Option<&str>) -> Vec<PolicyRule> {
    let found = match (role.kind.as_str(), home) {
        ("ClusterRole", _) => {
            read_one::<ClusterRole>(store, "clusterroles", "", &role.name).and_then(|it| it.rules)
        }
        ("Role", Some(home)) => read_one::<Role>(store, "roles", home, &role.name).and_then(|it| it.rules),
        _ => None,
    };
    found.unwrap_or_default()
}

fn grants(rule: &PolicyRule, call: &Call) -> bool {
    let has = |list: &Option<Vec<String>>, wanted: &str| {
        list.iter().flatten().any(|entry| entry == "*" || entry == wanted)
    };
    rule.verbs.iter().any(|verb| verb == "*" || verb == call.verb.as_str())
        && has(&rule.api_groups, call.resource.group)
        && has(&rule.resources, &resource_name(call))
        && names_it(rule.resource_names.as_deref().unwrap_or_default(), call)
}

/// A list or watch names its object by a field selector; what is created has no name yet.
fn names_it(names: &[String], call: &Call) -> bool {
    let query = &call.query;
    let selector = Selector::parse(call.resource, &query.label_selector, &query.field_selector);
    let selected = selector.unwrap_or_default();
    let name = call.name.as_deref().or_else(|| selected.single_name());
    names.is_empty() || name.is_some_and(|name| names.iter().any(|entry| entry == name))
}

fn read<T: DeserializeOwned>(store: &Store, plural: &str, namespace: Option<&str>) -> Vec<T> {
    let objects = store.all(Resource::named(plural), namespace);
    objects.iter().filter_map(|object| serde_json::from_value(object.value()).ok()).collect()
}

fn read_one<T: DeserializeOwned>(store: &Store, plural: &str, namespace: &str, name: &str) -> Option<T> {
    serde_json::from_value(store.get(Resource::named(plural), namespace, name)?.value()).ok()
}
