//! What is known of a peer, put to the policy.

use std::net::{IpAddr, SocketAddr};

use culvert_policy::{
    Admission, Choice, ClientTls, Labels, Mode, PeerStatus, PortModes, Question, Reason, admit_hbone,
    admit_plaintext, choose,
};

use super::{
    Index, PodRef,
    backends::Backend,
    model::{Pod, Service, ServicePort},
};

/// One endpoint, as the policy sees it.
pub(super) struct Peer<'a> {
    pub(super) pod: Option<&'a Pod>,
    pub(super) status: PeerStatus,
    pub(super) mode: Mode,
}

impl Peer<'_> {
    /// Those of its pod: subsets of rules go by them.
    pub(super) fn labels(&self) -> &Labels {
        static UNLABELLED: Labels = Labels::new();
        self.pod.map_or(&UNLABELLED, |pod| &pod.labels)
    }
}

impl Index {
    /// The modes of a pod's container ports: what its side of the kernel enforces. A pod that the cluster does not
    /// know accepts mTLS only.
    pub fn port_modes(&self, pod: &PodRef) -> PortModes {
        self.pod(pod)
            .map_or(PortModes::all(Mode::Strict), |pod| self.modes(pod))
    }

    /// Whether a pod accepts an authenticated stream over HBONE on a container port.
    pub fn admit_hbone(&self, server: &PodRef, port: u16) -> Admission {
        admit_hbone(self.modes(self.pod(server).ok_or(Reason::UnknownPod)?).mode(port))
    }

    /// Whether a pod accepts plaintext on a container port.
    pub fn admit_plaintext(&self, server: &PodRef, port: u16) -> Admission {
        admit_plaintext(self.modes(self.pod(server).ok_or(Reason::UnknownPod)?).mode(port))
    }

    pub(super) fn modes(&self, pod: &Pod) -> PortModes {
        self.files
            .authentications
            .port_modes(&pod.meta.namespace, &pod.labels)
    }

    pub(super) fn direct_peer(&self, address: SocketAddr) -> Peer<'_> {
        self.peer(self.peer_at(address.ip()), address.port())
    }

    /// A pod in the node's network cannot be told by its address: there, its slice says who it is.
    pub(super) fn backend_peer(&self, backend: &Backend) -> Peer<'_> {
        let named = || {
            backend
                .pod
                .as_ref()
                .and_then(|pod| self.pod(pod))
                .filter(|pod| !pod.is_peer())
        };
        self.peer(
            self.peer_at(backend.address.ip()).or_else(named),
            backend.address.port(),
        )
    }

    pub(super) fn peer<'a>(&'a self, pod: Option<&'a Pod>, port: u16) -> Peer<'a> {
        Peer {
            pod,
            status: pod.map_or(PeerStatus::None, |pod| self.status(pod)),
            mode: pod.map_or(Mode::default(), |pod| self.modes(pod).mode(port)),
        }
    }

    pub(super) fn ready_backends(&self, service: &Service, port: &ServicePort, ipv6: bool) -> &[Backend] {
        self.files
            .backends
            .get(&service.reference())
            .map_or(&[], |backends| backends.ready(&port.name, ipv6))
    }

    /// The client's choice for an endpoint, by what rules say of it.
    pub(super) fn choose(&self, peer: &Peer<'_>, rule: Option<ClientTls>) -> Result<Choice, Reason> {
        choose(Question {
            rule,
            auto_mtls: self.settings.auto_mtls,
            status: peer.status,
            mode: peer.mode,
        })
    }

    /// The choice of clients of a namespace for an address that is no Service's own. Of several headless Services
    /// that it is an endpoint of, the oldest for which a rule decides counts.
    pub(super) fn choose_direct(
        &self,
        client_namespace: &str,
        address: SocketAddr,
    ) -> Result<Choice, Reason> {
        let peer = self.direct_peer(address);
        let mut aliases: Vec<_> = self.aliases(address).collect();
        aliases.sort_by_key(|alias| &alias.service.meta);
        let rule = aliases.iter().find_map(|alias| {
            self.rules(client_namespace, alias.service)
                .tls(alias.port.number, peer.labels())
        });
        self.choose(&peer, rule)
    }

    /// The choice of clients for a port of an address that nothing singles out.
    pub(super) fn choose_default(&self, address: IpAddr) -> Result<Choice, Reason> {
        let pod = self.peer_at(address);
        let mode = pod.map_or(Mode::default(), |pod| self.modes(pod).default);
        self.choose(
            &Peer {
                mode,
                ..self.peer(pod, 0)
            },
            None,
        )
    }
}
