//! The ring in which the kernel tells of the plaintext connections of enrolled pods.

use std::io;

use aya::maps::{Map, MapData, MapError, RingBuf};
use culvert_abi::Event;
use tokio::io::{Interest, unix::AsyncFd};

/// The ring.
pub struct Events(RingBuf<MapData>);

impl Events {
    pub(super) fn new(data: MapData) -> Result<Self, MapError> {
        Ok(Self(Map::RingBuf(data).try_into()?))
    }

    /// Hands events on for ever.
    pub async fn run(self, mut each: impl FnMut(&Event)) -> io::Result<()> {
        let mut ring = AsyncFd::register_with_interest(self.0, Interest::READABLE)?;
        loop {
            let mut ready = ring.readable_mut().await?;
            while let Some(bytes) = ready.get_inner_mut().next() {
                if let Some(event) = Event::read(&bytes) {
                    each(&event);
                }
            }
            ready.clear_ready();
        }
    }
}
