//! What is known of a peer, put to the policy.

use std::net::{IpAddr, SocketAddr};

use culvert_policy::{
    Admission, Choice, ClientTls, Labels, Mode, PeerStatus, PortModes, Question, Reason, Transport,
    admit_hbone, admit_plaintext, admit_sidecar, choose,
};

use super::{Index, PodRef, aliases::Called, backends::Backend, model::Pod, workload::Workload};

/// One endpoint, as the policy sees it.
pub(super) struct Peer<'a> {
    pub(super) workload: Option<Workload<'a>>,
    pub(super) status: PeerStatus,
    pub(super) mode: Mode,
}

impl Peer<'_> {
    /// Subsets of rules go by them.
    pub(super) fn labels(&self) -> &Labels {
        static UNLABELLED: Labels = Labels::new();
        self.workload.map_or(&UNLABELLED, Workload::labels)
    }

    /// As clients see it who know it by a name that is outside the mesh. A rule may still demand what it can.
    pub(super) const fn seen_as(mut self, external: bool, rule: Option<ClientTls>) -> Self {
        if external && rule.is_none() {
            self.status = PeerStatus::External;
        }
        self
    }
}

impl Index {
    /// The modes of a pod's container ports: what its side of the kernel enforces. A pod that the cluster does not
    /// know accepts mTLS only.
    pub fn port_modes(&self, pod: &PodRef) -> PortModes {
        self.pod(pod).map_or(PortModes::all(Mode::Strict), |pod| self.pod_modes(pod))
    }

    /// Whether a pod accepts an authenticated stream over HBONE on a container port.
    pub fn admit_hbone(&self, server: &PodRef, port: u16) -> Admission {
        admit_hbone(self.pod_modes(self.pod(server).ok_or(Reason::UnknownPod)?).mode(port))
    }

    /// Whether a pod accepts plaintext on a container port.
    pub fn admit_plaintext(&self, server: &PodRef, port: u16) -> Admission {
        admit_plaintext(self.pod_modes(self.pod(server).ok_or(Reason::UnknownPod)?).mode(port))
    }

    /// Whether a pod accepts what comes by a transport on a container port. TLS that is not the mesh's is as good as
    /// plaintext.
    pub fn admit(&self, server: &PodRef, by: Transport, port: u16) -> Admission {
        let mode = self.pod_modes(self.pod(server).ok_or(Reason::UnknownPod)?).mode(port);
        match by {
            Transport::Hbone => admit_hbone(mode),
            Transport::Sidecar => admit_sidecar(mode),
            Transport::Plaintext | Transport::Tls => admit_plaintext(mode),
        }
    }

    /// Whether what is at an address speaks sidecar mTLS, and so sends it, too.
    pub fn is_sidecar(&self, address: IpAddr) -> bool {
        let status = self.workload_at(address).map(|workload| self.status(workload));
        status == Some(PeerStatus::Sidecar)
    }

    fn pod_modes(&self, pod: &Pod) -> PortModes {
        self.modes(Workload::Pod(pod))
    }

    pub(super) fn direct_peer(&self, address: SocketAddr) -> Peer<'_> {
        self.peer(self.workload_at(address.ip()), address.port())
    }

    /// A pod in the node's network cannot be told by its address: there, its slice says who it is.
    pub(super) fn backend_peer(&self, backend: &Backend<'_>) -> Peer<'_> {
        let address = backend.address.ip();
        let is_it = |pod: &&Pod| !pod.is_peer() && pod.addresses.contains(address);
        let named = || backend.pod.and_then(|pod| self.pod(pod)).filter(is_it).map(Workload::Pod);
        self.peer(self.workload_at(address).or_else(named), backend.address.port())
    }

    fn peer<'a>(&'a self, workload: Option<Workload<'a>>, port: u16) -> Peer<'a> {
        Peer {
            workload,
            status: workload.map_or(PeerStatus::None, |workload| self.status(workload)),
            mode: workload.map_or(Mode::default(), |workload| self.modes(workload).mode(port)),
        }
    }

    /// The client's choice for an endpoint, by what rules say of it.
    pub(super) fn choose(&self, peer: &Peer<'_>, rule: Option<ClientTls>) -> Result<Choice, Reason> {
        choose(Question { rule, auto_mtls: self.settings.auto_mtls, status: peer.status, mode: peer.mode })
    }

    /// The peer at an address that is no host's own as clients of a namespace see it, and their choice.
    pub(super) fn choose_direct(
        &self,
        client_namespace: &str,
        address: SocketAddr,
    ) -> (Peer<'_>, Result<Choice, Reason>) {
        let peer = self.direct_peer(address);
        let Called { rule, external } = self.called(client_namespace, address, peer.labels());
        let peer = peer.seen_as(external, rule);
        let choice = self.choose(&peer, rule);
        (peer, choice)
    }

    /// The choice of clients for a port of an address that nothing singles out.
    pub(super) fn choose_default(&self, address: IpAddr) -> Result<Choice, Reason> {
        let workload = self.workload_at(address);
        let mode = workload.map_or(Mode::default(), |workload| self.modes(workload).default);
        self.choose(&Peer { mode, ..self.peer(workload, 0) }, None)
    }
}
