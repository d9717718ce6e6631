//! Writes: what an object must be to be taken, and what the server itself says of it.

use std::{sync::Arc, time::SystemTime};

use k8s_openapi::ByteString;
use serde_json::{Map, Value, json};

use super::{
    patch::{Patch, three_way},
    resources::Resource,
    route::Subresource,
    status::{ApiError, Reason},
    store::Store,
    stored::Stored,
};

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Author {
    /// A client, for whom the rules of the API hold.
    Client,
    /// The test, which may also say what clients may not: a UID, a time of creation, a status.
    Test,
}

/// Which object, or which part of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address<'a> {
    pub(super) resource: &'static Resource,
    /// Empty for what lives in none.
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) subresource: Option<Subresource>,
}

/// What must be true of an object for it to be deleted.
#[derive(Clone, Debug, Default)]
pub(super) struct Preconditions {
    pub(super) uid: Option<String>,
    pub(super) version: Option<String>,
}

/// One write.
pub(super) struct Writer<'a> {
    pub(super) store: &'a mut Store,
    pub(super) now: SystemTime,
    pub(super) author: Author,
}

type Written = Result<Arc<Stored>, ApiError>;

impl Writer<'_> {
    /// Adds an object.
    pub(super) fn create(
        &mut self,
        resource: &'static Resource,
        namespace: &str,
        mut object: Value,
    ) -> Written {
        admit(resource, namespace, &mut object)?;
        let name = self.name(resource, &mut object)?;
        let namespaces = Resource::named("namespaces");
        if self.is_client() && resource.namespaced && self.store.get(namespaces, "", namespace).is_none() {
            return Err(ApiError::not_found(namespaces, namespace));
        }
        if self.store.get(resource, namespace, &name).is_some() {
            return Err(ApiError::already_exists(resource, &name));
        }
        if self.is_client() {
            forget_what_the_server_says(resource, &mut object)?;
        }
        self.say_what_the_server_says(&mut object);
        self.set(resource, object)
    }

    /// Replaces an object.
    pub(super) fn update(&mut self, at: Address<'_>, mut object: Value) -> Written {
        let current = self.current(at)?;
        admit(at.resource, at.namespace, &mut object)?;
        if object["metadata"]["name"] != at.name {
            return Err(ApiError::bad_request("the name of the object does not match the name on the URL"));
        }
        let given = Preconditions::of(&object["metadata"]);
        let needs_version = at.resource.custom || at.resource.plural == "leases";
        if self.is_client() && needs_version && given.version.is_none() {
            let why = "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update";
            return Err(ApiError::invalid(at.resource, at.name, why));
        }
        given.check(at, &current)?;
        self.replace(at, &current, object)
    }

    /// Changes a part of an object; what is applied may be a whole new one.
    pub(super) fn patch(&mut self, at: Address<'_>, patch: &Patch, manager: &str) -> Written {
        let current = match (self.current(at), patch) {
            (Ok(current), _) => current,
            (Err(_), Patch::Apply(object)) if at.subresource.is_none() => {
                let mut new = object.clone();
                admit(at.resource, at.namespace, &mut new)?;
                new["metadata"]["name"] = at.name.into();
                let created = self.create(at.resource, at.namespace, new)?;
                self.store.applied.insert(&created.uid, manager, object.clone());
                return Ok(created);
            }
            (Err(error), _) => return Err(error),
        };
        let object = self.patched(at, &current, patch, manager)?;
        let written = self.replace(at, &current, object)?;
        if let Patch::Apply(object) = patch {
            self.store.applied.insert(&written.uid, manager, object.clone());
        }
        Ok(written)
    }

    /// Removes an object, and with a namespace all that is in it.
    pub(super) fn delete(&mut self, at: Address<'_>, given: &Preconditions) -> Written {
        let current = self.current(at)?;
        given.check(at, &current)?;
        if at.resource.plural == "namespaces" {
            for resource in Resource::all().filter(|it| it.namespaced) {
                for object in self.store.all(resource, Some(at.name)) {
                    self.store.remove(resource, &object.namespace, &object.name);
                }
            }
        }
        self.store.applied.forget(&current.uid);
        self.store
            .remove(at.resource, at.namespace, at.name)
            .ok_or_else(|| ApiError::not_found(at.resource, at.name))
    }

    fn is_client(&self) -> bool {
        self.author == Author::Client
    }

    /// An object as it is.
    pub(super) fn current(&self, at: Address<'_>) -> Written {
        let found = self.store.get(at.resource, at.namespace, at.name);
        found.ok_or_else(|| ApiError::not_found(at.resource, at.name))
    }

    fn name(&self, resource: &'static Resource, object: &mut Value) -> Result<String, ApiError> {
        let metadata = &mut object["metadata"];
        if metadata["name"].as_str().is_none_or(str::is_empty) {
            let Some(prefix) = metadata["generateName"].as_str() else {
                return Err(ApiError::invalid(resource, "", "name or generateName is required"));
            };
            metadata["name"] = format!("{prefix}{:05x}", self.store.version() + 1).into();
        }
        Ok(metadata["name"].as_str().unwrap_or_default().to_owned())
    }

    fn say_what_the_server_says(&self, object: &mut Value) {
        let spec = !object["spec"].is_null();
        let uid = format!("00000000-0000-4000-8000-{:012x}", self.store.version() + 1);
        let metadata = &mut object["metadata"];
        if metadata["uid"].is_null() {
            metadata["uid"] = uid.into();
        }
        if metadata["creationTimestamp"].is_null() {
            metadata["creationTimestamp"] = humantime::format_rfc3339_seconds(self.now).to_string().into();
        }
        if spec {
            metadata["generation"] = 1.into();
        }
    }

    fn patched(
        &self,
        at: Address<'_>,
        current: &Stored,
        patch: &Patch,
        manager: &str,
    ) -> Result<Value, ApiError> {
        let mut object = current.value();
        match patch {
            Patch::Merge(patch) => json_patch::merge(&mut object, patch),
            Patch::Json(patch) => json_patch::patch(&mut object, patch)
                .map_err(|error| ApiError::invalid(at.resource, at.name, &error.to_string()))?,
            Patch::Apply(wanted) => {
                let before = self.store.applied.of(&current.uid, manager);
                three_way(before, wanted, &mut object);
            }
        }
        admit(at.resource, at.namespace, &mut object)?;
        let given = Preconditions::of(&object["metadata"]);
        if given.uid.as_ref() != Some(&current.uid) {
            // The patched object is validated like any other: a UID that differs is a field that must not change
            // (k8s.io/apimachinery, ValidateObjectMetaAccessorUpdate).
            let uid = given.uid.as_deref().unwrap_or_default();
            return Err(ApiError::immutable(at.resource, at.name, "metadata.uid", uid));
        }
        given.check(at, current)?;
        Ok(object)
    }

    fn replace(&mut self, at: Address<'_>, current: &Arc<Stored>, new: Value) -> Written {
        let old = current.value();
        let mut new = match at.subresource {
            Some(_) => with_new_status(at.resource, old.clone(), &new),
            None if self.is_client() && at.resource.has_status => with_old_status(&old, new),
            None => new,
        };
        fold_string_data(at.resource, &mut new);
        for field in ["uid", "creationTimestamp", "generation", "resourceVersion"] {
            put(&mut new["metadata"], field, &old["metadata"][field]);
        }
        if new == old {
            return Ok(Arc::clone(current));
        }
        if new["spec"] != old["spec"] {
            new["metadata"]["generation"] = (old["metadata"]["generation"].as_u64().unwrap_or(0) + 1).into();
        }
        self.set(at.resource, new)
    }

    fn set(&mut self, resource: &'static Resource, mut object: Value) -> Written {
        fold_string_data(resource, &mut object);
        resource.check(&object).map_err(|error| {
            ApiError::bad_request(format!("{} cannot be handled as one: {error}", resource.kind))
        })?;
        let written = self.store.set(resource, object);
        written
            .ok_or_else(|| ApiError::new(Reason::InternalError, "an object without a name was let through"))
    }
}

