//! The kernel's programs and maps: loading, attaching, pinning, and typed access.

mod environment;
mod events;
mod inbound;
mod log;
mod maps;
mod mirror;
mod peers;
mod pins;
mod programs;

pub use environment::{EnvironmentError, Requirements};
pub use events::Events;
pub use inbound::InboundMaps;
pub use log::KernelLog;
pub use maps::{ControlMaps, MapFill, MapsError, WorkerMapIds, WorkerMaps};
pub use pins::{BPFFS, PinError, Pins};
pub use programs::{Failure, LoadError, NodeLinks, OBJECT, Options, PodLink, Programs};
