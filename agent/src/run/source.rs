//! Where the agent learns of the cluster.

use std::sync::Arc;

use anyhow::Result;
use culvert::{
    cluster::{
        Captured, Cluster, Index, MeshConfig, Overrides,
        manifests::ManifestDir,
        watch::{self, KubernetesWatch, WatchOptions},
    },
    identity::Identities,
};

use crate::cli::{AgentOptions, Source};

/// What keeps the model up to date.
pub(super) enum Follower {
    /// A directory.
    Manifests(ManifestDir),
    /// An API server.
    Kubernetes {
        /// What keeps the model up to date.
        watch: Box<KubernetesWatch>,
        /// For what the agent writes.
        client: kube::Client,
    },
}

/// An empty model, and what will fill it.
pub(super) async fn open(options: &AgentOptions) -> Result<(Cluster, Follower)> {
    let overrides = overrides(options);
    let cluster = Cluster::new(Index::new(overrides.settings(&MeshConfig::default())));
    let follower = match &options.source {
        Source::Manifests(directory) => {
            let mut manifests = ManifestDir::open(directory)?.with_mesh(overrides);
            manifests.load(&cluster)?;
            Follower::Manifests(manifests)
        }
        Source::Kubernetes { kubeconfig } => {
            let client = watch::client(kubeconfig.as_deref()).await?;
            let options = WatchOptions { overrides, ..WatchOptions::default() };
            Follower::Kubernetes { watch: Box::new(KubernetesWatch::new(client.clone(), options)), client }
        }
    };
    Ok((cluster, follower))
}

/// Where nobody can write an annotation, the wish counts for the fact.
fn overrides(options: &AgentOptions) -> Overrides {
    Overrides {
        root_namespace: options.root_namespace.clone(),
        trust_domain: options.trust_domain.clone(),
        captured: matches!(options.source, Source::Manifests(_)).then_some(Captured::ByWish),
        ..Overrides::default()
    }
}

impl Follower {
    /// Follows for ever.
    pub(super) async fn run(self, cluster: Cluster) {
        match self {
            Self::Manifests(manifests) => manifests.run(cluster).await,
            Self::Kubernetes { watch, .. } => watch.run(cluster).await,
        }
    }

    /// Where annotations are written; nowhere, if there is no API server.
    pub(super) fn client(&self) -> Option<kube::Client> {
        match self {
            Self::Manifests(_) => None,
            Self::Kubernetes { client, .. } => Some(client.clone()),
        }
    }
}

/// Has certificates judged by the trust domains that the mesh's settings name, as they change.
pub(super) async fn follow_trust_domains(cluster: Cluster, identities: Identities) {
    let mut changes = cluster.changed();
    let mut told = None;
    loop {
        let settings = cluster.read().settings().clone();
        if !told.as_ref().is_some_and(|told| Arc::ptr_eq(told, &settings)) {
            let aliases = settings.trust_domain_aliases.iter();
            let aliases: Vec<_> = aliases.map(|alias| alias.as_str().into()).collect();
            identities.set_trust_domains(&settings.trust_domain, &aliases);
            told = Some(settings);
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}
