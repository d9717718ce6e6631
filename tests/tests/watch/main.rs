//! The cluster's state, followed at an API server that has bad days.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;
mod crds;
mod kinds;
mod lists;
mod mesh;
mod objects;
mod outages;
mod watches;
