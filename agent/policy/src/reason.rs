//! Why a connection went the way it did.

use crate::words::words;

macro_rules! reasons {
    ($($(#[doc = $meaning:literal])+ $variant:ident => $word:literal, $advice:literal;)+) => {
        /// Why a connection was carried, passed or refused: one closed list, and the same word in the log, the
        /// metric label and the command line.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[doc = $meaning])+ $variant,)+
        }

        words!(Reason { $($variant => $word),+ });

        impl Reason {
            /// What it means, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($meaning),+).trim()),+ }
            }

            /// What a person can do who wants it otherwise.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice),+ }
            }
        }
    };
}

reasons! {
    // The choice of a transport.
    /// The peer announces HBONE and nothing forbids it.
    PeerHbone => "peer_hbone",
        "For plaintext, write a DestinationRule with tls.mode DISABLE, or a PeerAuthentication with mode DISABLE.";
    /// The peer announces sidecar mTLS and nothing forbids it.
    PeerSidecar => "peer_sidecar",
        "For plaintext, write a DestinationRule with tls.mode DISABLE, or a PeerAuthentication with mode DISABLE.";
    /// The peer speaks plaintext only.
    PeerPlaintext => "peer_plaintext",
        "For mTLS, enrol the peer: label its pod or namespace culvert.io/capture: enabled.";
    /// Nobody in the cluster has this address.
    UnknownAddress => "unknown_address",
        "If somebody of the mesh is there, write a WorkloadEntry for it, or a ServiceEntry with its endpoint.";
    /// The host is outside the mesh, by a `ServiceEntry` with `location: MESH_EXTERNAL`.
    MeshExternal => "mesh_external",
        "For TLS, write a DestinationRule for the host with tls.mode SIMPLE or MUTUAL; if it is part of the mesh, \
         set location: MESH_INTERNAL.";
    /// The host is a name that only the DNS knows, so rules for it reach nobody's address.
    NameNotResolved => "name_not_resolved",
        "For rules to apply, give the ServiceEntry addresses, and endpoints with IP addresses.";
    /// The client's pod is not enrolled, so its connections go as they are.
    ClientNotEnrolled => "client_not_enrolled",
        "For mTLS, enrol the client: label its pod or namespace culvert.io/capture: enabled.";
    /// Automatic mTLS is off in the mesh settings (`enableAutoMtls: false`).
    AutoMtlsOff => "auto_mtls_off",
        "For mTLS, set enableAutoMtls: true, or write a DestinationRule with tls.mode ISTIO_MUTUAL.";
    /// A `DestinationRule` says `DISABLE`.
    RuleDisable => "rule_disable",
        "For mTLS, take tls out of the DestinationRule, or set its mode to ISTIO_MUTUAL.";
    /// A `DestinationRule` says `ISTIO_MUTUAL`.
    RuleIstioMutual => "rule_istio_mutual",
        "Without tls in the DestinationRule, what the endpoint can speak and accepts would decide.";
    /// A `DestinationRule` says `SIMPLE`.
    RuleSimple => "rule_simple",
        "For the mesh's own mTLS, take tls out of the DestinationRule, or set its mode to ISTIO_MUTUAL.";
    /// A `DestinationRule` says `MUTUAL`.
    RuleMutual => "rule_mutual",
        "For the mesh's own mTLS, take tls out of the DestinationRule, or set its mode to ISTIO_MUTUAL.";
    /// `PeerAuthentication` says `DISABLE` at the endpoint.
    ModeDisable => "mode_disable",
        "For mTLS, set the PeerAuthentication's mode to PERMISSIVE or STRICT.";
    /// `PeerAuthentication` at the server says `PERMISSIVE`, or nothing, and the client sent plaintext.
    ModePermissive => "mode_permissive",
        "For mTLS, enrol the client; to refuse plaintext, set the PeerAuthentication's mode to STRICT.";
    /// The kubelet looks after the pod's health; its probes reach `STRICT` ports too.
    KubeletProbe => "kubelet_probe",
        "Nothing: whether a pod is healthy has to be known under STRICT, too.";
    /// A pod speaks to itself.
    SelfCall => "self_call",
        "Nothing: a pod's connections to itself never leave it.";

    // Refused before anything was sent.
    /// A `DestinationRule` demands mTLS of an endpoint that cannot speak it.
    PeerCannotMtls => "peer_cannot_mtls",
        "Enrol the endpoint's pod, or change tls.mode of the DestinationRule.";
    /// The `DestinationRule` demands TLS by a field that this version does not carry out: `credentialName` or `caCrl`.
    TransportUnsupported => "transport_unsupported",
        "Mount the files into the agent, and name them by caCertificates, clientCertificate and privateKey.";
    /// A file that the `DestinationRule` names, or the roots of the agent's system, cannot be read or used.
    TlsFiles => "tls_files",
        "The log says which, and why. Files are read where the agent runs: mount them into its pod.";
    /// The Service has no endpoint that is ready.
    NoEndpoint => "no_endpoint",
        "Look at the Service's EndpointSlices, and at the readiness of its pods.";
    /// There is no certificate for the pod.
    NoCertificate => "no_certificate",
        "See what the certificate authority said: culvert status on the pod's node, or the agent's log.";
    /// A connection came to the pod's listener that the kernel did not send there.
    NoOrigin => "no_origin",
        "Nothing may connect to the agent's listener itself: find out who does.";

    // Refused by the server's policy.
    /// `PeerAuthentication` says `STRICT` and the connection was plaintext.
    ModeStrict => "mode_strict",
        "Enrol the client, take away the DestinationRule that disables mTLS, or set the mode to PERMISSIVE.";
    /// The cluster does not know the pod, or no more.
    UnknownPod => "unknown_pod",
        "Wait until the pod's deletion has ended; if it should be there, see culvert status for its watch.";
    /// The CONNECT target is not an address of this pod.
    TargetNotThisPod => "target_not_this_pod",
        "The client's view of the cluster is behind, or wrong: see culvert status on its node.";
    /// The CONNECT target is one of the agent's own ports, or loopback.
    TargetForbidden => "target_forbidden",
        "Have the application listen on another port, at the pod's address.";
    /// The request is not a CONNECT to an `IP:port`.
    BadRequest => "bad_request",
        "The peer does not speak HBONE as Istio does: see its version.";

    // The other side's certificate.
    /// The other side's certificate does not chain to a root that is trusted.
    ForeignCa => "foreign_ca",
        "Give both sides one certificate authority, or each the other's root; where a DestinationRule demands TLS, \
         name the server's root by caCertificates.";
    /// The other side's certificate is of another trust domain.
    ForeignTrustDomain => "foreign_trust_domain",
        "Give both sides one trust domain, or name the other's in trustDomainAliases of the mesh settings.";
    /// The other side is not the workload that the cluster says it is, or not the server that a `DestinationRule` asks
    /// for.
    WrongIdentity => "wrong_identity",
        "Check the service account of the peer's pod, and whether its address has just changed hands; of a server \
         outside the mesh, sni and subjectAltNames of the DestinationRule.";
    /// The other side's certificate has expired, or is not valid yet.
    CertificateExpired => "certificate_expired",
        "Check the clocks of both nodes, and whether the peer can reach its certificate authority.";
    /// The other side showed no certificate.
    NoPeerCertificate => "no_peer_certificate",
        "See whether the peer is enrolled and has its certificate: culvert status on its node.";
    /// The other side's certificate is not a workload's, or cannot be read.
    BadCertificate => "bad_certificate",
        "See what issued it: a workload's certificate has one SPIFFE identity and nothing critical that is unknown.";
    /// The other side refused our certificate.
    RefusedByPeer => "refused_by_peer",
        "The peer's log says why.";

    // Broken on the way.
    /// The TLS handshake failed for a reason that is not the certificate's.
    HandshakeFailed => "handshake_failed",
        "See the record's detail, and whether the peer speaks TLS on that port, in a version that the mesh allows.";
    /// The other side did not finish its handshake or its answer in time.
    Timeout => "timeout",
        "See whether the peer's node is overloaded, or a NetworkPolicy drops what goes to port 15008.";
    /// The peer could not be reached.
    PeerUnreachable => "peer_unreachable",
        "See whether the peer's agent runs, and whether a NetworkPolicy forbids port 15008.";
    /// The peer's tunnel refused the stream: a policy of the peer's.
    PeerDenied => "peer_denied",
        "The record on the peer's node has the reason.";
    /// The peer's tunnel could not reach its application.
    PeerAppUnreachable => "peer_app_unreachable",
        "See whether the application listens on that port, at the pod's address.";
    /// The application on this node could not be reached.
    AppUnreachable => "app_unreachable",
        "See whether the application listens on that port, at the pod's address.";
    /// The tunnel broke, or the other side broke its protocol.
    TunnelFailed => "tunnel_failed",
        "See the record's detail, and the log on the peer's node.";
    /// The agent was shutting down.
    ShuttingDown => "shutting_down",
        "Wait for the next agent, or set a longer --drain.";
    /// The agent ran out of something: file descriptors, ports, room in a kernel map.
    OutOfResources => "out_of_resources",
        "See culvert status for the maps, and the agent's limit of open files.";
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

    #[test]
    fn each_reason_says_in_sentences_what_it_means_and_what_to_do() {
        for reason in Reason::ALL {
            for text in [reason.meaning(), reason.advice()] {
                assert!(text.ends_with('.') && !text.contains("  "), "{reason}: {text:?}");
            }
        }
    }
}
