//! What is logged, and how.

use std::{
    io::{self, Stdout},
    panic,
};

use culvert::cluster::watch::LOG_DIRECTIVE;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use super::lines::Lines;
use crate::cli::LogFormat;

/// The log; dropped, it is written to its end.
pub(crate) struct Log(Lines<Stdout>);

/// Lines that `filter` accepts go to standard output from now on.
pub(crate) fn init(filter: &str, format: LogFormat) -> io::Result<Log> {
    let lines = Lines::new(io::stdout())?;
    let registry = tracing_subscriber::registry().with(EnvFilter::new(format!("{LOG_DIRECTIVE},{filter}")));
    let layer = fmt::layer().with_writer(lines.clone());
    match format {
        LogFormat::Text => registry.with(layer.with_ansi(false)).init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).init(),
    }
    write_before_panics(lines.clone());
    Ok(Log(lines))
}

/// The process ends with a panic, and nothing is dropped.
fn write_before_panics(lines: Lines<Stdout>) {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        lines.try_flush();
        tell(panic);
    }));
}

impl Drop for Log {
    fn drop(&mut self) {
        self.0.flush();
    }
}
