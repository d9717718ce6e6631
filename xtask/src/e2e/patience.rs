//! Waiting for what a cluster does in its own time.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;

/// How long a change may take until it is seen; a person notices longer ones, no test may fail for shorter ones.
const PATIENCE: Duration = Duration::from_mins(1);
const AGAIN: Duration = Duration::from_millis(500);

/// Tries until there are no complaints; the last ones are the error.
pub(super) fn eventually(mut attempt: impl FnMut() -> anyhow::Result<Vec<String>>) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let complaints = attempt()?;
        if complaints.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{}", complaints.join("; "));
        }
        thread::sleep(AGAIN);
    }
}
