//! What is logged, and how.

use culvert::cluster::watch::LOG_DIRECTIVE;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::cli::LogFormat;

/// Lines that `filter` accepts go to standard output from now on.
pub(crate) fn init(filter: &str, format: LogFormat) {
    let registry = tracing_subscriber::registry().with(EnvFilter::new(format!("{LOG_DIRECTIVE},{filter}")));
    match format {
        LogFormat::Text => registry.with(tracing_subscriber::fmt::layer().with_ansi(false)).init(),
        LogFormat::Json => {
            registry.with(tracing_subscriber::fmt::layer().json().flatten_event(true)).init();
        }
    }
}
