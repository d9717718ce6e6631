//! Values of flags, converted: the error says what was expected.

use std::{num::NonZeroUsize, time::Duration};

use culvert::{identity::CaAddress, kernel::Failure};

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A certificate is renewed at half of its life, and validity has whole seconds.
const MIN_LIFETIME: Duration = Duration::from_secs(2);

/// Whoever looks for longer keeps a core from others, and gains nothing.
const MAX_BUSY_POLL: Duration = Duration::from_millis(1);

/// What the kubelet's downward API says, or else what the machine is called.
pub(super) fn node_name() -> String {
    let named = std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty());
    named.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// A DNS name; it becomes the name of a directory.
pub(super) fn name(text: &str) -> Result<String, String> {
    let ok = !text.starts_with('.')
        && !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if ok { Ok(text.to_owned()) } else { Err("expected letters, digits, '-', '_' and '.'".to_owned()) }
}

/// Values that are separated by commas.
pub(super) fn list(text: &str) -> Result<Vec<String>, String> {
    let items: Vec<_> = text.split(',').map(|item| item.trim().to_owned()).collect();
    if items.iter().any(String::is_empty) { Err("expected NAME[,NAME...]".to_owned()) } else { Ok(items) }
}

pub(super) fn ca_address(text: &str) -> Result<CaAddress, String> {
    text.parse().map_err(|_| "expected HOST:PORT".to_owned())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "expected a time such as 30s, 10m or 24h".to_owned())
}

pub(super) fn lifetime(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        lifetime if lifetime >= MIN_LIFETIME => Ok(lifetime),
        _ => Err(format!("expected at least {}s", MIN_LIFETIME.as_secs())),
    }
}

pub(super) fn busy_poll(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time <= MAX_BUSY_POLL => Ok(time),
        _ => Err("expected at most 1ms, such as 50us, or 0s".to_owned()),
    }
}

pub(super) fn failure(text: &str) -> Result<Failure, String> {
    match text {
        "closed" => Ok(Failure::Closed),
        "open" => Ok(Failure::Open),
        _ => Err("expected closed or open".to_owned()),
    }
}

pub(super) fn count(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "expected a number of at least 1".to_owned())
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("expected text or json".to_owned()),
    }
}

pub(super) fn filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("expected filter directives ({error})")),
    }
}

pub(super) fn kernel_log(text: &str) -> Result<Option<aya_log::Level>, String> {
    Ok(Some(match text {
        "off" => return Ok(None),
        "error" => aya_log::Level::Error,
        "warn" => aya_log::Level::Warn,
        "info" => aya_log::Level::Info,
        "debug" => aya_log::Level::Debug,
        "trace" => aya_log::Level::Trace,
        _ => return Err("expected off, error, warn, info, debug or trace".to_owned()),
    }))
}
