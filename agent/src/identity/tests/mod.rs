//! Handshakes in memory between workloads, and between workloads and impostors; and an authority over a real socket.

mod authority;
mod ca_answers;
mod ca_connections;
mod fake_ca;
mod handshakes;
mod impostors;
mod mesh;
mod renewal;
mod roots;
mod rotation;
