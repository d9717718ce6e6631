//! The directory itself: reading it, and following its changes.

use std::{
    collections::BTreeSet,
    fs, io,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

use super::folder::{Contents, Folder};
use crate::cluster::{
    Cluster, Index, MeshConfig, ObjectKey, Overrides, Problem, WatchState, problem::Reporter, sources::Source,
};

/// A directory of manifests: files named `*.yaml`, `*.yml` or `*.json`, subdirectories left aside.
#[derive(Debug)]
pub struct ManifestDir {
    path: PathBuf,
    folder: Folder,
    applied: BTreeSet<ObjectKey>,
    watcher: RecommendedWatcher,
    watched: Option<Inode>,
    changed: Arc<Notify>,
    /// What is above the mesh's settings that the directory has; none leaves the settings as they are.
    overrides: Option<Overrides>,
}

/// The directory is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ManifestDirError {
    /// It cannot be listed.
    #[error("cannot read the manifest directory {path}: {source}; it has to exist and be readable", path = .path.display())]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// Its changes cannot be followed.
    #[error("cannot watch the manifest directory {path}: {source}; see fs.inotify.max_user_watches and max_user_instances", path = .path.display())]
    Unwatchable {
        /// The directory.
        path: PathBuf,
        /// What the watcher says.
        source: notify::Error,
    },
}

/// Device and number of a directory: another one may take its name.
type Inode = (u64, u64);

/// How long the directory has to be quiet before it is read: several files are often written at once.
const QUIET: Duration = Duration::from_millis(50);

/// How long a directory that is never quiet goes unread.
const PATIENCE: Duration = Duration::from_millis(300);

/// How often a directory that went away is looked for.
const RETRY: Duration = Duration::from_secs(1);

/// The largest file that is read, in bytes: more than a thousand objects of the largest size that Kubernetes stores.
const MAX_FILE: u64 = 64 << 20;

impl ManifestDir {
    /// Begins to watch a directory. Nothing is read yet, so nothing that changes from now on is missed.
    pub fn open(path: &Path) -> Result<Self, ManifestDirError> {
        let changed = Arc::new(Notify::new());
        let signal = changed.clone();
        let unwatchable = |source| ManifestDirError::Unwatchable { path: path.to_owned(), source };
        let on_event = move |event: notify::Result<Event>| {
            if event.map_or(true, |event| is_change(event.kind)) {
                signal.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(on_event).map_err(unwatchable)?;
        let (folder, applied) = (Folder::default(), BTreeSet::new());
        let mut directory =
            Self { path: path.to_owned(), folder, applied, watcher, watched: None, changed, overrides: None };
        directory.watch()?;
        Ok(directory)
    }

    /// Follows the mesh's settings as well: Istio's `ConfigMap`, where the directory has it.
    #[must_use]
    pub fn with_mesh(self, overrides: Overrides) -> Self {
        let namespace = overrides.settings(&MeshConfig::default()).root_namespace;
        Self { folder: Folder::with_mesh_in(namespace), overrides: Some(overrides), ..self }
    }

    /// Brings the cluster up to what the directory says now. To be called once before anything else runs.
    pub fn load(&mut self, cluster: &Cluster) -> Result<(), ManifestDirError> {
        self.watch()?;
        if cluster.sources().is_empty() {
            cluster.progress().expect([Source::Manifests]);
        }
        let files = list(&self.path).map_err(|source| self.unreadable(source))?;
        let settings = cluster.read().settings().clone();
        for file in &files {
            match read(&self.path.join(file)) {
                Ok(text) => self.folder.put(file, text, &settings),
                Err(error) => self.folder.put_unreadable(file, error.to_string()),
            }
        }
        self.folder.retain(&files);
        self.apply(cluster);
        Ok(())
    }

    /// Follows the directory for ever. While it is away, what it said last stays in force.
    pub async fn run(mut self, cluster: Cluster) {
        loop {
            self.changed.notified().await;
            self.settle().await;
            if let Err(error) = self.load(&cluster) {
                self.report_lost(&cluster, &error);
                self.wait_for_return(&cluster).await;
            }
        }
    }

    async fn settle(&self) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && timeout(QUIET, self.changed.notified()).await.is_ok() {}
    }

    fn report_lost(&self, cluster: &Cluster, error: &ManifestDirError) {
        let file = Some(self.path.display().to_string());
        let reason = format!("{error}; what it said last stays in force");
        cluster.progress().set_state(Source::Manifests, WatchState::Retrying, Some(reason.clone()));
        let lost = Problem { file, document: None, subject: None, field: String::new(), reason };
        report(cluster, [self.folder.contents().problems, vec![lost]].concat());
    }

    async fn wait_for_return(&mut self, cluster: &Cluster) {
        while self.load(cluster).is_err() {
            sleep(RETRY).await;
        }
        info!(path = %self.path.display(), "the manifest directory is back");
    }

    /// Watches whatever directory has the name now.
    fn watch(&mut self) -> Result<(), ManifestDirError> {
        let inode = inode(&self.path).map_err(|source| self.unreadable(source))?;
        if self.watched == Some(inode) {
            return Ok(());
        }
        if self.watched.take().is_some() {
            // The watch of a directory that is gone went with it.
            let _ = self.watcher.unwatch(&self.path);
        }
        let watching = self.watcher.watch(&self.path, RecursiveMode::NonRecursive);
        watching.map_err(|source| ManifestDirError::Unwatchable { path: self.path.clone(), source })?;
        self.watched = Some(inode);
        Ok(())
    }

    fn apply(&mut self, cluster: &Cluster) {
        let Contents { objects, problems, mesh } = self.folder.contents();
        let mesh = mesh.unwrap_or_default();
        let settings = self.overrides.as_ref().map(|overrides| overrides.settings(&mesh));
        let now: BTreeSet<ObjectKey> = objects.keys().cloned().collect();
        cluster.update(|index: &mut Index| {
            if let Some(settings) = settings.filter(|settings| **index.settings() != *settings) {
                info!(?settings, "the mesh's settings changed");
                index.set_settings(settings);
            }
            for gone in self.applied.difference(&now) {
                index.delete(gone);
            }
            for object in objects.into_values() {
                index.apply(object);
            }
        });
        report_loaded(cluster, now.len());
        self.applied = now;
        report(cluster, problems);
    }

    fn unreadable(&self, source: io::Error) -> ManifestDirError {
        ManifestDirError::Unreadable { path: self.path.clone(), source }
    }
}

fn report_loaded(cluster: &Cluster, objects: usize) {
    let progress = cluster.progress();
    progress.set_state(Source::Manifests, WatchState::Watching, None);
    progress.count(Source::Manifests, objects);
    progress.heard(Source::Manifests, SystemTime::now());
    progress.settle(Source::Manifests);
}

fn report(cluster: &Cluster, problems: Vec<Problem>) {
    for problem in cluster.report(Reporter::Manifests, problems) {
        warn!(%problem, "manifest not taken in");
    }
}

/// Reading the directory makes events, too; they must not make it read again.
const fn is_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if !matches!(access, AccessKind::Close(AccessMode::Write)))
}

fn inode(path: &Path) -> io::Result<Inode> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

fn list(path: &Path) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        match entry.file_name().into_string() {
            Ok(name) if is_manifest(&name) && entry.path().is_file() => drop(names.insert(name)),
            _ => {}
        }
    }
    Ok(names)
}

fn is_manifest(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    !name.starts_with('.') && matches!(extension, Some("yaml" | "yml" | "json"))
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = fs::File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_FILE {
        return Err(io::Error::other(format!(
            "expected at most {MAX_FILE} bytes, found more: split the file"
        )));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
