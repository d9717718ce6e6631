//! `culvert status`, asked as a person asks it.

use std::process::{Command, Output};

use anyhow::Context;
use serde_json::Value;

use crate::{Node, culvert};

/// What it answered.
#[derive(Clone, Debug)]
pub struct StatusAnswer {
    /// Its exit status; none if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub text: String,
    /// What it complained of.
    pub complaint: String,
}

impl Node {
    /// Asks the node's agent how it is, with further flags of `culvert status`.
    pub fn status(&self, flags: &[&str]) -> anyhow::Result<StatusAnswer> {
        let mut status = Command::new(culvert());
        status.args(["status", "--node", self.name()]).args(flags);
        StatusAnswer::of(&mut status)
    }
}

impl StatusAnswer {
    /// What a command answers that is `culvert status` or leads to it.
    pub fn of(status: &mut Command) -> anyhow::Result<Self> {
        let Output { status, stdout, stderr } = status.output().context("culvert cannot be started")?;
        let text = |bytes| String::from_utf8(bytes).context("culvert does not write UTF-8");
        Ok(Self { code: status.code(), text: text(stdout)?, complaint: text(stderr)? })
    }

    /// What it printed, as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}
