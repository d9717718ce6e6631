//! The three ways that a connection is measured.

/// A row of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    /// No agent.
    Direct,
    /// Agents attached, the client enrolled, the server not: the kernel lets the connection pass.
    Passthrough,
    /// Both enrolled.
    Mtls,
}

impl Row {
    /// In the order in which a round measures them.
    pub(super) const ALL: [Self; 3] = [Self::Direct, Self::Passthrough, Self::Mtls];

    /// Its key in the results.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Passthrough => "passthrough",
            Self::Mtls => "mtls",
        }
    }

    pub(super) const fn has_agents(self) -> bool {
        !matches!(self, Self::Direct)
    }

    pub(super) const fn enrols_server(self) -> bool {
        matches!(self, Self::Mtls)
    }
}
