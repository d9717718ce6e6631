//! One agent under one workload, for a person.

use std::fmt;

use super::{calls::Calls, stacks::Stacks};

/// What was seen.
pub(super) struct Summary<'a> {
    pub(super) name: &'a str,
    pub(super) stacks: &'a Stacks,
    /// What calls are counted by.
    pub(super) unit: &'a str,
    pub(super) calls: &'a Calls,
}

/// Functions, beyond which shares are small.
const FUNCTIONS: usize = 15;
/// A smaller share is not worth a place in a line.
const LEAST: f64 = 0.005;

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, stacks, unit, calls } = self;
        writeln!(f, "{name}")?;
        writeln!(f, "  time: {}", percent(&stacks.places))?;
        for (function, share) in stacks.functions.iter().take(FUNCTIONS) {
            writeln!(f, "  {:>6.1} %  {function}", share * 100.0)?;
        }
        let by_name = calls.by_name.iter().filter(|(_, count)| *count >= LEAST * calls.total);
        let by_name: Vec<_> = by_name.map(|(name, count)| format!("{name} {}", figure(*count))).collect();
        writeln!(f, "  system calls per {unit}: {} ({})\n", figure(calls.total), by_name.join(", "))
    }
}

fn percent(shares: &[(String, f64)]) -> String {
    let worth = shares.iter().filter(|(_, share)| *share >= LEAST);
    worth.map(|(name, share)| format!("{name} {:.1} %", share * 100.0)).collect::<Vec<_>>().join(", ")
}

/// Digits that mean something, whether that is calls per request or per gigabyte.
fn figure(count: f64) -> String {
    if count < 100.0 { format!("{count:.2}") } else { format!("{count:.0}") }
}
