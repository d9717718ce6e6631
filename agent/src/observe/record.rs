//! The record of one connection while it lives.

use std::{
    cell::{Cell, RefCell},
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use culvert_policy::Reason;

use super::{Direction, Line, Observer, Outcome};
use crate::cluster::PodRef;

/// The record of one connection. It reaches its observer exactly once: when it is dropped.
pub struct Record {
    started: Instant,
    /// Bytes that the application on this node sent.
    pub sent: Cell<u64>,
    /// Bytes that the application on this node received.
    pub received: Cell<u64>,
    ended: Cell<bool>,
    line: RefCell<Line>,
    observer: Arc<dyn Observer>,
}

impl Record {
    /// A connection of `pod` that begins now. If nobody says how it ended, the agent cut it.
    pub fn new(observer: Arc<dyn Observer>, direction: Direction, pod: PodRef, source: SocketAddr) -> Self {
        Self {
            started: Instant::now(),
            sent: Cell::new(0),
            received: Cell::new(0),
            ended: Cell::new(false),
            line: RefCell::new(blank(direction, pod, source)),
            observer,
        }
    }

    /// Adds to what is known.
    pub fn learn(&self, add: impl FnOnce(&mut Line)) {
        add(&mut self.line.borrow_mut());
    }

    /// The applications ended it; `reason` is why it was carried the way it was. The first end counts.
    pub fn carried(&self, reason: Reason) {
        self.end(Outcome::Ok, reason);
    }

    /// It was not carried, or not to its own end. The first end counts.
    pub fn ended(&self, reason: Reason, detail: impl Into<String>) {
        if self.end(Outcome::of(reason), reason) {
            self.note(detail);
        }
    }

    /// Words for people.
    pub fn note(&self, detail: impl Into<String>) {
        let detail = detail.into();
        self.learn(|line| line.detail = Some(detail).filter(|text| !text.is_empty()));
    }

    fn end(&self, outcome: Outcome, reason: Reason) -> bool {
        let first = !self.ended.replace(true);
        if first {
            self.learn(|line| (line.outcome, line.reason) = (outcome, reason));
        }
        first
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let line = self.line.get_mut();
        line.bytes_sent = self.sent.get();
        line.bytes_received = self.received.get();
        line.duration = self.started.elapsed();
        self.observer.ended(line);
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Record").field(&self.line).finish()
    }
}

fn blank(direction: Direction, pod: PodRef, source: SocketAddr) -> Line {
    Line {
        direction,
        transport: None,
        outcome: Outcome::of(Reason::ShuttingDown),
        reason: Reason::ShuttingDown,
        source,
        destination: None,
        endpoint: None,
        pod,
        peer_pod: None,
        peer_identity: None,
        bytes_sent: 0,
        bytes_received: 0,
        duration: Duration::ZERO,
        detail: None,
    }
}
