//! Flame graphs.

use std::{fs::File, path::Path};

use anyhow::{Context, bail};
use inferno::{
    collapse::{
        Collapse,
        perf::{Folder, Options},
    },
    flamegraph,
};

use super::perf;

/// Draws a recording of perf's as `.svg` beside it and returns its stacks, folded.
pub(super) fn draw(recording: &Path, title: &str) -> anyhow::Result<String> {
    let script = perf::script(recording).output().context("perf cannot be started")?;
    if !script.status.success() {
        bail!("perf script: {}", String::from_utf8_lossy(&script.stderr).trim());
    }
    let mut options = Options::default();
    options.annotate_kernel = true;
    let mut folded = Vec::new();
    Folder::from(options).collapse(script.stdout.as_slice(), &mut folded).context("perf's stacks")?;
    let folded = String::from_utf8(folded)?;
    let svg = recording.with_extension("svg");
    let file = File::create(&svg).with_context(|| format!("{} cannot be written", svg.display()))?;
    let mut look = flamegraph::Options::default();
    title.clone_into(&mut look.title);
    flamegraph::from_lines(&mut look, folded.lines(), file).context("a flame graph cannot be drawn")?;
    Ok(folded)
}
