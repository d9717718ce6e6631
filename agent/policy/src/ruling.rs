//! The mode of one container port, and which policy it comes from.

use std::fmt;

use crate::{Meta, Mode};

/// What `PeerAuthentication` says of one port of one workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ruling<'a> {
    /// The mode.
    pub mode: Mode,
    /// The policy that sets it, and for whom; none where no policy sets any, which is `PERMISSIVE`.
    pub source: Option<(Scope, &'a Meta)>,
}

/// For whom a policy sets a mode, the narrowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// One port of the workloads that it selects.
    Port,
    /// The workloads that it selects.
    Workload,
    /// Its namespace.
    Namespace,
    /// The mesh.
    Mesh,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Port => "this port of the workload",
            Self::Workload => "the workload",
            Self::Namespace => "the namespace",
            Self::Mesh => "the mesh",
        })
    }
}
