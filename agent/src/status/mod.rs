//! How the agent is: one document, which the agent writes and `culvert status` reads.
//!
//! The agent answers on a Unix socket that only root can open ([`Door`]); [`ask`] is the other side. What the document
//! says in words comes from [`Document::concerns`] and [`text`].

mod concerns;
mod document;
pub(crate) mod door;
mod question;
pub mod text;

use std::path::PathBuf;

pub use document::{
    Certificate, Cluster, Count, Document, Enrolled, Map, NotEnrolled, Pods, Program, Root, Timestamp, Watch,
};
pub use door::{Asked, Door, Visitor};
pub use question::{AskError, ask, ask_to_explain};

/// Where the agent of a node answers unless it was told otherwise.
pub fn socket_of(node: &str) -> PathBuf {
    format!("/run/culvert/{node}.sock").into()
}
