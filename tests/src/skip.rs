//! Saying that a test could not run.

use std::{env, fs::OpenOptions, io::Write};

/// Puts a test that cannot run here, and why, on the list that `cargo xtask test` shows at its end.
pub fn skip(test: &str, reason: &str) {
    let Some(list) = env::var_os("CULVERT_SKIPS") else {
        panic!("{test} cannot run here: {reason}");
    };
    let list = OpenOptions::new().append(true).create(true).open(list);
    list.and_then(|mut list| writeln!(list, "{test}: {reason}"))
        .expect("the list of skipped tests can be written");
}
