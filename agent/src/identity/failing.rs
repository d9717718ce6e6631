//! Since when something has been failing, and why.

use std::{error::Error, time::SystemTime};

/// A failure that lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failing {
    pub(super) since: SystemTime,
    /// The newest reason, with what lies beneath it.
    pub(super) error: String,
}

/// An error with its sources, each told once: some libraries repeat the source in the error.
pub(crate) fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let told = source.to_string();
        if !text.ends_with(&told) {
            text = format!("{text}: {told}");
        }
        next = source.source();
    }
    text
}
