//! HBONE: HTTP/2 CONNECT over mTLS, one tunnel for many streams. The HTTP/2 codec (`agent/http2`) is known in this
//! module only.

mod arrears;
mod client;
mod crowd;
mod driver;
mod early;
mod flow;
pub(crate) mod headers;
mod link;
mod load;
mod outlet;
mod pool;
mod portion;
mod server;
mod socket;
mod stream;

use std::time::Duration;

use culvert_http2::Limits;

pub(super) use client::{Driver, Tunnel, Unopened};
pub(super) use early::Early;
pub(super) use pool::{Key, Pool, Promise, Shown};
pub(super) use server::{Asked, serve};
pub(super) use stream::Stream;

/// The port that servers listen on (Istio `pilot/pkg/model/proxy.go`, `HBoneInboundListenPort`).
pub const PORT: u16 = 15008;

/// Streams that one tunnel carries at once; more get a tunnel of their own.
const MAX_STREAMS: u32 = 1024;
/// Streams that a peer surely allows before it has said how many: they need not wait for that.
const FIRST_STREAMS: usize = 1;
/// What a peer may send on one stream before its bytes have reached the application: the bound on a stream's memory. Not
/// less, as Envoy drops what a window holds back when a server closes after its answer.
const STREAM_WINDOW: u32 = 1 << 20;
/// What may be under way on a tunnel. It is given back as bytes arrive, so that a stalled stream never holds up the
/// others.
const CONNECTION_WINDOW: u32 = 1 << 24;
/// The largest frame to receive, as Istio's peers announce it.
const FRAME: u32 = 1 << 20;
/// What a request's headers may amount to; those of HBONE take some hundred bytes.
const HEADER_LIST: u32 = 16 * 1024;
/// What peers are told, and held to.
const LIMITS: Limits = Limits {
    streams: MAX_STREAMS,
    stream_window: STREAM_WINDOW,
    connection_window: CONNECTION_WINDOW,
    frame: FRAME,
    header_list: HEADER_LIST,
};
/// A tunnel that carried no stream for this long is closed: by the client that opened it, and, should the client
/// never do so, by the server.
const CLIENT_IDLE: Duration = Duration::from_mins(5);
const SERVER_IDLE: Duration = Duration::from_mins(15);
