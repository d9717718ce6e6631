//! One record per connection, and what becomes of it.

mod access_log;
mod plaintext;
mod record;

use std::{fmt, net::SocketAddr, time::Duration};

use culvert_policy::{Reason, SpiffeId, Transport};

pub use access_log::AccessLog;
pub use plaintext::PlaintextLog;
pub use record::Record;

use crate::cluster::PodRef;

/// Hears of every connection that ended.
pub trait Observer: Send + Sync + 'static {
    /// The connection is over, or was refused; called once for each, on the thread that served it.
    fn ended(&self, line: &Line);
}

/// What is known of one connection, as the agent of one of its two ends saw it.
#[derive(Clone, Debug)]
pub struct Line {
    /// Which end.
    pub direction: Direction,
    /// How it was carried; none where that was never decided.
    pub transport: Option<Transport>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it went that way.
    pub reason: Reason,
    /// The client's address.
    pub source: SocketAddr,
    /// What the client asked for; for inbound, the application's address.
    pub destination: Option<SocketAddr>,
    /// The endpoint that was chosen for it; none for inbound.
    pub endpoint: Option<SocketAddr>,
    /// The pod of this node.
    pub pod: PodRef,
    /// The pod at the other end, where the cluster knows one.
    pub peer_pod: Option<PodRef>,
    /// Whom the other end's certificate named, once it was verified.
    pub peer_identity: Option<SpiffeId>,
    /// Bytes that the application on this node sent.
    pub bytes_sent: u64,
    /// Bytes that the application on this node received.
    pub bytes_received: u64,
    /// From accept to end.
    pub duration: Duration,
    /// Words for people: an error's text, say.
    pub detail: Option<String>,
}

/// Which end of a connection the agent served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The client's.
    Outbound,
    /// The server's.
    Inbound,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The applications ended it.
    Ok,
    /// A decision, or a certificate, kept it from being carried (on).
    Refused,
    /// Something broke.
    Failed,
}

impl Outcome {
    /// How a connection ends that `reason` kept from being carried to its own end.
    pub const fn of(reason: Reason) -> Self {
        match reason {
            Reason::Timeout
            | Reason::HandshakeFailed
            | Reason::PeerUnreachable
            | Reason::PeerAppUnreachable
            | Reason::AppUnreachable
            | Reason::TunnelFailed
            | Reason::ShuttingDown
            | Reason::OutOfResources => Self::Failed,
            _ => Self::Refused,
        }
    }

    /// The word for it in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl Direction {
    /// The word for it in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
