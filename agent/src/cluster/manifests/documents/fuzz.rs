//! A file of manifests, as YAML and as JSON.

use super::*;
use crate::cluster::{Settings, decode, decode::fuzz::come_and_go};

/// Each document is counted once, and each object in it comes and goes.
pub(crate) fn run(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let come = ["fuzz.yaml", "fuzz.json"].map(|file| {
        let documents = read(file, text);
        assert!(documents.len() <= text.lines().count() + 1);
        assert!(documents.iter().map(|document| document.number).eq(1..=documents.len()));
        let items = documents.into_iter().filter_map(|document| document.items.ok()).flatten();
        let objects = items.filter_map(|item| decode(&item.value, &Settings::default()).ok().flatten());
        come_and_go(objects.collect())
    });
    come.contains(&true)
}
