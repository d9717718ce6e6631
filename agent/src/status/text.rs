//! The document, for people.

use std::{
    fmt::{self, Display, Write},
    time::{Duration, SystemTime},
};

use super::{Document, Timestamp};

/// Writes everything, what needs a person first.
pub fn write(document: &Document, now: SystemTime) -> String {
    let mut text = String::new();
    summary(document, now, &mut text)
        .and_then(|()| concerns(document, &mut text))
        .and_then(|()| tables(document, now, &mut text))
        .expect("writing to a string does not fail");
    text
}

/// Everything, for machines.
pub fn json(document: &Document) -> String {
    serde_json::to_string_pretty(document).expect("a document has only keys that are text") + "\n"
}

/// Whether the agent is ready, and if not, why.
pub fn readiness(document: &Document) -> String {
    if document.not_ready.is_empty() { "ready\n".to_owned() } else { document.not_ready.join("\n") + "\n" }
}

fn summary(document: &Document, now: SystemTime, text: &mut String) -> fmt::Result {
    let state = if document.not_ready.is_empty() { "ready" } else { "not ready" };
    let Document { version, node, failure, since, .. } = document;
    writeln!(text, "culvert {version} on node {node}: {state}, for {}, failure {failure}", age(*since, now))
}

fn concerns(document: &Document, text: &mut String) -> fmt::Result {
    document.concerns.iter().try_for_each(|concern| writeln!(text, "! {concern}"))
}

fn tables(document: &Document, now: SystemTime, text: &mut String) -> fmt::Result {
    let pods = &document.pods;
    let programs = document.programs.iter().map(|it| row([&it.name, &it.attached_to]));
    table(text, "no program is attached", &["PROGRAM", "ATTACHED TO"], programs)?;
    let enrolled = pods.enrolled.iter().map(|it| {
        let addresses: Vec<_> = it.addresses.iter().map(ToString::to_string).collect();
        let told = if it.announced { "yes" } else { "no" };
        row([&it.pod, &it.identity, &addresses.join(","), &age(it.since, now), &told])
    });
    table(text, "no pod is enrolled", &["POD", "IDENTITY", "ADDRESSES", "FOR", "ANNOUNCED"], enrolled)?;
    let others = pods.not_enrolled.iter().map(|it| row([&it.pod, &it.reason]));
    table(text, "", &["NOT ENROLLED", "BECAUSE"], others)?;
    let watches = document.cluster.watches.iter().map(|it| {
        let heard = it.last_event.map_or_else(|| "-".to_owned(), |at| format!("{} ago", age(at, now)));
        row([&it.resource, &it.state, &it.objects, &heard])
    });
    table(text, "nothing is watched", &["RESOURCE", "STATE", "OBJECTS", "LAST EVENT"], watches)?;
    let certificates = document
        .certificates
        .iter()
        .map(|it| row([&it.identity, &until(it.not_after, now), &until(it.renewal, now)]));
    table(text, "no certificate is held", &["CERTIFICATE", "EXPIRES IN", "RENEWED IN"], certificates)?;
    let roots = document.roots.iter().map(|it| row([&it.fingerprint, &until(Some(it.not_after), now)]));
    table(text, "no root is trusted yet", &["ROOT (SHA-256)", "EXPIRES IN"], roots)?;
    let maps = document.maps.iter().map(|it| row([&it.name, &it.entries, &it.capacity, &it.id]));
    table(text, "", &["MAP", "ENTRIES", "CAPACITY", "ID"], maps)?;
    let connects = document.connects.iter().map(|it| row([&it.outcome, &it.count]));
    table(text, "", &["CONNECT", "COUNT"], connects)
}

fn row<const N: usize>(cells: [&dyn Display; N]) -> Vec<String> {
    cells.iter().map(ToString::to_string).collect()
}

/// Columns as wide as their widest cell; without rows, the words for that.
fn table(
    text: &mut String,
    empty: &str,
    header: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
) -> fmt::Result {
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return if empty.is_empty() { Ok(()) } else { writeln!(text, "\n{empty}") };
    }
    let header = header.iter().map(ToString::to_string).collect();
    let lines: Vec<Vec<String>> = [vec![header], rows].concat();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    text.push('\n');
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

fn age(since: Timestamp, now: SystemTime) -> String {
    seconds(now.duration_since(since.0).unwrap_or_default())
}

fn until(moment: Option<Timestamp>, now: SystemTime) -> String {
    let Some(moment) = moment else { return "-".to_owned() };
    moment.0.duration_since(now).map_or_else(|_| "over".to_owned(), seconds)
}

/// The two largest units are enough for a person.
fn seconds(duration: Duration) -> String {
    let whole = humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string();
    whole.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::status::{Certificate, Cluster, Enrolled, Map, NotEnrolled, Pods, Program, Root, Watch};

    fn at(seconds: u64) -> Timestamp {
        Timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// An agent that is well.
    pub(in crate::status) fn document() -> Document {
        let identity = "spiffe://cluster.local/ns/full/sa/sleep".to_owned();
        Document {
            version: "0.1.0".into(),
            node: "a".into(),
            failure: "closed".into(),
            since: at(10_000),
            not_ready: vec![],
            concerns: vec![],
            programs: vec![Program { name: "connect4".into(), attached_to: "/sys/fs/cgroup".into() }],
            pods: Pods {
                enrolled: vec![Enrolled {
                    pod: "full/sleep".into(),
                    identity: identity.clone(),
                    addresses: vec!["10.0.0.1".parse().expect("an address")],
                    since: at(10_010),
                    announced: true,
                    problem: None,
                }],
                not_enrolled: vec![],
            },
            cluster: Cluster {
                revision: 7,
                synced: true,
                watches: vec![Watch {
                    resource: "pods".into(),
                    state: "watching".into(),
                    objects: 12,
                    last_event: Some(at(99_998)),
                    error: None,
                    settled: true,
                }],
                problems: vec![],
            },
            certificates: vec![Certificate {
                identity,
                not_after: Some(at(180_000)),
                renewal: Some(at(140_000)),
                error: None,
            }],
            roots: vec![Root { fingerprint: "ab".into(), not_after: at(9_000_000) }],
            maps: vec![Map { name: "PODS".into(), id: 3, entries: 1, capacity: 4096 }],
            connects: vec![],
            lost_records: 0,
        }
    }

    #[test]
    fn what_needs_a_person_comes_before_everything_else() {
        let mut document = document();
        document.not_ready = vec!["no certificate".into()];
        document.pods.not_enrolled = vec![NotEnrolled {
            pod: "full/other".into(),
            reason: "the map is full".into(),
            transient: false,
            since: None,
        }];
        document.concerns = document.concerns(at(100_000).0);
        let text = write(&document, at(100_000).0);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "culvert 0.1.0 on node a: not ready, for 1day 1h, failure closed");
        assert_eq!(lines[1], "! the agent is not ready: no certificate");
        assert_eq!(lines[2], "! pod full/other is not enrolled: the map is full");
        assert!(text.contains("pods      watching  12       2s ago"), "{text}");
    }

    #[test]
    fn survives_the_way_through_json() {
        let document = document();
        let json = serde_json::to_string(&document).expect("JSON");
        assert_eq!(serde_json::from_str::<Document>(&json).expect("a document"), document);
    }
}
