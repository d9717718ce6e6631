//! What one size of the cluster brought: the figures as the JSON file has them. MB is 10⁶ bytes.

use serde::Serialize;

/// All of one size.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Sample {
    pub(super) pods: u32,
    pub(super) services: u32,
    #[serde(flatten)]
    pub(super) start: Start,
    #[serde(flatten)]
    pub(super) steady: Steady,
}

/// From the agent's start until it is ready, its peer map filled.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Start {
    pub(super) first_sync_s: f64,
    /// The agent's CPU time until then.
    pub(super) first_sync_cpu_s: f64,
    /// Its resident memory then (`VmRSS`).
    pub(super) memory_synced_mb: f64,
    /// Entries in the peer map then, and the kernel's memory that the map takes.
    pub(super) peers: u32,
    pub(super) peers_mb: f64,
}

/// While pods changed at a steady rate.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Steady {
    /// What really changed.
    pub(super) changes_per_second: f64,
    /// From a write in the API server until the kernel's peer map shows it.
    pub(super) lag_p50_ms: f64,
    pub(super) lag_p99_ms: f64,
    pub(super) lag_max_ms: f64,
    /// Steady that the next one of the same pod came before.
    pub(super) overtaken: u32,
    /// The agent's CPU time per change.
    pub(super) cpu_us_per_change: f64,
    /// Its CPU time as a share of the one CPU that it has.
    pub(super) cpu_share: f64,
    /// Its resident memory after the last change, and the most that it ever was (`VmHWM`).
    pub(super) memory_after_mb: f64,
    pub(super) memory_peak_mb: f64,
}
