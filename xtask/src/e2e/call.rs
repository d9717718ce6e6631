//! One request from a client's pod, and what the agents recorded of it.

use std::{
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;

use super::cluster::Cluster;
use crate::{
    step::shown,
    walkthrough::{Namespace, Transport},
};

/// How long agents may take to log a connection that has ended.
const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(250);

/// A request, and what is known of it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) outcome: Outcome,
    /// As the client's agent recorded it.
    pub(super) client: Option<Transport>,
    /// As the server's agent recorded it.
    pub(super) server: Option<Transport>,
    /// Whom the server's agent took the client for.
    pub(super) identity: Option<String>,
}

/// How a request ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// By which pod, and whether that one is enrolled.
    Answered { pod: String, enrolled: bool },
    /// At once.
    Refused,
    /// In another way, in curl's words.
    Failed(String),
}

/// Asks a namespace's Service from the client of another, and the agents what they saw of it.
pub(super) fn call(cluster: &Cluster, client: Namespace, server: Namespace) -> anyhow::Result<Seen> {
    let answer = request(cluster, client, server)?;
    records(cluster, client, answer)
}

/// Asks a namespace's Service from the client of another.
pub(super) fn request(cluster: &Cluster, client: Namespace, server: Namespace) -> anyhow::Result<Answer> {
    let (client, host) = (client.as_str(), format!("httpbin.{}.svc.cluster.local", server.as_str()));
    let mut exec = cluster.kubectl();
    exec.args(["exec", "--namespace", client, "sleep", "--", "curl", "--disable", "--silent"]);
    exec.args(["--max-time", "10", "--write-out", "\n%{json}"]).arg(format!("http://{host}/hostname"));
    let output = exec.stdin(Stdio::null()).output().context("kubectl cannot be started")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (body, report) = text.rsplit_once('\n').unwrap_or_default();
    let report: Report = serde_json::from_str(report).with_context(|| {
        let told = String::from_utf8_lossy(&output.stderr);
        format!("{}: curl tells nothing of itself: {told}", shown(&exec))
    })?;
    Ok(Answer { outcome: report.outcome(server, body.trim()), source: report.source() })
}

/// What the client saw.
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    /// The client's end, as the access log writes it.
    source: String,
}

/// What curl says of a transfer: variables of `--write-out`.
#[derive(Deserialize)]
struct Report {
    exitcode: u8,
    errormsg: Option<String>,
    http_code: u16,
    local_ip: String,
    local_port: i32,
}

impl Report {
    fn source(&self) -> String {
        format!("{}:{}", self.local_ip, self.local_port)
    }

    /// By curl's exit status (EXIT CODES in its manual): could not connect; no answer; reset while sending, or reading.
    fn outcome(&self, server: Namespace, body: &str) -> Outcome {
        match (self.exitcode, self.http_code) {
            (0, 200) => Outcome::Answered { pod: body.to_owned(), enrolled: is_enrolled(server, body) },
            (0, status) => Outcome::Failed(format!("status {status}")),
            (7 | 52 | 55 | 56, _) => Outcome::Refused,
            _ => Outcome::Failed(self.errormsg.clone().unwrap_or_default()),
        }
    }
}

/// Whether a server's pod is one that workloads.yaml enrols.
fn is_enrolled(namespace: Namespace, pod: &str) -> bool {
    match namespace {
        Namespace::Full => true,
        Namespace::Partial => pod == "httpbin-new",
        Namespace::Legacy => false,
    }
}

/// Waits for the records that there have to be; one that does not come is missing in what this returns.
fn records(cluster: &Cluster, client: Namespace, answer: Answer) -> anyhow::Result<Seen> {
    let Answer { outcome, source } = answer;
    let Outcome::Answered { enrolled, .. } = outcome else {
        return Ok(Seen { outcome, client: None, server: None, identity: None });
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let log = cluster.agents_log()?;
        let find = |direction| log.iter().rev().find(|line| is_record(line, direction, &source));
        let (at_client, at_server) = (find("outbound"), find("inbound"));
        let all = (client == Namespace::Legacy || at_client.is_some()) && (!enrolled || at_server.is_some());
        if all || Instant::now() > deadline {
            let identity = at_server.and_then(|line| line["peer_identity"].as_str()).map(ToOwned::to_owned);
            let (client, server) = (at_client.and_then(transport), at_server.and_then(transport));
            return Ok(Seen { outcome, client, server, identity });
        }
        thread::sleep(AGAIN);
    }
}

fn is_record(line: &Value, direction: &str, source: &str) -> bool {
    line["target"] == "access" && line["direction"] == direction && line["source"] == source
}

fn transport(line: &Value) -> Option<Transport> {
    Transport::of(line["transport"].as_str()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(json: &str, body: &str) -> Outcome {
        serde_json::from_str::<Report>(json).unwrap().outcome(Namespace::Partial, body)
    }

    #[test]
    fn an_answer_is_told_from_a_refusal_and_from_a_time_out() {
        let report = r#"{"exitcode":0,"errormsg":null,"http_code":200,"local_ip":"10.0.0.2","local_port":4}"#;
        let answered = |pod: &str, enrolled| Outcome::Answered { pod: pod.to_owned(), enrolled };
        assert_eq!(outcome(report, "httpbin-new"), answered("httpbin-new", true));
        assert_eq!(outcome(report, "httpbin-old"), answered("httpbin-old", false));
        let refused = r#"{"exitcode":7,"errormsg":"refused","http_code":0,"local_ip":"","local_port":0}"#;
        assert_eq!(outcome(refused, ""), Outcome::Refused);
        let late = r#"{"exitcode":28,"errormsg":"timed out","http_code":0,"local_ip":"","local_port":0}"#;
        assert_eq!(outcome(late, ""), Outcome::Failed("timed out".to_owned()));
    }

    #[test]
    fn a_record_is_known_by_the_clients_end() {
        let report: Report = serde_json::from_str(
            r#"{"exitcode":0,"errormsg":null,"http_code":200,"local_ip":"10.244.1.2","local_port":41234}"#,
        )
        .unwrap();
        let line = serde_json::json!({
            "target": "access", "direction": "inbound", "transport": "hbone", "source": "10.244.1.2:41234",
        });
        assert!(
            is_record(&line, "inbound", &report.source()) && !is_record(&line, "outbound", &report.source())
        );
        assert_eq!(transport(&line), Some(Transport::Mtls));
    }
}
