//! The agent's side of the socket.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
    time::timeout,
};
use tracing::debug;

use super::question::{EXPLAIN, STATUS};
use crate::explain::Question;

/// How long one visitor is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many may wait for their answer.
const QUEUE: usize = 16;
/// The longest question, in bytes: three names as long as the DNS has them, and what stands around them.
const MAX_QUESTION: usize = 1024;

/// Where the agent is asked; the socket's file is gone when this is dropped.
#[derive(Debug)]
pub struct Door {
    path: PathBuf,
    visitors: mpsc::Receiver<Visitor>,
    task: tokio::task::JoinHandle<()>,
}

/// Somebody who waits for an answer.
#[derive(Debug)]
pub struct Visitor {
    asked: Asked,
    answer: oneshot::Sender<serde_json::Result<Vec<u8>>>,
}

/// What somebody wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// How the agent is; the answer is a [`Document`](super::Document).
    Status,
    /// How a connection would go; the answer is an [`Explanation`](crate::explain::Explanation), or why there is none.
    Explain(Question),
}

impl Visitor {
    /// What they want to know.
    pub const fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Answers. That nobody waits any more is no error.
    pub fn answer(self, answer: &impl Serialize) {
        let _ = self.answer.send(serde_json::to_vec(answer));
    }
}

impl Asked {
    /// Reads one line.
    fn parse(line: &[u8]) -> Option<Self> {
        if line == STATUS {
            return Some(Self::Status);
        }
        let question = line.strip_prefix(EXPLAIN)?.strip_suffix(b"\n")?;
        serde_json::from_slice(question).ok().map(Self::Explain)
    }
}

impl Door {
    /// Opens the socket, for root alone. A file that an agent before left there is in nobody's use: an agent holds
    /// its node's lock.
    pub fn open(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        remove(path)?;
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        let (sender, visitors) = mpsc::channel(QUEUE);
        let task = tokio::spawn(receive(listener, sender));
        Ok(Self { path: path.to_owned(), visitors, task })
    }

    /// The next one who asks.
    pub async fn visitor(&mut self) -> Visitor {
        match self.visitors.recv().await {
            Some(visitor) => visitor,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
        // The directory may be gone.
        let _ = remove(&self.path);
    }
}

async fn receive(listener: UnixListener, visitors: mpsc::Sender<Visitor>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, visitors.clone()))),
            // No file descriptor is free: later there may be one.
            Err(error) => {
                debug!(%error, "nobody can ask for the status");
                tokio::time::sleep(PATIENCE).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, visitors: mpsc::Sender<Visitor>) {
    match timeout(PATIENCE, answer(stream, visitors)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a question for the status went unanswered"),
        Err(_) => debug!("a question for the status took too long"),
    }
}

async fn answer(mut stream: UnixStream, visitors: mpsc::Sender<Visitor>) -> io::Result<()> {
    let mut question = [0; MAX_QUESTION];
    let mut read = 0;
    while read < question.len() && !question[..read].contains(&b'\n') {
        match stream.read(&mut question[read..]).await? {
            0 => break,
            more => read += more,
        }
    }
    let Some(asked) = Asked::parse(&question[..read]) else {
        return stream.write_all(NOT_A_QUESTION).await;
    };
    let (answer, answered) = oneshot::channel();
    visitors.send(Visitor { asked, answer }).await.map_err(io::Error::other)?;
    stream.write_all(&answered.await.map_err(io::Error::other)??).await?;
    stream.shutdown().await
}

const NOT_A_QUESTION: &[u8] =
    b"{\"error\":\"expected the line status, or explain and a question as JSON\"}\n";

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
