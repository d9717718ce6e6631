//! Whole connections over loopback: application, agent, tunnel, agent, application. The kernel's part and the
//! cluster's are played.

mod fixture;
mod lifecycle;
mod raw;
mod refusals;
mod streams;
mod tunnels;
