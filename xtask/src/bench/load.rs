//! Programs that put load on a connection.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc::{Sender, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use culvert_testbed::wait_until;
use serde_json::Value;

use crate::{places, step::shown};

/// How long more than it measures a program may take. Where the kernel runs short of memory for TCP, as 1,000 uploads
/// through Envoys bring it to, some of them wait for retransmission timers that back off, and are given up after a minute.
const PATIENCE: Duration = Duration::from_mins(4);

/// The program that measures what no tool of Debian's does.
pub(super) fn culvert_load() -> PathBuf {
    places::binary("culvert-load")
}

/// A program that runs until it is dropped.
pub(super) struct Background {
    child: Child,
    said: String,
}

impl Background {
    /// Starts it and waits until it says a word.
    pub(super) fn start(mut command: Command, word: &'static str) -> anyhow::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Self { child: spawn(&mut command)?, said: String::new() };
        let stdout = running.child.stdout.take().expect("it is piped");
        let (said, hears) = channel();
        thread::spawn(move || listen(stdout, word, &said));
        match hears.recv_timeout(PATIENCE) {
            Ok(line) => {
                running.said = line;
                Ok(running)
            }
            Err(_) => bail!("{} did not say {word:?}", shown(&command)),
        }
    }

    /// Its process id.
    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }

    /// The line with the word in it, where that is JSON.
    pub(super) fn said(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.said).with_context(|| format!("expected JSON: {}", self.said))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads to the end, so that the program never waits for a reader.
fn listen(stdout: ChildStdout, word: &str, said: &Sender<String>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        if line.contains(word) {
            // Who waited for the first time may be gone at the second.
            let _ = said.send(line);
        }
    }
}

/// A program that ends by itself and prints one JSON object.
pub(super) struct Job {
    child: Child,
    name: String,
    output: File,
}

impl Job {
    pub(super) fn start(mut command: Command) -> anyhow::Result<Self> {
        let output = tempfile::tempfile().context("no temporary file for a program's output")?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?);
        Ok(Self { child: spawn(&mut command)?, name: shown(&command), output })
    }

    /// Waits for what it measured in so many seconds.
    pub(super) fn wait(mut self, seconds: u32) -> anyhow::Result<Value> {
        let patience = Duration::from_secs(seconds.into()) + PATIENCE;
        let status = wait_until(&mut self.child, Instant::now() + patience)?;
        let text = self.read()?;
        match status {
            Some(status) if status.success() => {
                serde_json::from_str(&text).with_context(|| format!("{}: expected JSON: {text}", self.name))
            }
            status => bail!("{}: {}: {}", self.name, ending(status), text.trim()),
        }
    }

    fn read(&mut self) -> anyhow::Result<String> {
        let mut text = String::new();
        self.output.rewind()?;
        self.output.read_to_string(&mut text)?;
        Ok(text)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // It has ended unless nobody had the patience.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In a process group of its own, so that Ctrl-C leaves the end of it to the testbed.
pub(super) fn spawn(command: &mut Command) -> anyhow::Result<Child> {
    command.process_group(0).spawn().with_context(|| format!("{} cannot be started", shown(command)))
}

fn ending(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "does not end".to_owned(), |status| status.to_string())
}
