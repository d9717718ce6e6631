//! HBONE: HTTP/2 CONNECT over mTLS, one tunnel for many streams. The HTTP/2 codec is known in this module only.

mod client;
pub(crate) mod headers;
mod load;
mod pool;
mod server;
mod stream;
mod watched;

use std::time::Duration;

pub(super) use client::{Driver, Tunnel, Unopened};
pub(super) use pool::{Key, Pool, Promise, Shown};
pub(super) use server::{Asked, serve};
pub(super) use stream::Stream;

/// The port that servers listen on (Istio `pilot/pkg/model/proxy.go`, `HBoneInboundListenPort`).
pub const PORT: u16 = 15008;

/// Streams that one tunnel carries at once; more get a tunnel of their own.
const MAX_STREAMS: u32 = 1024;
/// Streams that a peer surely allows before it has said how many: they need not wait for that.
const FIRST_STREAMS: usize = 1;
/// What a peer may send on one stream before its bytes have reached the application: the bound on a stream's memory.
const STREAM_WINDOW: u32 = 1 << 20;
/// All streams at once can fill their windows, so that stalled ones never hold up the others.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS;
const _: () = assert!(CONNECTION_WINDOW < 1 << 31, "RFC 9113, section 6.9.1");
/// The largest frame to receive, as Istio's peers announce it.
const FRAME: u32 = 1 << 20;
/// What one stream may hold ready to be sent.
const SEND_BUFFER: usize = 256 * 1024;
/// What a request's headers may amount to; those of HBONE take some hundred bytes.
const HEADER_LIST: u32 = 16 * 1024;
/// A tunnel that carried no stream for this long is closed: by the client that opened it, and, should the client
/// never do so, by the server.
const CLIENT_IDLE: Duration = Duration::from_mins(5);
const SERVER_IDLE: Duration = Duration::from_mins(15);
