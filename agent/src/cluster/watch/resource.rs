//! What is followed, and where it is to be had.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroup, APIResourceList};
use kube::core::{DynamicObject, Resource as _};

use super::{api::Api, fault::Fault, mesh_config};
use crate::cluster::{
    Kind,
    sources::{Source, api_resource},
};

/// Something that the API server has.
#[derive(Clone, Debug)]
pub(super) enum Resource {
    /// All objects of a kind.
    Kind(Kind),
    /// The `ConfigMap` with the mesh's settings.
    MeshConfig { namespace: String },
}

impl Resource {
    pub(super) const fn source(&self) -> Source {
        match self {
            Self::Kind(kind) => Source::Kind(*kind),
            Self::MeshConfig { .. } => Source::MeshConfig,
        }
    }

    /// What narrows it down.
    pub(super) fn field_selector(&self) -> Option<String> {
        match self {
            Self::Kind(_) => None,
            Self::MeshConfig { .. } => Some(format!("metadata.name={}", mesh_config::NAME)),
        }
    }

    /// Its path, in the best version that is served.
    pub(super) async fn discover(&self, api: &Api) -> Result<String, Fault> {
        match self {
            Self::Kind(kind) if kind.group().is_empty() => Ok(path(*kind, kind.versions()[0])),
            Self::Kind(kind) => Ok(path(*kind, served_version(*kind, api).await?)),
            Self::MeshConfig { namespace } => Ok(format!("/api/v1/namespaces/{namespace}/configmaps")),
        }
    }
}

fn path(kind: Kind, version: &str) -> String {
    DynamicObject::url_path(&api_resource(kind, version), None)
}

/// A group may serve a version of one of its resources and not of another.
async fn served_version(kind: Kind, api: &Api) -> Result<&'static str, Fault> {
    let group: APIGroup = api.get(&format!("/apis/{}", kind.group())).await?;
    for version in kind.versions() {
        if group.versions.iter().any(|served| served.version == *version)
            && is_served(kind, version, api).await?
        {
            return Ok(version);
        }
    }
    Err(Fault::NotServed)
}

async fn is_served(kind: Kind, version: &str, api: &Api) -> Result<bool, Fault> {
    let plural = api_resource(kind, version).plural;
    match api.get::<APIResourceList>(&format!("/apis/{}/{version}", kind.group())).await {
        Ok(served) => Ok(served.resources.iter().any(|resource| resource.name == plural)),
        Err(Fault::NotServed) => Ok(false),
        Err(fault) => Err(fault),
    }
}
