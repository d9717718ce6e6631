//! The agent's side of the socket.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout,
};
use tracing::debug;

use super::question::{EXPLAIN, STATUS};
use crate::explain::Question;

/// How long a visitor may take to ask. A visitor waits longer than that for its answer.
const TO_ASK: Duration = Duration::from_secs(1);
/// How long an answer may take.
const TO_ANSWER: Duration = Duration::from_secs(5);
/// How many are served at a time. The next one waits at the door.
const AT_A_TIME: usize = 64;
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
    let at_a_time = Arc::new(Semaphore::new(AT_A_TIME));
    while let Ok(permit) = Arc::clone(&at_a_time).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, visitors.clone(), permit))),
            // No file descriptor is free: later there may be one.
            Err(error) => {
                debug!(%error, "nobody can ask anything");
                tokio::time::sleep(TO_ASK).await;
            }
        }
    }
}

async fn serve(mut stream: UnixStream, visitors: mpsc::Sender<Visitor>, _permit: OwnedSemaphorePermit) {
    let served = async {
        match timeout(TO_ASK, asked(&mut stream)).await?? {
            Some(asked) => timeout(TO_ANSWER, answer(asked, stream, visitors)).await?,
            None => timeout(TO_ANSWER, refuse(stream)).await?,
        }
    };
    if let Err(error) = served.await {
        debug!(%error, "a question went unanswered");
    }
}

/// What the visitor asks for, where it is a question.
async fn asked(stream: &mut UnixStream) -> io::Result<Option<Asked>> {
    let mut question = [0; MAX_QUESTION];
    let mut read = 0;
    while read < question.len() && !question[..read].contains(&b'\n') {
        match stream.read(&mut question[read..]).await? {
            0 => break,
            more => read += more,
        }
    }
    Ok(Asked::parse(&question[..read]))
}

async fn answer(asked: Asked, mut stream: UnixStream, visitors: mpsc::Sender<Visitor>) -> io::Result<()> {
    let (answer, answered) = oneshot::channel();
    visitors.send(Visitor { asked, answer }).await.map_err(io::Error::other)?;
    stream.write_all(&answered.await.map_err(io::Error::other)??).await?;
    stream.shutdown().await
}

async fn refuse(mut stream: UnixStream) -> io::Result<()> {
    stream.write_all(b"{\"error\":\"expected the line status, or explain and a question as JSON\"}\n").await
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_one_line_and_nothing_else() {
        let question = Question {
            namespace: "n".repeat(63),
            pod: "p".repeat(253),
            host: "h".repeat(253),
            port: Some(u16::MAX),
        };
        let json = serde_json::to_vec(&question).expect("it has only keys that are text");
        let longest = [EXPLAIN, &json, b"\n"].concat();
        assert!(longest.len() <= MAX_QUESTION, "{}", longest.len());
        assert_eq!(Asked::parse(&longest), Some(Asked::Explain(question)));
        assert_eq!(Asked::parse(STATUS), Some(Asked::Status));
        for line in
            [&b""[..], b"status", b"status\nmore", b"explain \n", b"explain {}\n", b"explain", &longest[..90]]
        {
            assert_eq!(Asked::parse(line), None, "{}", String::from_utf8_lossy(line));
        }
    }
}
