//! Whole connections over loopback: application, agent, tunnel, agent, application. The kernel's part and the
//! cluster's are played.

mod crowds;
pub(super) mod fixture;
mod idle;
mod lifecycle;
mod raw;
mod refusals;
mod servers;
mod strangers;
mod streams;
mod transports;
mod tunnels;
