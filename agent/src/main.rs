//! `culvert`: the node agent and its helpers.

mod cli;
mod run;

use std::{io::Write, process::ExitCode, time::SystemTime};

use cli::{Command, DetachOptions, ExplainOptions, Output, StatusOptions};
use culvert::{kernel::Pins, status};
use run::ExplainError;

/// What was asked has no answer.
const UNANSWERABLE: u8 = 2;
/// The command line is wrong (`EX_USAGE`, sysexits.h).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let done = match cli::parse(std::env::args_os().skip(1)) {
        Ok(Command::Print(text)) => {
            say(&text);
            Ok(())
        }
        Ok(Command::Agent(options)) => run::agent(*options),
        Ok(Command::Ca(options)) => run::ca(*options),
        Ok(Command::Status(options)) => return tell_status(&options),
        Ok(Command::Explain(options)) => return tell_explanation(&options),
        Ok(Command::Detach(options)) => detach(&options),
        Err(mistakes) => {
            complain(&mistakes.to_string());
            return ExitCode::from(USAGE);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("culvert: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// What needs a person makes the exit status 1; so does an agent that does not answer.
fn tell_status(options: &StatusOptions) -> ExitCode {
    let document = match status::ask(&options.socket) {
        Ok(document) => document,
        Err(error) => {
            complain(&format!("culvert: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let (text, is_well) = match options.output {
        Output::Text => (status::text::write(&document, SystemTime::now()), document.concerns.is_empty()),
        Output::Json => (status::text::json(&document), document.concerns.is_empty()),
        Output::Readiness => (status::text::readiness(&document), document.not_ready.is_empty()),
    };
    say(&text);
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// No agent that answers is another matter than no answer.
fn tell_explanation(options: &ExplainOptions) -> ExitCode {
    match run::explain(options) {
        Ok((text, problems)) => {
            for problem in &problems {
                complain(&format!("culvert: not taken in: {problem}"));
            }
            say(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("culvert: {error}"));
            match error {
                ExplainError::NoAgent(_) => ExitCode::FAILURE,
                ExplainError::Unanswerable(_) => ExitCode::from(UNANSWERABLE),
            }
        }
    }
}

fn detach(options: &DetachOptions) -> anyhow::Result<()> {
    Ok(Pins::open(&options.node)?.detach_all()?)
}

/// A reader that had enough, such as `head`, is no error.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

#[expect(clippy::print_stderr, reason = "the one place where the process says why it fails")]
fn complain(text: &str) {
    eprintln!("{text}");
}
