//! The access log.

use tracing::info;

use super::{Line, Observer};

/// Writes one line per connection to the tracing target `access`, at INFO.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccessLog;

impl Observer for AccessLog {
    fn ended(&self, line: &Line) {
        info!(
            target: "access",
            direction = line.direction.as_str(),
            transport = line.transport.map(|transport| transport.as_str()),
            outcome = line.outcome.as_str(),
            reason = line.reason.as_str(),
            source = display(line.source),
            destination = line.destination.map(display),
            endpoint = line.endpoint.map(display),
            pod = display(&line.pod),
            peer_pod = line.peer_pod.as_ref().map(display),
            peer_identity = line.peer_identity.as_ref().map(display),
            bytes_sent = line.bytes_sent,
            bytes_received = line.bytes_received,
            duration_ms = u64::try_from(line.duration.as_millis()).unwrap_or(u64::MAX),
            detail = line.detail.as_deref(),
        );
    }
}
