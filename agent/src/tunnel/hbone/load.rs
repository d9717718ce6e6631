//! How busy a tunnel is.

use std::{
    cell::Cell,
    rc::Rc,
    time::Duration,
};

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
            let until = since + limit;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
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

    #[tokio::test(start_paused = true)]
    async fn idle_begins_when_the_last_stream_ends() {
        let load = Load::new();
        let start = Instant::now();
        let busy = load.begin();
        tokio::join!(load.idle(Duration::from_secs(10)), async {
            tokio::time::sleep(Duration::from_secs(25)).await;
            drop(busy);
        });
        assert_eq!(start.elapsed().as_secs(), 35);
    }
}
