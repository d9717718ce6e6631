//! How busy a tunnel is.

use std::{cell::Cell, rc::Rc, time::Duration};

use tokio::time::{Instant, sleep_until};

/// Counts a tunnel's streams.
#[derive(Debug)]
pub(super) struct Load {
    streams: Cell<usize>,
    idle_since: Cell<Instant>,
}

/// A stream, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Busy(Rc<Load>);

impl Load {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self { streams: Cell::new(0), idle_since: Cell::new(Instant::now()) })
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.get()
    }

    pub(super) fn begin(self: &Rc<Self>) -> Busy {
        self.streams.set(self.streams.get() + 1);
        Busy(Rc::clone(self))
    }

    /// Ends once there has been no stream for as long as `limit`.
    pub(super) async fn idle(&self, limit: Duration) {
        loop {
            let since = if self.streams() == 0 { self.idle_since.get() } else { Instant::now() };
            sleep_until(since + limit).await;
            if self.streams() == 0 && self.idle_since.get() + limit <= Instant::now() {
                return;
            }
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Self(load) = self;
        load.streams.set(load.streams.get() - 1);
        load.idle_since.set(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn idle_begins_when_the_last_stream_ends() {
        let load = Load::new();
        let busy = load.begin();
        let ended = Cell::new(false);
        let idle = async {
            load.idle(Duration::from_millis(1)).await;
            assert!(ended.get());
        };
        tokio::join!(idle, async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            ended.set(true);
            drop(busy);
        });
    }
}
