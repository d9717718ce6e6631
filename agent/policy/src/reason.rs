//! Why a connection went the way it did.

use std::fmt;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident => $word:literal,)+) => {
        /// Why a connection was carried, passed or refused: one closed list, and the same word in the log, the
        /// metric label and the command line. Each entry says what a person can do about it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word for it in logs, metrics and the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

reasons! {
    // The choice of a transport.
    /// The peer announces HBONE and nothing forbids it.
    PeerHbone => "peer_hbone",
    /// The peer announces sidecar mTLS and nothing forbids it.
    PeerSidecar => "peer_sidecar",
    /// The peer speaks plaintext only. Enrol it to have mTLS.
    PeerPlaintext => "peer_plaintext",
    /// Nobody in the cluster has this address.
    UnknownAddress => "unknown_address",
    /// The host is outside the mesh, by a `ServiceEntry` with `location: MESH_EXTERNAL`.
    MeshExternal => "mesh_external",
    /// Automatic mTLS is off in the mesh settings (`enableAutoMtls: false`).
    AutoMtlsOff => "auto_mtls_off",
    /// A `DestinationRule` says `DISABLE`.
    RuleDisable => "rule_disable",
    /// A `DestinationRule` says `ISTIO_MUTUAL`.
    RuleIstioMutual => "rule_istio_mutual",
    /// A `DestinationRule` says `SIMPLE`.
    RuleSimple => "rule_simple",
    /// A `DestinationRule` says `MUTUAL`.
    RuleMutual => "rule_mutual",
    /// `PeerAuthentication` says `DISABLE` at the endpoint.
    ModeDisable => "mode_disable",
    /// `PeerAuthentication` at the server says `PERMISSIVE`, or nothing, and the client sent plaintext.
    ModePermissive => "mode_permissive",
    /// The kubelet looks after the pod's health; its probes reach `STRICT` ports too.
    KubeletProbe => "kubelet_probe",
    /// A pod speaks to itself.
    SelfCall => "self_call",

    // Refused before anything was sent.
    /// A `DestinationRule` demands mTLS of an endpoint that cannot speak it. Enrol the pod, or change the rule.
    PeerCannotMtls => "peer_cannot_mtls",
    /// The transport that the rules demand is one that this version does not carry.
    TransportUnsupported => "transport_unsupported",
    /// The Service has no endpoint that is ready.
    NoEndpoint => "no_endpoint",
    /// There is no certificate for the pod. See what the certificate authority said, in the agent's log.
    NoCertificate => "no_certificate",
    /// A connection came to the pod's listener that the kernel did not send there.
    NoOrigin => "no_origin",

    // Refused by the server's policy.
    /// `PeerAuthentication` says `STRICT` and the connection was plaintext.
    ModeStrict => "mode_strict",
    /// The cluster does not know the pod, or no more.
    UnknownPod => "unknown_pod",
    /// The CONNECT target is not an address of this pod.
    TargetNotThisPod => "target_not_this_pod",
    /// The CONNECT target is one of the agent's own ports, or loopback.
    TargetForbidden => "target_forbidden",
    /// The request is not a CONNECT to an `IP:port`.
    BadRequest => "bad_request",

    // The other side's certificate.
    /// The other side's certificate does not chain to our root.
    ForeignCa => "foreign_ca",
    /// The other side's certificate is of another trust domain.
    ForeignTrustDomain => "foreign_trust_domain",
    /// The other side is not the workload that the cluster says it is.
    WrongIdentity => "wrong_identity",
    /// The other side's certificate has expired, or is not valid yet. Check the clocks.
    CertificateExpired => "certificate_expired",
    /// The other side showed no certificate.
    NoPeerCertificate => "no_peer_certificate",
    /// The other side's certificate is not a workload's, or cannot be read.
    BadCertificate => "bad_certificate",
    /// The other side refused our certificate. Its log says why.
    RefusedByPeer => "refused_by_peer",

    // Broken on the way.
    /// The TLS handshake failed for a reason that is not the certificate's.
    HandshakeFailed => "handshake_failed",
    /// The other side did not finish its handshake or its answer in time.
    Timeout => "timeout",
    /// The peer could not be reached.
    PeerUnreachable => "peer_unreachable",
    /// The peer's tunnel refused the stream: a policy of the peer's.
    PeerDenied => "peer_denied",
    /// The peer's tunnel could not reach its application.
    PeerAppUnreachable => "peer_app_unreachable",
    /// The application on this node could not be reached.
    AppUnreachable => "app_unreachable",
    /// The tunnel broke, or the other side broke its protocol.
    TunnelFailed => "tunnel_failed",
    /// The agent was shutting down.
    ShuttingDown => "shutting_down",
    /// The agent ran out of something: file descriptors, ports, room in a kernel map.
    OutOfResources => "out_of_resources",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_reasons_share_a_word() {
        let words: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(words.len(), Reason::ALL.len());
    }
}
