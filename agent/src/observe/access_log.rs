//! The access log.

use culvert_policy::Transport;
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
            transport = line.transport.map(Transport::as_str),
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

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use culvert_policy::{Reason, SpiffeId, Transport};
    use serde_json::{Value, json};
    use tracing_subscriber::fmt;

    use super::*;
    use crate::{
        cluster::PodRef,
        observe::{Direction, Record},
    };

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(fill: impl FnOnce(&Record)) -> Value {
        let page = Page::default();
        let writer = page.clone();
        let subscriber = fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let pod = PodRef { namespace: "full".into(), name: "sleep-1".into() };
            let source = "10.0.0.1:4000".parse().unwrap();
            fill(&Record::new(Arc::new(AccessLog), Direction::Outbound, pod, source));
        });
        let mut line: Value = serde_json::from_slice(&page.0.lock().unwrap()).unwrap();
        let fields = line.as_object_mut().unwrap();
        assert!(fields.remove("timestamp").is_some() && fields.remove("duration_ms").unwrap().is_u64());
        line
    }

    #[test]
    fn a_line_has_every_field() {
        let line = written(|record| {
            record.learn(|line| {
                line.transport = Some(Transport::Hbone);
                line.destination = Some("10.96.0.1:80".parse().unwrap());
                line.endpoint = Some("[fd00::2]:8080".parse().unwrap());
                line.peer_pod = Some(PodRef { namespace: "full".into(), name: "httpbin-1".into() });
                line.peer_identity = Some(SpiffeId::new("cluster.local", "full", "httpbin"));
            });
            record.sent.set(5);
            record.received.set(7);
            record.note("reset by the peer");
            record.carried(Reason::PeerHbone);
            record.ended(Reason::TunnelFailed, "too late to count");
        });
        let expected = json!({
            "level": "INFO",
            "target": "access",
            "direction": "outbound",
            "transport": "hbone",
            "outcome": "ok",
            "reason": "peer_hbone",
            "source": "10.0.0.1:4000",
            "destination": "10.96.0.1:80",
            "endpoint": "[fd00::2]:8080",
            "pod": "full/sleep-1",
            "peer_pod": "full/httpbin-1",
            "peer_identity": "spiffe://cluster.local/ns/full/sa/httpbin",
            "bytes_sent": 5,
            "bytes_received": 7,
            "detail": "reset by the peer",
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn a_connection_that_nobody_ended_was_cut() {
        let line = written(|_| {});
        assert_eq!((&line["outcome"], &line["reason"]), (&json!("failed"), &json!("shutting_down")));
        assert_eq!(line.get("transport"), None);
    }
}
