//! What the kernel's programs log, handed to the agent's own log.

use std::io;

use aya::Ebpf;
use aya_log::EbpfLogger;
use tokio::io::Interest;

use crate::sys;

/// The programs' log. Silent unless a level was asked for at load.
pub struct KernelLog(EbpfLogger<&'static dyn ::log::Log>);

impl KernelLog {
    pub(super) fn take(ebpf: &mut Ebpf) -> Option<Self> {
        EbpfLogger::init(ebpf).ok().map(Self)
    }

    /// Hands lines on for ever.
    pub async fn run(mut self) -> io::Result<()> {
        let readiness = sys::readiness(&self.0, Interest::READABLE)?;
        loop {
            let mut ready = readiness.readable().await?;
            self.0.flush();
            ready.clear_ready();
        }
    }
}
