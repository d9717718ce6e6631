//! placeholder
use crate::step::Steps;

/// A kernel.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Version {
    /// Debian 12's
    #[value(name = "6.1")]
    V6_1,
}

pub(crate) fn run(_: &Steps, _: Version) -> anyhow::Result<()> {
    Ok(())
}
