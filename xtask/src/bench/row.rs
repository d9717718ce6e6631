//! The ways that a connection is measured.

/// A row of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    /// No agent.
    Direct,
    /// Agents attached, the client enrolled, the server not: the kernel lets the connection pass.
    Passthrough,
    /// Both enrolled.
    Mtls,
    /// No agent, but in both pods a relay that only copies: what two more processes on the way cost as such.
    Relay,
    /// No agent, but Envoy in both pods, as sidecars that speak mTLS to each other.
    Envoy,
}

/// What is between the applications of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Between {
    Nothing,
    Agents,
    Relays,
    Envoys,
}

impl Row {
    /// Its key in the results.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Passthrough => "passthrough",
            Self::Mtls => "mtls",
            Self::Relay => "relay",
            Self::Envoy => "envoy",
        }
    }

    pub(super) const fn between(self) -> Between {
        match self {
            Self::Direct => Between::Nothing,
            Self::Passthrough | Self::Mtls => Between::Agents,
            Self::Relay => Between::Relays,
            Self::Envoy => Between::Envoys,
        }
    }

    /// Whether clients have to dial what carries them.
    pub(super) const fn is_dialled(self) -> bool {
        matches!(self.between(), Between::Relays | Between::Envoys)
    }

    pub(super) const fn enrols_server(self) -> bool {
        matches!(self, Self::Mtls)
    }

    /// Whether what is measured has to go over mTLS.
    pub(super) const fn is_encrypted(self) -> bool {
        matches!(self, Self::Mtls | Self::Envoy)
    }
}
