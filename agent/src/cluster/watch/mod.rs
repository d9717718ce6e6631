//! The API server as the source of the cluster's state.
//!
//! One task follows one resource: it finds the version that is served, lists it page by page, and watches from there
//! ([`reflector`]). What a list or a change means is for a [`sink`] to say. While the API server is away, the last
//! state serves on.

mod api;
mod backoff;
mod client;
mod fault;
mod mesh_config;
mod objects;
mod options;
mod outage;
mod reflector;
mod resource;
mod sink;
pub(crate) mod wire;

use std::sync::Arc;

use tokio::task::JoinSet;

pub use client::{ClientError, LOG_DIRECTIVE, client};
pub use options::{Timing, WatchOptions};

use super::{Cluster, Kind};
use api::Api;
use mesh_config::MeshSettings;
use objects::Objects;
use outage::Outage;
use reflector::{Reflector, Shared};
use resource::Resource;

/// Follows all that the agent has to know of the cluster.
pub struct KubernetesWatch {
    client: kube::Client,
    options: WatchOptions,
}

impl KubernetesWatch {
    /// Nothing is asked before [`run`](Self::run).
    pub const fn new(client: kube::Client, options: WatchOptions) -> Self {
        Self { client, options }
    }

    /// Keeps this cluster up to date for ever. Dropping it ends everything that it began.
    pub async fn run(self, cluster: Cluster) {
        let namespace = self.options.mesh_config_namespace();
        let mesh = Resource::MeshConfig { namespace: namespace.clone() };
        let resources = Kind::ALL.iter().copied().map(Resource::Kind);
        cluster.progress().expect(resources.clone().chain([mesh.clone()]).map(|resource| resource.source()));
        let shared = Shared {
            api: Api::new(self.client, self.options.timing.clone()),
            cluster: cluster.clone(),
            outage: Arc::new(Outage::default()),
            page_size: self.options.page_size,
        };

        let mut tasks = JoinSet::new();
        for kind in Kind::ALL.iter().copied() {
            let sink = Objects::new(kind, cluster.clone());
            tasks.spawn(Reflector::new(Resource::Kind(kind), sink, shared.clone()).follow());
        }
        let sink = MeshSettings::new(namespace, self.options.overrides, cluster);
        tasks.spawn(Reflector::new(mesh, sink, shared).follow());
        while tasks.join_next().await.is_some() {}
    }
}
