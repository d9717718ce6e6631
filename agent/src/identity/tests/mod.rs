//! Handshakes in memory between workloads, and between workloads and impostors; and an authority over a real socket.

mod authority;
mod ca_answers;
mod ca_connections;
mod complaints;
mod fake_ca;
mod handshakes;
mod impostors;
mod istiod;
mod lifetimes;
mod mesh;
mod remote;
mod renewal;
mod roots;
mod rotation;
