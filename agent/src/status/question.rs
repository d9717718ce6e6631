//! The asking side of the socket.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::de::DeserializeOwned;

use super::Document;
use crate::explain::{Explanation, Question};

/// What is asked.
pub(super) const STATUS: &[u8] = b"status\n";
/// What is asked, before a question as JSON and the end of the line.
pub(super) const EXPLAIN: &[u8] = b"explain ";

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer that is read, in bytes: thousands of pods, each with a reason.
const MAX_ANSWER: u64 = 64 << 20;

/// No answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It is for root alone.
    #[error("the agent's socket {path} may not be opened: {source}; ask as root", path = .path.display())]
    Closed {
        /// The socket.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// Nobody listens.
    #[error("no agent answers at {path}: {source}; is one running, and is --node or --socket right?", path = .path.display())]
    Nobody {
        /// The socket.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// Somebody listens and does not answer.
    #[error("the agent at {path} does not answer: {source}", path = .path.display())]
    Silent {
        /// The socket.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The answer is not one to the question.
    #[error("the agent at {path} is of another version: {source}", path = .path.display())]
    Foreign {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Asks the agent behind a socket how it is.
pub fn ask(path: &Path) -> Result<Document, AskError> {
    ask_line(path, STATUS)
}

/// Asks the agent behind a socket how a connection would go; the inner error is why it cannot say.
pub fn ask_to_explain(path: &Path, question: &Question) -> Result<Result<Explanation, String>, AskError> {
    let question = serde_json::to_vec(question).expect("it has only keys that are text");
    ask_line(path, &[EXPLAIN, &question, b"\n"].concat())
}

fn ask_line<T: DeserializeOwned>(path: &Path, line: &[u8]) -> Result<T, AskError> {
    let stream = UnixStream::connect(path).map_err(|source| AskError::of_connect(path, source))?;
    let answer =
        exchange(stream, line).map_err(|source| AskError::Silent { path: path.to_owned(), source })?;
    serde_json::from_slice(&answer).map_err(|source| AskError::Foreign { path: path.to_owned(), source })
}

impl AskError {
    fn of_connect(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Closed { path, source },
            _ => Self::Nobody { path, source },
        }
    }
}

fn exchange(mut stream: UnixStream, line: &[u8]) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(line)?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    if answer.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
}
