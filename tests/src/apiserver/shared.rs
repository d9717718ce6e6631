//! What the server's connections and the test both work on.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use super::{
    access::Access, clock::Clock, faults::Faults, log::Log, store::Store, tokens::Tokens, write::Author,
    write::Writer,
};

pub(super) struct Shared {
    store: Mutex<Store>,
    tokens: Mutex<Tokens>,
    access: Mutex<Access>,
    bookmark_interval: Mutex<Duration>,
    /// A watch whose version is gone fails with a status of HTTP, instead of with an event.
    pub(super) gone_as_status: AtomicBool,
    pub(super) faults: Faults,
    pub(super) log: Arc<Log>,
    pub(super) clock: Clock,
}

/// As an API server does it.
const BOOKMARK_INTERVAL: Duration = Duration::from_mins(1);

impl Shared {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            store: Mutex::new(Store::new()),
            tokens: Mutex::new(Tokens::new()?),
            access: Mutex::default(),
            bookmark_interval: Mutex::new(BOOKMARK_INTERVAL),
            gone_as_status: AtomicBool::new(false),
            faults: Faults::new(),
            log: Arc::default(),
            clock: Clock::default(),
        })
    }

    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    pub(super) fn tokens(&self) -> MutexGuard<'_, Tokens> {
        lock(&self.tokens)
    }

    pub(super) fn access(&self) -> MutexGuard<'_, Access> {
        lock(&self.access)
    }

    pub(super) fn bookmark_interval(&self) -> Duration {
        *lock(&self.bookmark_interval)
    }

    pub(super) fn set_bookmark_interval(&self, interval: Duration) {
        *lock(&self.bookmark_interval) = interval;
    }

    /// Does one write.
    pub(super) fn write<T>(&self, author: Author, write: impl FnOnce(&mut Writer<'_>) -> T) -> T {
        let mut store = self.store();
        write(&mut Writer { store: &mut store, now: self.clock.now(), author })
    }
}

/// What one thread left when it panicked is still what the others see.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
