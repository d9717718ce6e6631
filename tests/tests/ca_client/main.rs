//! Agents that get their pods' certificates from `culvert ca`, by way of an API server.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod certificates;
mod cluster;
mod roots;
mod tokens;
