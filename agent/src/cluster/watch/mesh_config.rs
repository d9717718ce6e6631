//! From Istio's `ConfigMap` to the settings.

use serde::Deserialize;
use serde_json::value::RawValue;
use tracing::{info, warn};

use super::{
    sink::Sink,
    wire::{self, Change},
};
use crate::cluster::{
    Cluster, MeshConfig, Overrides, Problem, Subject, mesh::MeshConfigError, problem::Reporter,
    sources::Source,
};

/// Feeds the mesh's settings.
#[derive(Debug)]
pub(super) struct MeshSettings {
    namespace: String,
    overrides: Overrides,
    cluster: Cluster,
}

/// The name of the `ConfigMap`. A revision of Istio that is not the default one has another; settings that differ
/// between revisions of one mesh are not followed.
pub(super) const NAME: &str = "istio";

#[derive(Deserialize)]
struct ConfigMap {
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    mesh: Option<String>,
}

impl MeshSettings {
    pub(super) const fn new(namespace: String, overrides: Overrides, cluster: Cluster) -> Self {
        Self { namespace, overrides, cluster }
    }

    /// What a `ConfigMap` says, if it is the one.
    fn read(object: &RawValue) -> Option<Result<MeshConfig, MeshConfigError>> {
        wire::name(object).filter(|name| name.name == NAME)?;
        let config: Result<ConfigMap, _> = serde_json::from_str(object.get());
        let config = config.map_err(|error| MeshConfigError::Unreadable(error.to_string()));
        Some(config.and_then(|config| {
            let mesh = config.data.and_then(|data| data.mesh);
            mesh.map_or_else(|| Ok(MeshConfig::default()), |yaml| MeshConfig::parse(&yaml))
        }))
    }

    /// None is no `ConfigMap`: the defaults. A broken one changes nothing that was in force.
    fn take(&self, read: Option<Result<MeshConfig, MeshConfigError>>) {
        self.cluster.progress().count(Source::MeshConfig, usize::from(read.is_some()));
        let problem = match read.unwrap_or_else(|| Ok(MeshConfig::default())) {
            Ok(config) => {
                self.put_in_force(&config);
                None
            }
            Err(error) => Some(self.problem(&error)),
        };
        for problem in self.cluster.report(Reporter::MeshConfig, problem.into_iter().collect()) {
            warn!(%problem, "mesh settings not taken in; what was in force still is");
        }
    }

    fn put_in_force(&self, config: &MeshConfig) {
        let settings = self.overrides.settings(config);
        if **self.cluster.read().settings() != settings {
            info!(?settings, "the mesh's settings changed");
            self.cluster.update(|index| index.set_settings(settings));
        }
    }

    fn problem(&self, error: &MeshConfigError) -> Problem {
        Problem {
            file: None,
            document: None,
            subject: Some(Subject::MeshConfig { namespace: self.namespace.clone() }),
            field: "data.mesh".to_owned(),
            reason: error.to_string(),
        }
    }
}

impl Sink for MeshSettings {
    type Listing = Option<Result<MeshConfig, MeshConfigError>>;

    fn page(&self, listing: &mut Self::Listing, items: &[&RawValue]) {
        if let Some(read) = items.iter().find_map(|item| Self::read(item)) {
            *listing = Some(read);
        }
    }

    fn complete(&mut self, listing: Self::Listing) {
        self.take(listing);
    }

    fn change(&mut self, changes: &[Change<'_>]) {
        for change in changes.iter().filter(|change| change.name.name == NAME) {
            self.take(if change.gone { None } else { Self::read(change.object) });
        }
    }
}
