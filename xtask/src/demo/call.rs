//! One request, made by curl in a client's pod.

use std::{fs, net::SocketAddr, process::Stdio, time::Duration};

use anyhow::Context;
use culvert_testbed::{DEADLINE, Family, Pod, Service};
use serde::Deserialize;

use super::{nginx::MARKER_HEADER, stage::SERVICE_PORT};

/// A request and what became of it.
pub(super) struct Call {
    /// Found nowhere but in this request and its answer.
    pub(super) marker: String,
    pub(super) outcome: Outcome,
    /// The client's end, if the connection came to be.
    pub(super) source: Option<SocketAddr>,
    /// What curl sent, in bytes.
    pub(super) sent: usize,
    /// The answer's body.
    pub(super) body: String,
}

/// How a request ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Answered { status: u16, pod: String },
    Failed { how: Failure, after: Duration },
}

/// Why there was no answer, by curl's exit status (see EXIT CODES in curl's manual).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Refused,
    Reset,
    TimedOut,
    Other(String),
}

/// The Service's address as applications name it.
pub(super) fn url(service: &Service) -> String {
    format!("http://{}/", service.address(Family::V4, SERVICE_PORT))
}

/// Asks a Service from a pod.
pub(super) fn call(client: &Pod, service: &Service, host: &str) -> anyhow::Result<Call> {
    let marker = marker()?;
    let mut curl = client.command("curl");
    // No configuration and no proxy of whoever runs this.
    curl.args(["--disable", "--noproxy", "*", "--silent", "--write-out", "%{stderr}%{json}"]);
    curl.arg("--max-time").arg(DEADLINE.as_secs().to_string());
    curl.arg("--header").arg(format!("Host: {host}"));
    curl.arg("--header").arg(format!("{MARKER_HEADER}: {marker}"));
    let output = curl.arg(url(service)).stdin(Stdio::null()).output().context("curl cannot be started")?;
    let report: Report =
        serde_json::from_slice(&output.stderr).context("curl says something else than JSON of itself")?;
    let body = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(Call {
        marker,
        source: report.source(),
        sent: report.size_request,
        outcome: report.outcome(&body),
        body,
    })
}

/// 32 hexadecimal digits.
fn marker() -> anyhow::Result<String> {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").context("the kernel makes no UUID")?;
    Ok(uuid.trim().replace('-', ""))
}

/// What curl says of a transfer: variables of `--write-out`.
#[derive(Deserialize)]
struct Report {
    exitcode: u8,
    errormsg: Option<String>,
    http_code: u16,
    local_ip: String,
    local_port: i32,
    size_request: usize,
    /// In seconds.
    time_total: f64,
}

impl Report {
    fn source(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.local_ip.parse().ok()?, u16::try_from(self.local_port).ok()?))
    }

    /// nginx is told to begin with its pod's name.
    fn outcome(&self, body: &str) -> Outcome {
        let after = Duration::from_secs_f64(self.time_total);
        match self.exitcode {
            0 => {
                let pod = body.split(' ').next().unwrap_or_default().to_owned();
                Outcome::Answered { status: self.http_code, pod }
            }
            7 => Outcome::Failed { how: Failure::Refused, after },
            // A reset while it reads, or while it sends; the peer closed without an answer.
            52 | 55 | 56 => Outcome::Failed { how: Failure::Reset, after },
            28 => Outcome::Failed { how: Failure::TimedOut, after },
            _ => Outcome::Failed { how: Failure::Other(self.errormsg.clone().unwrap_or_default()), after },
        }
    }
}
