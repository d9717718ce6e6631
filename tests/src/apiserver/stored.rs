//! An object as the server keeps it: serialised once, for all who list or watch it.

use bytes::{BufMut as _, Bytes, BytesMut};
use serde_json::{Value, json};

use super::{resources::Resource, selector::Labels};

/// One version of an object.
pub(super) struct Stored {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) version: u64,
    pub(super) labels: Labels,
    /// Those of the resource's selectable fields, in its order.
    fields: Vec<(&'static str, String)>,
    /// The object without `apiVersion` and `kind`, which depend on the version that is asked for.
    body: Bytes,
}

impl Stored {
    /// Stamps an object with its version; none if it has no name.
    pub(super) fn new(resource: &'static Resource, mut object: Value, version: u64) -> Option<Self> {
        let top = object.as_object_mut()?;
        top.remove("apiVersion");
        top.remove("kind");
        object["metadata"].as_object()?;
        object["metadata"]["resourceVersion"] = version.to_string().into();
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let name = text("/metadata/name").to_owned();
        let fields = resource.fields.iter().map(|field| {
            let pointer = format!("/{}", field.replace('.', "/"));
            (*field, text(&pointer).to_owned())
        });
        let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
        let labels = labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()));
        (!name.is_empty()).then(|| Self {
            namespace: text("/metadata/namespace").to_owned(),
            uid: text("/metadata/uid").to_owned(),
            version,
            labels: labels.collect(),
            fields: fields.collect(),
            body: object.to_string().into(),
            name,
        })
    }

    /// The value of a selectable field; empty if it is absent.
    pub(super) fn field(&self, name: &str) -> &str {
        match name {
            "metadata.name" => &self.name,
            "metadata.namespace" => &self.namespace,
            _ => self.fields.iter().find(|(field, _)| *field == name).map_or("", |(_, value)| value),
        }
    }

    /// The object, without `apiVersion` and `kind`.
    pub(super) fn value(&self) -> Value {
        serde_json::from_slice(&self.body).expect("what was written from a value can be read")
    }

    /// The object without `apiVersion` and `kind`, as items of a built-in resource's list are.
    pub(super) fn write_bare(&self, out: &mut BytesMut) {
        out.put_slice(&self.body);
    }

    /// The whole object.
    pub(super) fn write(&self, head: &Head, out: &mut BytesMut) {
        out.put_slice(&head.0);
        out.put_slice(&self.body[1..]);
    }

    /// The whole object.
    pub(super) fn bytes(&self, head: &Head) -> Bytes {
        let mut out = BytesMut::with_capacity(head.0.len() + self.body.len());
        self.write(head, &mut out);
        out.freeze()
    }
}

/// The beginning of every object of a resource in one version. Objects always have `metadata`, so a comma follows.
#[derive(Clone)]
pub(super) struct Head(Vec<u8>);

impl Head {
    pub(super) fn new(resource: &Resource, version: &str) -> Self {
        let head = json!({ "apiVersion": resource.api_version(version), "kind": resource.kind }).to_string();
        Self([&head.as_bytes()[..head.len() - 1], b","].concat())
    }
}
