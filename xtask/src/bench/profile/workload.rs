//! What the agents are made to do.

use std::process::Command;

use crate::bench::{cost, measure::GIGA, service::Service, site::Site};

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Workload {
    /// One stream of iperf3.
    Bulk,
    /// Requests of 64 bytes over 64 connections.
    Requests,
    /// Short connections with a round trip each, one after the other.
    Connections,
}

impl Workload {
    pub(super) const ALL: [Self; 3] = [Self::Bulk, Self::Requests, Self::Connections];

    /// What its files' names begin with.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::Requests => "requests",
            Self::Connections => "connections",
        }
    }

    /// What system calls are counted by.
    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::Bulk => "GB",
            Self::Requests => "request",
            Self::Connections => "connection",
        }
    }

    pub(super) fn client(self, site: &Site, seconds: u32) -> Command {
        match self {
            Self::Bulk => site.iperf(1, seconds),
            Self::Requests => site.client("requests", Service::Echo, &[format!("--seconds={seconds}")]),
            Self::Connections => {
                site.client("connect", Service::Echo, &[format!("--count={}", seconds * PER_SECOND)])
            }
        }
    }

    /// Where its client says how much it did.
    pub(super) const fn pointer(self) -> &'static str {
        match self {
            Self::Bulk => cost::RECEIVED,
            Self::Requests => "/requests",
            Self::Connections => "/count",
        }
    }

    /// That in units.
    pub(super) fn amount(self, said: f64) -> f64 {
        if self == Self::Bulk { said / GIGA } else { said }
    }
}

/// Fewer than there would be, so that ports in TIME-WAIT slow nobody down.
const PER_SECOND: u32 = 1000;
