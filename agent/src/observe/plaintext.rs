//! Records of the connections that the kernel left alone.

use std::{net::SocketAddr, time::Duration};

use culvert_abi::{self as abi, Event, EventKind};
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
        if event.kind != EventKind::Closed as u32 {
            return;
        }
        // The pod may have gone between the connection's end and now.
        if let Some(pod) = self.cluster.read().pod_at(SocketAddr::from(event.local).ip()) {
            let line = if event.direction == abi::Direction::Outbound as u32 {
                self.outbound(event, pod)
            } else {
                self.inbound(event, pod)
            };
            self.observer.ended(&line);
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
        let (Ok(reason) | Err(reason)) = index.admit_plaintext(&pod, local.port());
        let peer = index.pod_at(remote.ip());
        Line { destination: Some(local), ..line(event, Direction::Inbound, pod, remote, reason, peer) }
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
