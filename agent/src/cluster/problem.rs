//! What is wrong with what the cluster says.

use std::{collections::BTreeMap, fmt};

use super::{Kind, ObjectKey};

/// Something that was not taken in. What was in force before is in force still.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Problem {
    /// The file that it stands in; none where it comes from the API server.
    pub file: Option<String>,
    /// The document of that file, counted from 1; none is the whole file.
    pub document: Option<usize>,
    /// What it is about, where so much could be read.
    pub subject: Option<Subject>,
    /// The field, as a path; empty where it is not about one.
    pub field: String,
    /// What is wrong, and what to do about it.
    pub reason: String,
}

/// What a problem is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// An object that decisions are made of.
    Object(ObjectKey),
    /// The `ConfigMap` with the mesh's settings.
    MeshConfig {
        /// Its namespace.
        namespace: String,
    },
}

/// Whose list of problems it is: a new one replaces the old one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reporter {
    /// The directory of manifests as a whole.
    Manifests,
    /// The mesh's settings at the API server.
    MeshConfig,
    /// One object at the API server.
    Object(ObjectKey),
    /// The objects of a kind at the API server that do not even say their names.
    Nameless(Kind),
}

/// All that is wrong now.
#[derive(Debug, Default)]
pub(super) struct Problems(BTreeMap<Reporter, Vec<Problem>>);

impl Problems {
    pub(super) fn all(&self) -> Vec<Problem> {
        self.0.values().flatten().cloned().collect()
    }

    /// Replaces the list of one reporter; returns those that are new.
    pub(super) fn report(&mut self, reporter: Reporter, now: Vec<Problem>) -> Vec<Problem> {
        let before = self.0.remove(&reporter).unwrap_or_default();
        let new = now.iter().filter(|problem| !before.contains(problem)).cloned().collect();
        if !now.is_empty() {
            self.0.insert(reporter, now);
        }
        new
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = self.subject.as_ref().map(ToString::to_string);
        let document = self.document.map(|document| format!("document {document}"));
        let field = Some(self.field.clone()).filter(|field| !field.is_empty());
        let place = [subject, self.file.clone(), document, field];
        write!(f, "{}: {}", place.into_iter().flatten().collect::<Vec<_>>().join(", "), self.reason)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(key) => key.fmt(f),
            Self::MeshConfig { namespace } => write!(f, "ConfigMap {namespace}/istio"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(file: Option<&str>, reason: &str) -> Problem {
        let key = ObjectKey { kind: Kind::Pod, namespace: "ns".into(), name: "p".into() };
        Problem {
            file: file.map(str::to_owned),
            document: file.map(|_| 2),
            subject: Some(Subject::Object(key)),
            field: "status".to_owned(),
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn the_object_is_named_first() {
        assert_eq!(problem(Some("a.yaml"), "odd").to_string(), "Pod ns/p, a.yaml, document 2, status: odd");
        assert_eq!(problem(None, "odd").to_string(), "Pod ns/p, status: odd");
    }

    #[test]
    fn a_reporter_replaces_only_its_own_list() {
        let mut problems = Problems::default();
        let (old, new) = (problem(None, "old"), problem(None, "new"));
        assert_eq!(problems.report(Reporter::Manifests, vec![old.clone()]), std::slice::from_ref(&old));
        assert_eq!(
            problems.report(Reporter::MeshConfig, vec![old.clone(), new.clone()]),
            [old.clone(), new.clone()]
        );
        assert_eq!(
            problems.report(Reporter::MeshConfig, vec![old.clone(), new.clone()]),
            [],
            "known already"
        );
        assert_eq!(problems.report(Reporter::MeshConfig, vec![]), []);
        assert_eq!(problems.all(), [old]);
    }
}
