//! The contents of the directory, and which of them are in force. It knows no file system.

use std::collections::{BTreeMap, BTreeSet};

use tracing::debug;

use super::{
    documents::{Document, Item, read},
    mesh,
};
use crate::cluster::{
    MeshConfig, Object, ObjectKey, Rejected, Settings, decode,
    mesh::MeshConfigError,
    problem::{Problem, Subject},
};

/// All files that were read, by name.
#[derive(Debug, Default)]
pub(in crate::cluster) struct Folder {
    files: BTreeMap<String, File>,
    /// Where the mesh's settings are looked for; nowhere if none.
    mesh_namespace: Option<String>,
}

/// What the folder says as a whole.
#[derive(Debug, Default)]
pub(in crate::cluster) struct Contents {
    pub(in crate::cluster) objects: BTreeMap<ObjectKey, Object>,
    pub(in crate::cluster) problems: Vec<Problem>,
    /// The mesh's settings, where they are written.
    pub(in crate::cluster) mesh: Option<MeshConfig>,
}

#[derive(Debug, Default)]
struct File {
    text: String,
    mesh: Option<MeshConfig>,
    objects: BTreeMap<ObjectKey, Placed>,
    problems: Vec<Problem>,
}

/// An object and the document that it stands in, or stood in when it last could be read.
#[derive(Clone, Debug)]
struct Placed {
    document: usize,
    object: Object,
}

impl Folder {
    /// One that has the mesh's settings in that namespace.
    pub(super) fn with_mesh_in(namespace: String) -> Self {
        Self { mesh_namespace: Some(namespace), ..Self::default() }
    }

    /// Takes in a file. Of an object that is broken now, or that may hide in a document that cannot be read, what
    /// this file said before stays in force.
    pub(in crate::cluster) fn put(&mut self, name: &str, text: String, settings: &Settings) {
        let file = self.files.entry(name.to_owned()).or_default();
        if file.text != text || !file.problems.is_empty() {
            let reading = Reading::of(name, &text, settings, self.mesh_namespace.as_deref());
            *file = reading.after(file, text);
        }
    }

    /// Takes note that a file cannot be read: what it said before stays in force.
    pub(super) fn put_unreadable(&mut self, name: &str, reason: String) {
        let file = self.files.entry(name.to_owned()).or_default();
        file.problems = vec![problem(name, None, None, "", reason)];
    }

    /// Forgets all files but these.
    pub(super) fn retain(&mut self, names: &BTreeSet<String>) {
        self.files.retain(|name, _| names.contains(name));
    }

    /// What is in force: of two documents for one object the first, by file name and then by place.
    pub(in crate::cluster) fn contents(&self) -> Contents {
        let mut first: BTreeMap<&ObjectKey, (&str, &Placed)> = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, file) in &self.files {
            problems.extend(file.problems.iter().cloned());
            for (key, placed) in &file.objects {
                let (winner, won) = *first.entry(key).or_insert((name, placed));
                if winner != name {
                    problems.push(duplicate(name, placed.document, key, winner, won.document));
                }
            }
        }
        problems.sort();
        let objects = first.into_iter().map(|(key, (_, placed))| (key.clone(), placed.object.clone()));
        let mesh = self.files.values().find_map(|file| file.mesh.clone());
        Contents { objects: objects.collect(), problems, mesh }
    }
}

/// What one file says, by itself.
#[derive(Default)]
struct Reading {
    objects: BTreeMap<ObjectKey, Placed>,
    problems: Vec<Problem>,
    mesh: Option<MeshConfig>,
    /// The mesh's settings are written here but broken.
    mesh_broken: bool,
    /// Objects that are written here but broken.
    broken: BTreeSet<ObjectKey>,
    /// There may be more of them: some document's object could not be told.
    broken_unknown: bool,
}

impl Reading {
    fn of(name: &str, text: &str, settings: &Settings, mesh_namespace: Option<&str>) -> Self {
        let mut reading = Self::default();
        for document in read(name, text) {
            reading.take(name, document, settings, mesh_namespace);
        }
        reading
    }

    fn take(&mut self, name: &str, document: Document, settings: &Settings, mesh_namespace: Option<&str>) {
        match document.items {
            Ok(items) => {
                for item in items {
                    match mesh_namespace.and_then(|it| Some((it, mesh::read(&item.value, it)?))) {
                        Some((namespace, read)) => self.take_mesh(name, document.number, namespace, read),
                        None => self.take_item(name, document.number, &item, settings),
                    }
                }
            }
            Err(reason) => {
                self.broken_unknown = true;
                self.problems.push(problem(name, Some(document.number), None, "", reason));
            }
        }
    }

    fn take_item(&mut self, name: &str, document: usize, item: &Item, settings: &Settings) {
        match decode(&item.value, settings) {
            Ok(Some(object)) => self.take_object(name, document, object),
            Ok(None) => {
                debug!(file = name, document, kind = %item.value["kind"], "of no use to the agent: ignored");
            }
            Err(rejected) => self.take_rejected(name, document, &item.path, rejected),
        }
    }

    fn take_mesh(
        &mut self,
        name: &str,
        document: usize,
        namespace: &str,
        read: Result<MeshConfig, MeshConfigError>,
    ) {
        match read {
            Ok(mesh) => drop(self.mesh.get_or_insert(mesh)),
            Err(error) => {
                self.mesh_broken = true;
                let subject = Some(Subject::MeshConfig { namespace: namespace.to_owned() });
                let problem = problem(name, Some(document), None, "data.mesh", error.to_string());
                self.problems.push(Problem { subject, ..problem });
            }
        }
    }

    fn take_object(&mut self, name: &str, document: usize, object: Object) {
        let key = object.key();
        match self.objects.get(&key) {
            Some(first) => self.problems.push(duplicate(name, document, &key, name, first.document)),
            None => drop(self.objects.insert(key, Placed { document, object })),
        }
    }

    fn take_rejected(&mut self, name: &str, document: usize, path: &str, rejected: Rejected) {
        let field = format!("{path}{}", rejected.field);
        self.problems.push(problem(
            name,
            Some(document),
            rejected.key.clone(),
            &field,
            rejected.reason.to_string(),
        ));
        match rejected.key {
            Some(key) => drop(self.broken.insert(key)),
            None => self.broken_unknown = true,
        }
    }

    fn after(mut self, before: &File, text: String) -> File {
        for (key, placed) in &before.objects {
            if self.broken_unknown || self.broken.contains(key) {
                self.objects.entry(key.clone()).or_insert_with(|| placed.clone());
            }
        }
        let kept = before.mesh.clone().filter(|_| self.mesh_broken || self.broken_unknown);
        File { text, mesh: self.mesh.or(kept), objects: self.objects, problems: self.problems }
    }
}

fn duplicate(name: &str, document: usize, key: &ObjectKey, winner: &str, won: usize) -> Problem {
    let reason =
        format!("this object stands in {winner}, document {won}, already, and that counts: remove one");
    problem(name, Some(document), Some(key.clone()), "metadata.name", reason)
}

fn problem(
    name: &str,
    document: Option<usize>,
    object: Option<ObjectKey>,
    field: &str,
    reason: String,
) -> Problem {
    let subject = object.map(Subject::Object);
    Problem { file: Some(name.to_owned()), document, subject, field: field.to_owned(), reason }
}

#[cfg(test)]
mod tests;
