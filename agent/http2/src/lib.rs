//! One end of an HTTP/2 connection (RFC 9113) whose streams are CONNECT tunnels, without I/O: bytes received go in,
//! events and frames to be sent come out.
//!
//! The owner reads from its transport, feeds [`Connection::receive`] until all bytes are taken, acts on each [`Event`],
//! and sends what [`Connection::output`] holds. It takes frames out of the output only as fast as the transport accepts
//! them: what the peer makes us answer is bounded by what waits there.
//!
//! No state is kept of a stream that is over, no payload is copied, and nothing is allocated for a DATA frame.

#![forbid(unsafe_code)]

mod buffer;
mod code;
mod connection;
mod event;
mod flow;
mod frame;
#[doc(hidden)]
pub mod fuzz;
mod going;
mod head;
mod hpack;
mod id;
mod limits;
mod output;
mod patience;
mod receive;
mod send;
mod settings;
mod stream;
mod streams;
mod violation;

pub use buffer::Buffer;
pub use code::ErrorCode;
pub use connection::Connection;
pub use event::{Event, Received};
pub use head::Head;
pub use id::StreamId;
pub use limits::Limits;
pub use send::{Request, Unavailable};
pub use violation::Violation;
