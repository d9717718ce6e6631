//! What people read of it.

use std::time::Duration;

use anyhow::bail;

use super::{
    call::{Failure, Outcome},
    verdict::{Row, Seen},
};
use crate::{
    step::say,
    walkthrough::{Expected, Transport},
};

/// Shows a step: its pairs, then what could be read between the nodes.
pub(super) fn show(rows: &[Row]) {
    say("");
    say(&line(["", "client", "server", "expected", "seen", "client's identity, recorded at the server"]));
    for row in rows {
        show_row(row);
    }
    let mut wire = Wire::default();
    wire.add(rows);
    say("    readable between the nodes:");
    wire.show();
    say("");
}

/// The sums over all steps.
#[derive(Default)]
pub(super) struct Tally {
    cells: usize,
    wrong: usize,
    wire: Wire,
}

impl Tally {
    pub(super) fn add(&mut self, rows: &[Row]) {
        self.cells += rows.len();
        self.wrong += rows.iter().filter(|row| !row.complaints().is_empty()).count();
        self.wire.add(rows);
    }

    /// Says how it went; an error if not all was as expected.
    pub(super) fn conclude(&self, took: Duration) -> anyhow::Result<()> {
        let right = self.cells - self.wrong;
        say(&format!("{right} of {} cells as expected, in {:.1} s", self.cells, took.as_secs_f64()));
        say("readable between the nodes, in all steps:");
        self.wire.show();
        if self.wrong > 0 {
            bail!("{} of {} cells disagree", self.wrong, self.cells);
        }
        Ok(())
    }
}

/// Requests by how they were carried, and what could be read of them.
#[derive(Default)]
struct Wire {
    tunnelled: Bytes,
    plaintext: Bytes,
    failed: Bytes,
}

#[derive(Default)]
struct Bytes {
    requests: usize,
    sent: usize,
    sent_readable: usize,
    answered: usize,
    answered_readable: usize,
}

impl Wire {
    fn add(&mut self, rows: &[Row]) {
        for seen in rows.iter().flat_map(|row| &row.seen) {
            match seen.transport() {
                Some(Transport::Mtls) => self.tunnelled.add(seen),
                Some(Transport::Plaintext) => self.plaintext.add(seen),
                None => self.failed.add(seen),
            }
        }
    }

    fn show(&self) {
        let kinds = [("mTLS", &self.tunnelled), ("plaintext", &self.plaintext), ("failed", &self.failed)];
        for (kind, bytes) in kinds.into_iter().filter(|(_, bytes)| bytes.requests > 0) {
            say(&bytes.line(kind));
        }
    }
}

impl Bytes {
    const fn add(&mut self, seen: &Seen) {
        self.requests += 1;
        self.sent += seen.call.sent;
        self.sent_readable += seen.readable.request;
        self.answered += seen.call.body.len();
        self.answered_readable += seen.readable.answer;
    }

    fn line(&self, kind: &str) -> String {
        let Self { requests, sent, sent_readable, answered, answered_readable } = self;
        format!(
            "    {kind:<10} {requests:>3} calls: {sent_readable:>5} of {sent:>5} bytes of requests, \
             {answered_readable:>5} of {answered:>5} bytes of answers"
        )
    }
}

fn show_row(row: &Row) {
    let complaints = row.complaints();
    let mark = if complaints.is_empty() { "ok" } else { "WRONG" };
    let pair = [mark, row.client.as_str(), row.server.as_str(), expected(row.expected)];
    for (at, (count, seen, identity)) in groups(&row.seen).into_iter().enumerate() {
        let [mark, client, server, expected] = if at == 0 { pair } else { [""; 4] };
        let seen = if row.seen.len() == 1 { seen } else { format!("{count} × {seen}") };
        say(&line([mark, client, server, expected, &seen, &identity]));
    }
    for text in complaints.iter().chain(if complaints.is_empty() { &[][..] } else { &row.log }) {
        say(&format!("          {text}"));
    }
}

fn line([mark, client, server, expected, seen, identity]: [&str; 6]) -> String {
    let text = format!("    {mark:<6}{client:<8}{server:<9}{expected:<21}{seen:<34}{identity}");
    text.trim_end().to_owned()
}

const fn expected(expected: Expected) -> &'static str {
    match expected {
        Expected::Mtls => "200 mTLS",
        Expected::Plaintext => "200 plaintext",
        Expected::ByPod => "200 mTLS, plaintext",
        Expected::Fails => "fails at once",
    }
}

/// Calls that went alike, in the order in which their kind came up first.
fn groups(seen: &[Seen]) -> Vec<(usize, String, String)> {
    let mut groups: Vec<(usize, String, String)> = Vec::new();
    for seen in seen {
        let (what, identity) = (what(seen), seen.records.identity().unwrap_or("-").to_owned());
        match groups.iter_mut().find(|group| group.1 == what && group.2 == identity) {
            Some(group) => group.0 += 1,
            None => groups.push((1, what, identity)),
        }
    }
    groups
}

fn what(seen: &Seen) -> String {
    match &seen.call.outcome {
        Outcome::Answered { status, .. } => {
            format!("{status} {}", seen.transport().map_or("unrecorded", Transport::as_str))
        }
        Outcome::Failed { how, after } => {
            let reason = seen.records.reason().map_or_else(String::new, |reason| format!(" ({reason})"));
            format!("{} in {:.1} ms{reason}", failure(how), after.as_secs_f64() * 1000.0)
        }
    }
}

fn failure(how: &Failure) -> &str {
    match how {
        Failure::Refused => "refused",
        Failure::Reset => "reset",
        Failure::TimedOut => "timed out",
        Failure::Other(message) => message,
    }
}
