//! `culvert ca` with an API server, and callers of every kind.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod api_server;
mod caller;
mod cluster;
mod issuing;
mod limits;
mod process;
mod refusals;
mod replicas;
mod rotation;
mod wire;
