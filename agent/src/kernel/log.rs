//! What the kernel's programs log, handed to the agent's own log.

use std::io;

use aya::Ebpf;
use aya_log::EbpfLogger;
use tokio::io::{Interest, unix::AsyncFd};

/// The programs' log. Silent unless a level was asked for at load.
pub struct KernelLog(EbpfLogger<&'static dyn ::log::Log>);

impl KernelLog {
    pub(super) fn take(ebpf: &mut Ebpf) -> Option<Self> {
        EbpfLogger::init(ebpf).ok().map(Self)
    }

    /// Hands lines on for ever.
    pub async fn run(self) -> io::Result<()> {
        let mut ring = AsyncFd::register_with_interest(self.0, Interest::READABLE)?;
        loop {
            let mut ready = ring.readable_mut().await?;
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    }
}
