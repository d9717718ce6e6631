//! Records of the connections that the kernel left alone.

use std::{net::SocketAddr, time::Duration};

use culvert_abi::{self as abi, Event};
use culvert_policy::{Reason, Transport};

use super::{Direction, Line, Observer, Outcome};
use crate::cluster::{Cluster, PodRef};

/// Turns what the kernel tells of plaintext connections into records, one for each, when it ends.
#[derive(Debug)]
pub struct PlaintextLog<O> {
    cluster: Cluster,
    observer: O,
}

impl<O: Observer> PlaintextLog<O> {
    /// A log that asks `cluster` who the ends are, and tells `observer`.
    pub const fn new(cluster: Cluster, observer: O) -> Self {
        Self { cluster, observer }
    }

    /// Takes note of an event.
    pub fn write(&self, event: &Event) {
        // The pod may have gone between the connection's end and now.
        if let Some(pod) = self.cluster.read().pod_at(SocketAddr::from(event.local).ip()) {
            self.observer.ended(&self.line(event, pod));
        }
    }

    fn line(&self, event: &Event, pod: PodRef) -> Line {
        if event.direction == abi::Direction::Outbound as u64 {
            self.outbound(event, pod)
        } else if event.direction == abi::Direction::Probe as u64 {
            Line { reason: Reason::KubeletProbe, outcome: Outcome::Ok, ..self.inbound(event, pod) }
        } else {
            self.inbound(event, pod)
        }
    }

    /// The reason is what the rules say now; the kernel acted on what they said when the connection began.
    fn outbound(&self, event: &Event, pod: PodRef) -> Line {
        let (local, remote) = ends(event);
        let route = self.cluster.read().route(&pod, remote, 0);
        Line {
            destination: Some(remote),
            endpoint: Some(remote),
            ..line(event, Direction::Outbound, pod, local, route.reason, route.peer)
        }
    }

    fn inbound(&self, event: &Event, pod: PodRef) -> Line {
        let (local, remote) = ends(event);
        let index = self.cluster.read();
        let peer = index.pod_at(remote.ip());
        // What is not admitted now was when it began, and was closed for it.
        let (outcome, reason, detail) = match index.admit_plaintext(&pod, local.port()) {
            Ok(reason) => (Outcome::Ok, reason, None),
            Err(reason) => (Outcome::of(reason), reason, Some("policy changed".to_owned())),
        };
        let line = line(event, Direction::Inbound, pod, remote, reason, peer);
        Line { destination: Some(local), outcome, detail, ..line }
    }
}

fn ends(event: &Event) -> (SocketAddr, SocketAddr) {
    (event.local.into(), event.remote.into())
}

fn line(
    event: &Event,
    direction: Direction,
    pod: PodRef,
    source: SocketAddr,
    reason: Reason,
    peer_pod: Option<PodRef>,
) -> Line {
    Line {
        direction,
        transport: Some(Transport::Plaintext),
        outcome: Outcome::Ok,
        reason,
        source,
        destination: None,
        endpoint: None,
        pod,
        peer_pod,
        peer_identity: None,
        bytes_sent: event.sent,
        bytes_received: event.received,
        duration: Duration::from_nanos(event.age),
        detail: None,
    }
}
