//! A cluster of two nodes with real agents, kernel programs and pods: policy, certificates, Services, manifests, and
//! how agents begin and end.

mod certificates;
mod common;
mod enforce;
mod lifecycle;
mod manifests;
mod origination;
mod outside;
mod policy;
mod probes;
mod refusals;
mod services;
mod sidecar;
mod wire;
