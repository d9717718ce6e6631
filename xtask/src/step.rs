//! One line per step: its name, then how long it took. What a step prints is kept back and shown if it fails.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

/// Somebody pressed Ctrl-C, or asked for an end with SIGTERM.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

/// Runs steps and ends the running one when it is asked to.
pub(crate) struct Steps {
    running: Arc<Running>,
}

const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Running {
    /// The process group of the step's command; zero when there is none.
    group: AtomicI32,
    interrupted: AtomicBool,
}

impl Steps {
    /// From here on SIGINT and SIGTERM go to the running step, and then end this process by way of its errors.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let running = Arc::<Running>::default();
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("SIGINT cannot be handled")?;
        let seen = Arc::clone(&running);
        thread::spawn(move || {
            for _ in signals.forever() {
                seen.interrupt();
            }
        });
        Ok(Self { running })
    }

    /// Runs a command; what it prints is shown only if it fails.
    pub(crate) fn run(&self, name: &str, command: &mut Command) -> anyhow::Result<()> {
        self.capture(name, command).map(drop)
    }

    /// Runs a command like `run` does and returns what it printed.
    pub(crate) fn capture(&self, name: &str, command: &mut Command) -> anyhow::Result<String> {
        let line = Line::start(name);
        let mut output = tempfile::tempfile().context("no temporary file for a step's output")?;
        let status = self.wait_for(command.stdout(output.try_clone()?).stderr(output.try_clone()?));
        let text = read_back(&mut output)?;
        match status {
            Ok(status) if status.success() => line.done(),
            Ok(status) => return Err(line.failed(command, status, &text)),
            Err(error) => {
                stopped();
                return Err(error);
            }
        }
        Ok(text)
    }

    /// Runs a command that shows its own progress.
    pub(crate) fn show(&self, name: &str, command: &mut Command) -> anyhow::Result<()> {
        say(&format!("{name}:"));
        let status = self.wait_for(command)?;
        if !status.success() {
            bail!("{name} failed ({status})");
        }
        Ok(())
    }

    /// Runs a step that is this program's own work.
    pub(crate) fn work<R>(&self, name: &str, work: impl FnOnce() -> anyhow::Result<R>) -> anyhow::Result<R> {
        self.running.check()?;
        let line = Line::start(name);
        let result = work();
        if result.is_ok() {
            line.done();
        } else {
            stopped();
            // What an interruption breaks is not what went wrong.
            self.running.check()?;
        }
        result
    }

    /// An error once somebody has asked for an end.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        self.running.check()
    }

    /// Waits until somebody asks for an end, which is the error that it returns.
    pub(crate) fn wait_for_interrupt(&self) -> anyhow::Result<()> {
        loop {
            self.check()?;
            thread::park_timeout(LOOK_AGAIN);
        }
    }

    fn wait_for(&self, command: &mut Command) -> anyhow::Result<ExitStatus> {
        self.running.check()?;
        let program = command.get_program().to_owned();
        let mut child = command
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        self.running.started(&child);
        let status = child.wait();
        self.running.group.store(0, Ordering::SeqCst);
        self.running.check()?;
        Ok(status?)
    }
}

impl Running {
    fn started(&self, child: &Child) {
        self.group.store(child.id().cast_signed(), Ordering::SeqCst);
        if self.interrupted.load(Ordering::SeqCst) {
            self.signal(Signal::TERM);
        }
    }

    /// The first time the step is asked to end, so that it can clean up; the second time it is made to.
    fn interrupt(&self) {
        let again = self.interrupted.swap(true, Ordering::SeqCst);
        self.signal(if again { Signal::KILL } else { Signal::TERM });
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = Pid::from_raw(self.group.load(Ordering::SeqCst)) {
            // The group may have ended in the meantime, which is what is wanted.
            let _ = kill_process_group(group, signal);
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.interrupted.load(Ordering::SeqCst) { Err(Interrupted.into()) } else { Ok(()) }
    }
}

struct Line {
    started: Instant,
}

impl Line {
    fn start(name: &str) -> Self {
        tell(&format!("  {name:<62}"));
        Self { started: Instant::now() }
    }

    fn done(self) {
        say(&seconds(self.started.elapsed()));
    }

    fn failed(self, command: &Command, status: ExitStatus, output: &str) -> anyhow::Error {
        say(&format!("FAILED after {}", seconds(self.started.elapsed()).trim_start()));
        say(output.trim_end());
        anyhow::anyhow!("{} ({status})", shown(command))
    }
}

fn stopped() {
    say("FAILED");
}

/// A command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Prints a line for the person who called.
pub(crate) fn say(line: &str) {
    tell(&format!("{line}\n"));
}

fn tell(text: &str) {
    let mut out = io::stdout().lock();
    // Nobody reads any more: there is nobody to be told about it either.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn seconds(elapsed: Duration) -> String {
    format!("{:>7.1} s", elapsed.as_secs_f64())
}

fn read_back(output: &mut File) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    output.rewind()?;
    output.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
