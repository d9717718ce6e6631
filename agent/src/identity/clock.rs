//! The wall clock, as something that is handed in.

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{pki_types::UnixTime, time_provider::TimeProvider};

/// Where the wall-clock time comes from that certificates are issued, served, checked and renewed by.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> SystemTime;
}

/// The system's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// The same clock for rustls.
#[derive(Debug)]
pub(super) struct TlsClock(pub(super) Arc<dyn Clock>);

impl TimeProvider for TlsClock {
    fn current_time(&self) -> Option<UnixTime> {
        unix_time(self.0.now())
    }
}

/// A time for people, whichever it is.
pub(super) fn utc(time: SystemTime) -> time::OffsetDateTime {
    time.into()
}

/// As rustls counts time, which it does not before 1970.
pub(super) fn unix_time(time: SystemTime) -> Option<UnixTime> {
    time.duration_since(UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
}
