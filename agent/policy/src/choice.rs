//! The client's choice of a transport, for one endpoint.

use crate::{ClientTls, Mode, PeerStatus, Reason, Transport};

/// What has to be known of an endpoint to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// What a `DestinationRule` says of this host, port and endpoint.
    pub rule: Option<ClientTls>,
    /// Whether mTLS is chosen without a rule that asks for it (`enableAutoMtls` of the mesh).
    pub auto_mtls: bool,
    /// What the endpoint can speak.
    pub status: PeerStatus,
    /// What `PeerAuthentication` says at the endpoint's container port.
    pub mode: Mode,
}

/// How a connection is carried, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// How.
    pub transport: Transport,
    /// Why.
    pub reason: Reason,
}

impl Choice {
    const fn new(transport: Transport, reason: Reason) -> Self {
        Self { transport, reason }
    }
}

/// Chooses before anything is sent: nothing is tried, and nothing falls back. The error says why the connection
/// has to be refused.
pub const fn choose(question: Question) -> Result<Choice, Reason> {
    match question.rule {
        Some(ClientTls::Disable) => Ok(Choice::new(Transport::Plaintext, Reason::RuleDisable)),
        Some(ClientTls::Simple) => Ok(Choice::new(Transport::Tls, Reason::RuleSimple)),
        Some(ClientTls::Mutual) => Ok(Choice::new(Transport::Tls, Reason::RuleMutual)),
        Some(ClientTls::IstioMutual) => demand_mtls(question.status),
        None => Ok(auto(question)),
    }
}

const fn demand_mtls(status: PeerStatus) -> Result<Choice, Reason> {
    match status {
        PeerStatus::Hbone => Ok(Choice::new(Transport::Hbone, Reason::RuleIstioMutual)),
        PeerStatus::Sidecar => Ok(Choice::new(Transport::Sidecar, Reason::RuleIstioMutual)),
        PeerStatus::None | PeerStatus::External => Err(Reason::PeerCannotMtls),
    }
}

const fn auto(question: Question) -> Choice {
    match (question.auto_mtls, question.status, question.mode) {
        (false, _, _) => Choice::new(Transport::Plaintext, Reason::AutoMtlsOff),
        (true, PeerStatus::External, _) => Choice::new(Transport::Plaintext, Reason::MeshExternal),
        (true, PeerStatus::None, _) => Choice::new(Transport::Plaintext, Reason::PeerPlaintext),
        (true, _, Mode::Disable) => Choice::new(Transport::Plaintext, Reason::ModeDisable),
        (true, PeerStatus::Hbone, _) => Choice::new(Transport::Hbone, Reason::PeerHbone),
        (true, PeerStatus::Sidecar, _) => Choice::new(Transport::Sidecar, Reason::PeerSidecar),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ClientTls::{Disable, IstioMutual, Mutual, Simple};
    use PeerStatus::{External, Hbone, None as Plain, Sidecar};

    const MODES: [Mode; 3] = [Mode::Strict, Mode::Permissive, Mode::Disable];

    #[expect(clippy::unnecessary_wraps, reason = "as choose() answers")]
    const fn carry(transport: Transport, reason: Reason) -> Result<Choice, Reason> {
        Ok(Choice::new(transport, reason))
    }

    fn ask(
        rule: Option<ClientTls>,
        auto_mtls: bool,
        status: PeerStatus,
        mode: Mode,
    ) -> Result<Choice, Reason> {
        choose(Question { rule, auto_mtls, status, mode })
    }

    #[test]
    fn a_rule_decides_whatever_the_endpoint_accepts() {
        for (rule, status, expected) in [
            (Disable, Hbone, carry(Transport::Plaintext, Reason::RuleDisable)),
            (Disable, Plain, carry(Transport::Plaintext, Reason::RuleDisable)),
            (IstioMutual, Hbone, carry(Transport::Hbone, Reason::RuleIstioMutual)),
            (IstioMutual, Sidecar, carry(Transport::Sidecar, Reason::RuleIstioMutual)),
            (IstioMutual, Plain, Err(Reason::PeerCannotMtls)),
            (IstioMutual, External, Err(Reason::PeerCannotMtls)),
            (Simple, Hbone, carry(Transport::Tls, Reason::RuleSimple)),
            (Mutual, Plain, carry(Transport::Tls, Reason::RuleMutual)),
        ] {
            for (mode, auto_mtls) in MODES.into_iter().flat_map(|mode| [(mode, true), (mode, false)]) {
                assert_eq!(ask(Some(rule), auto_mtls, status, mode), expected, "{rule:?} {status} {mode}");
            }
        }
    }

    #[test]
    fn without_a_rule_the_endpoint_decides() {
        for (status, mode, expected) in [
            (Hbone, Mode::Strict, carry(Transport::Hbone, Reason::PeerHbone)),
            (Hbone, Mode::Permissive, carry(Transport::Hbone, Reason::PeerHbone)),
            (Hbone, Mode::Disable, carry(Transport::Plaintext, Reason::ModeDisable)),
            (Sidecar, Mode::Strict, carry(Transport::Sidecar, Reason::PeerSidecar)),
            (Sidecar, Mode::Disable, carry(Transport::Plaintext, Reason::ModeDisable)),
            (Plain, Mode::Strict, carry(Transport::Plaintext, Reason::PeerPlaintext)),
            (Plain, Mode::Disable, carry(Transport::Plaintext, Reason::PeerPlaintext)),
            (External, Mode::Strict, carry(Transport::Plaintext, Reason::MeshExternal)),
        ] {
            assert_eq!(ask(None, true, status, mode), expected, "{status} {mode}");
        }
    }

    #[test]
    fn without_auto_mtls_only_a_rule_encrypts() {
        for status in [Hbone, Sidecar, Plain, External] {
            let expected = carry(Transport::Plaintext, Reason::AutoMtlsOff);
            assert_eq!(ask(None, false, status, Mode::Strict), expected, "{status}");
        }
    }
}
