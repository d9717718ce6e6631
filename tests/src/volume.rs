//! A `ConfigMap` in a file, as the kubelet mounts it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::apiserver::ApiServer;

/// A key of a `ConfigMap`, followed into a file; dropped, the file stays as it is.
pub struct Volume {
    file: PathBuf,
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What is followed.
struct Source {
    server: ApiServer,
    namespace: String,
    config_map: String,
    key: String,
}

impl Volume {
    /// Mounts a key as `directory/key`. While there is no such `ConfigMap`, there is no such file.
    pub fn mount(
        server: &ApiServer,
        (namespace, config_map): (&str, &str),
        key: &str,
        directory: &Path,
    ) -> Self {
        let source = Source {
            server: server.clone(),
            namespace: namespace.to_owned(),
            config_map: config_map.to_owned(),
            key: key.to_owned(),
        };
        let file = directory.join(key);
        let (end, ended) = channel();
        let thread = thread::spawn({
            let file = file.clone();
            move || follow(&source, &file, &ended)
        });
        Self { file, end: Some(end), thread: Some(thread) }
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        drop(self.end.take());
        // What went wrong there has been printed.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The kubelet takes up to a minute.
const EVERY: Duration = Duration::from_millis(100);

fn follow(source: &Source, file: &Path, ended: &Receiver<()>) {
    let mut written = None;
    loop {
        let content = source.content();
        if let Some(content) = content.filter(|content| written.as_ref() != Some(content)) {
            replace(file, &content).expect("the files of a run can be written");
            written = Some(content);
        }
        if ended.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

impl Source {
    fn content(&self) -> Option<String> {
        let found = self.server.get("configmaps", &self.namespace, &self.config_map)?;
        found["data"][&self.key].as_str().map(str::to_owned)
    }
}

/// No reader sees half of it.
fn replace(file: &Path, content: &str) -> io::Result<()> {
    let draft = file.with_extension("draft");
    fs::write(&draft, content)?;
    fs::rename(draft, file)
}
