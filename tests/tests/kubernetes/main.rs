//! Two nodes whose agents follow one API server and have their certificates from a real `culvert ca`, with the rights
//! that `deploy/culvert.yaml` grants and no others.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod app;
mod cluster;
mod effect;
mod migration;
mod outages;
mod rotation;
mod walkthrough;
