//! `culvert`: the node agent and its helpers.

mod cli;
mod run;

use std::process::ExitCode;

use cli::{Command, DetachOptions};
use culvert::kernel::Pins;

/// The command line is wrong (`EX_USAGE`, sysexits.h).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let done = match cli::parse(std::env::args_os().skip(1)) {
        Ok(Command::Print(text)) => print(&text),
        Ok(Command::Agent(options)) => run::agent(*options),
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

fn detach(options: &DetachOptions) -> anyhow::Result<()> {
    Ok(Pins::open(&options.node)?.detach_all()?)
}

#[expect(clippy::print_stdout, reason = "this is the answer to the person who asked")]
#[expect(clippy::unnecessary_wraps, reason = "one of several things that main does")]
fn print(text: &str) -> anyhow::Result<()> {
    print!("{text}");
    Ok(())
}

#[expect(clippy::print_stderr, reason = "the one place where the process says why it fails")]
fn complain(text: &str) {
    eprintln!("{text}");
}
