//! Envoy as the other side: what agents say and hear is told by somebody else's code, too.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod app;
mod certificates;
mod crowd;
mod hbone;
mod many;
mod sidecar;
mod site;
mod streams;
