//! The life of an authority: it serves until a signal ends it.

use anyhow::{Context, Result};
use culvert::{ca, cluster::watch};
use tracing::info;

use super::{Signals, init_log};
use crate::cli::CaOptions;

/// Serves certificates until SIGTERM or SIGINT.
pub(crate) fn ca(options: CaOptions) -> Result<()> {
    let _log = init_log(&options.log, options.log_format).context("cannot start the log")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(options))
}

async fn serve(options: CaOptions) -> Result<()> {
    let mut signals = Signals::new()?;
    let client = watch::client(options.kubeconfig.as_deref()).await?;
    let ending = async {
        let signal = signals.next().await;
        info!(signal, "ending");
    };
    ca::serve(options.settings, client, ending).await?;
    Ok(())
}
