//! Handshakes in memory between workloads, and between workloads and impostors.

mod authority;
mod handshakes;
mod impostors;
mod mesh;
mod rotation;
