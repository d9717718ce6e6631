//! The agent's side of the socket.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout,
};
use tracing::debug;

use super::{Document, question::STATUS};

/// How long a visitor may take to ask. A visitor waits longer than that for its answer.
const TO_ASK: Duration = Duration::from_secs(1);
/// How long an answer may take.
const TO_ANSWER: Duration = Duration::from_secs(5);
/// How many are served at a time. The next one waits at the door.
const AT_A_TIME: usize = 64;
/// How many may wait for their answer.
const QUEUE: usize = 16;
/// The longest question, in bytes.
const MAX_QUESTION: usize = 64;

/// Where the agent is asked; the socket's file is gone when this is dropped.
#[derive(Debug)]
pub struct Door {
    path: PathBuf,
    visitors: mpsc::Receiver<Visitor>,
    task: tokio::task::JoinHandle<()>,
}

/// Somebody who waits for an answer.
#[derive(Debug)]
pub struct Visitor(oneshot::Sender<Document>);

impl Visitor {
    /// Answers. That nobody waits any more is no error.
    pub fn answer(self, document: Document) {
        let _ = self.0.send(document);
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
    let at_a_time = Arc::new(Semaphore::new(AT_A_TIME));
    while let Ok(permit) = Arc::clone(&at_a_time).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, visitors.clone(), permit))),
            // No file descriptor is free: later there may be one.
            Err(error) => {
                debug!(%error, "nobody can ask for the status");
                tokio::time::sleep(TO_ASK).await;
            }
        }
    }
}

async fn serve(mut stream: UnixStream, visitors: mpsc::Sender<Visitor>, _permit: OwnedSemaphorePermit) {
    let served = async {
        if timeout(TO_ASK, is_asked(&mut stream)).await?? {
            timeout(TO_ANSWER, answer(stream, visitors)).await?
        } else {
            timeout(TO_ANSWER, refuse(stream)).await?
        }
    };
    if let Err(error) = served.await {
        debug!(%error, "a question for the status went unanswered");
    }
}

/// Whether the status is what the visitor asks for.
async fn is_asked(stream: &mut UnixStream) -> io::Result<bool> {
    let mut question = [0; MAX_QUESTION];
    let mut read = 0;
    while read < question.len() && !question[..read].contains(&b'\n') {
        match stream.read(&mut question[read..]).await? {
            0 => break,
            more => read += more,
        }
    }
    Ok(question[..read] == *STATUS)
}

async fn answer(mut stream: UnixStream, visitors: mpsc::Sender<Visitor>) -> io::Result<()> {
    let (sender, document) = oneshot::channel();
    visitors.send(Visitor(sender)).await.map_err(io::Error::other)?;
    let document = document.await.map_err(io::Error::other)?;
    stream.write_all(&serde_json::to_vec(&document)?).await?;
    stream.shutdown().await
}

async fn refuse(mut stream: UnixStream) -> io::Result<()> {
    stream.write_all(b"{\"error\":\"expected the line \\\"status\\\"\"}\n").await
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
