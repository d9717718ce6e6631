//! What the server says of itself.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{resources::Resource, store::Store};

/// The document at a path that is not about objects; none if there is none.
pub(super) fn document(store: &Store, path: &str) -> Option<Value> {
    let parts: Vec<_> = path.trim_matches('/').split('/').collect();
    match *parts.as_slice() {
        ["version"] => Some(version()),
        ["api"] => Some(json!({ "kind": "APIVersions", "versions": ["v1"] })),
        ["api", version] => resources(store, "", version),
        ["apis"] => Some(groups(store)),
        ["apis", name] => group(store, name),
        ["apis", group, version] => resources(store, group, version),
        _ => None,
    }
}

fn version() -> Value {
    json!({
        "major": "1",
        "minor": "35",
        "gitVersion": "v1.35.0-test",
        "gitCommit": "0000000000000000000000000000000000000000",
        "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z",
        "goVersion": "go1.25.0",
        "compiler": "gc",
        "platform": "linux/amd64",
    })
}

fn groups(store: &Store) -> Value {
    let names: BTreeSet<_> = Resource::all().map(|it| it.group).filter(|name| !name.is_empty()).collect();
    let groups: Vec<_> = names.into_iter().filter_map(|name| group(store, name)).collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

fn group(store: &Store, name: &str) -> Option<Value> {
    let mut versions: Vec<&str> = Vec::new();
    for resource in Resource::all().filter(|it| it.group == name && !name.is_empty()) {
        let more = store.served(resource).iter().filter(|it| !versions.contains(it));
        let more: Vec<_> = more.copied().collect();
        versions.extend(more);
    }
    let versions: Vec<_> = versions
        .into_iter()
        .map(|version| json!({ "groupVersion": format!("{name}/{version}"), "version": version }))
        .collect();
    let preferred = versions.first()?.clone();
    Some(json!({
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": name,
        "versions": versions,
        "preferredVersion": preferred,
    }))
}

fn resources(store: &Store, group: &str, version: &str) -> Option<Value> {
    let served = Resource::all().filter(|it| it.group == group && store.served(it).contains(&version));
    let resources: Vec<_> = served.flat_map(entries).collect();
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    (!resources.is_empty()).then(|| {
        json!({
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": group_version,
            "resources": resources,
        })
    })
}

fn entries(resource: &'static Resource) -> Vec<Value> {
    let verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    let verbs = if resource.is_answered() { &verbs[..1] } else { &verbs };
    let entry = |suffix: &str, verbs: &[&str]| {
        json!({
            "name": format!("{}{suffix}", resource.plural),
            "singularName": if suffix.is_empty() { resource.kind.to_lowercase() } else { String::new() },
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": verbs,
        })
    };
    let mut entries = vec![entry("", verbs)];
    if resource.has_status {
        entries.push(entry("/status", &["get", "patch", "update"]));
    }
    entries
}
