//! The ring in which the kernel tells of the plaintext connections of enrolled pods.

use std::{io, time::Duration};

use aya::maps::{Map, MapData, MapError, RingBuf};
use culvert_abi::Event;
use tokio::{io::Interest, time::sleep};

use crate::sys;

/// The ring.
pub struct Events(RingBuf<MapData>);

/// How long an event waits for company, so that many short connections cost one wake-up.
const GATHER: Duration = Duration::from_millis(10);

impl Events {
    pub(super) fn new(data: MapData) -> Result<Self, MapError> {
        Ok(Self(Map::RingBuf(data).try_into()?))
    }

    /// Hands events on for ever.
    pub async fn run(mut self, mut each: impl FnMut(&Event)) -> io::Result<()> {
        let readiness = sys::readiness(&self.0, Interest::READABLE)?;
        loop {
            let mut ready = readiness.readable().await?;
            // The kernel wakes nobody again before the ring has been read.
            sleep(GATHER).await;
            while let Some(bytes) = self.0.next() {
                if let Some(event) = Event::read(&bytes) {
                    each(&event);
                }
            }
            ready.clear_ready();
        }
    }
}
