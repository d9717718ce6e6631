//! A cluster of two nodes with real agents, kernel programs and pods: policy, certificates, Services, manifests, and
//! how agents begin and end.

mod certificates;
mod common;
mod lifecycle;
mod manifests;
mod policy;
mod refusals;
mod services;
mod wire;
