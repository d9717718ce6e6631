//! The mesh's settings among the manifests: Istio's own `ConfigMap`.

use serde_json::Value;

use crate::cluster::{MeshConfig, mesh::MeshConfigError};

/// The name of the `ConfigMap`.
const NAME: &str = "istio";

/// What a document says of the mesh, if it is that `ConfigMap` in that namespace.
pub(super) fn read(document: &Value, namespace: &str) -> Option<Result<MeshConfig, MeshConfigError>> {
    let metadata = &document["metadata"];
    let is_it = document["apiVersion"] == "v1"
        && document["kind"] == "ConfigMap"
        && metadata["name"] == NAME
        && metadata["namespace"] == namespace;
    is_it.then(|| {
        document["data"]["mesh"].as_str().map_or_else(|| Ok(MeshConfig::default()), MeshConfig::parse)
    })
}
