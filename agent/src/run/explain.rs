//! `culvert explain`: the answer of an agent, or of a directory of manifests.

use std::path::Path;

use culvert::{
    cluster::{Captured, Cluster, Index, MeshConfig, Overrides, Problem, Unanswerable, manifests},
    explain::{self, Explanation, Question},
    status::{self, AskError},
};

use crate::cli::{ExplainFormat, ExplainOptions, ExplainSource};

/// There is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExplainError {
    /// No agent answers.
    #[error(transparent)]
    NoAgent(#[from] AskError),
    /// What was asked has no answer.
    #[error("{0}")]
    Unanswerable(String),
}

impl From<Unanswerable> for ExplainError {
    fn from(reason: Unanswerable) -> Self {
        Self::Unanswerable(reason.to_string())
    }
}

/// The answer as it is to be printed, and what was not taken in before it was found.
pub(crate) fn explain(options: &ExplainOptions) -> Result<(String, Vec<Problem>), ExplainError> {
    let (explanation, problems) = match &options.source {
        ExplainSource::Agent(socket) => {
            let answer = status::ask_to_explain(socket, &options.question)?;
            (answer.map_err(ExplainError::Unanswerable)?, Vec::new())
        }
        ExplainSource::Manifests { directory, root_namespace } => {
            by_manifests(directory, root_namespace.clone(), &options.question)?
        }
    };
    let written = match options.format {
        ExplainFormat::Text => explain::text::write(&explanation),
        ExplainFormat::Json => explanation.json(),
    };
    Ok((written, problems))
}

/// Where nobody can write an annotation, the wish counts for the fact.
fn by_manifests(
    directory: &Path,
    root_namespace: Option<String>,
    question: &Question,
) -> Result<(Explanation, Vec<Problem>), ExplainError> {
    let overrides = Overrides { root_namespace, captured: Some(Captured::ByWish), ..Overrides::default() };
    let cluster = Cluster::new(Index::new(overrides.settings(&MeshConfig::default())));
    let unreadable = |error: manifests::ManifestDirError| ExplainError::Unanswerable(error.to_string());
    let opened = manifests::ManifestDir::open(directory).map(|it| it.with_mesh(overrides));
    opened.and_then(|mut it| it.load(&cluster)).map_err(unreadable)?;
    let explanation = explain::explain(&cluster.read(), question, |_| None)?;
    Ok((explanation, cluster.problems()))
}