impl Preconditions {
    /// Those that an object's metadata, or the options of a deletion, name.
    pub(super) fn of(value: &Value) -> Self {
        let text = |field: &str| value[field].as_str().filter(|it| !it.is_empty()).map(str::to_owned);
        Self { uid: text("uid"), version: text("resourceVersion").filter(|it| it != "0") }
    }

    fn check(&self, at: Address<'_>, current: &Stored) -> Result<(), ApiError> {
        let conflict = |why: &str| Err(ApiError::conflict(at.resource, at.name, why));
        match self {
            Self { uid: Some(uid), .. } if *uid != current.uid => conflict(&format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                current.uid
            )),
            Self { version: Some(version), .. } if *version != current.version.to_string() => conflict(
                "the object has been modified; please apply your changes to the latest version and try again",
            ),
            _ => Ok(()),
        }
    }
}

/// Checks that an object is what its address says, and says so in it. `apiVersion` and `kind` are the address's.
fn admit(resource: &'static Resource, namespace: &str, object: &mut Value) -> Result<(), ApiError> {
    let is_of_kind = object["kind"].is_null() || Resource::of(object) == Some(resource);
    let Some(fields) = object.as_object_mut().filter(|_| is_of_kind) else {
        return Err(ApiError::bad_request(format!(
            "expected a {}, found {} of {}",
            resource.kind, object["kind"], object["apiVersion"]
        )));
    };
    fields.remove("apiVersion");
    fields.remove("kind");
    let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
    let Some(metadata) = metadata.as_object_mut() else {
        return Err(ApiError::bad_request("expected metadata to be an object"));
    };
    metadata.remove("managedFields");
    if resource.namespaced {
        let found = metadata.entry("namespace").or_insert_with(|| namespace.into());
        if found != namespace {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    }
    Ok(())
}

fn forget_what_the_server_says(resource: &Resource, object: &mut Value) -> Result<(), ApiError> {
    let metadata = &mut object["metadata"];
    if metadata["resourceVersion"].as_str().is_some_and(|version| !version.is_empty()) {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    for field in ["uid", "creationTimestamp", "generation"] {
        put(metadata, field, &Value::Null);
    }
    if resource.has_status {
        let status = match resource.plural {
            "pods" => json!({ "phase": "Pending" }),
            "namespaces" => json!({ "phase": "Active" }),
            _ => Value::Null,
        };
        put(object, "status", &status);
    }
    Ok(())
}

/// A pod's `status` also takes labels and annotations (kubernetes `pkg/registry/core/pod/strategy.go`,
/// `podStatusStrategy`); that of others takes nothing else.
fn with_new_status(resource: &Resource, mut old: Value, new: &Value) -> Value {
    put(&mut old, "status", &new["status"]);
    if resource.plural == "pods" {
        for field in ["labels", "annotations", "finalizers"] {
            put(&mut old["metadata"], field, &new["metadata"][field]);
        }
    }
    old
}

fn with_old_status(old: &Value, mut new: Value) -> Value {
    put(&mut new, "status", &old["status"]);
    new
}

/// Sets a field, or removes it where there is nothing to set.
fn put(object: &mut Value, field: &str, value: &Value) {
    let Some(object) = object.as_object_mut() else { return };
    if value.is_null() {
        object.remove(field);
    } else {
        object.insert(field.to_owned(), value.clone());
    }
}

/// A Secret's `stringData` is written only: it becomes `data`.
fn fold_string_data(resource: &Resource, object: &mut Value) {
    if resource.plural != "secrets" {
        return;
    }
    let Some(Value::Object(plain)) = object.as_object_mut().and_then(|it| it.remove("stringData")) else {
        return;
    };
    if !object["data"].is_object() {
        object["data"] = Value::Object(Map::new());
    }
    for (key, text) in plain {
        let bytes = ByteString(text.as_str().unwrap_or_default().as_bytes().to_vec());
        object["data"][key] = serde_json::to_value(bytes).unwrap_or_default();
    }
}
