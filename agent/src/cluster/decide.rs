//! What is known of a peer, put to the policy.

use std::net::{IpAddr, SocketAddr};

use culvert_policy::{
    Admission, Choice, Labels, Mode, PeerStatus, PortModes, Question, Reason, Ruling, Transport, admit_hbone,
    admit_plaintext, admit_sidecar, choose,
};

use super::{
    Index, PodRef,
    aliases::Called,
    backends::Backend,
    host::{Door, View},
    model::Pod,
    workload::Workload,
};

/// One endpoint, as the policy sees it.
pub(super) struct Peer<'a> {
    pub(super) workload: Option<Workload<'a>>,
    pub(super) status: PeerStatus,
    pub(super) ruling: Ruling<'a>,
}

/// The way of clients to one endpoint, with all that it follows from.
pub(super) struct Way<'a> {
    pub(super) endpoint: SocketAddr,
    pub(super) peer: Peer<'a>,
    pub(super) called: Called<'a>,
    /// What the choice took the endpoint to speak.
    pub(super) status: PeerStatus,
    pub(super) choice: Result<Choice, Reason>,
}

impl<'a> Peer<'a> {
    /// Subsets of rules go by them.
    pub(super) fn labels(&self) -> &'a Labels {
        static UNLABELLED: Labels = Labels::new();
        self.workload.map_or(&UNLABELLED, Workload::labels)
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

    /// The way to an address that is no host's own, as clients of a namespace know it.
    pub(super) fn direct_way(&self, client_namespace: &str, address: SocketAddr) -> Way<'_> {
        let peer = self.peer(self.workload_at(address.ip()), Some(address.port()));
        let called = self.called(client_namespace, address, peer.labels());
        self.way(address, peer, called)
    }

    /// The way to a backend of those who are told `view` of its host.
    pub(super) fn backend_way<'a>(
        &'a self,
        view: &View<'a>,
        door: Door<'a>,
        backend: &Backend<'a>,
    ) -> Way<'a> {
        let peer = self.backend_peer(backend);
        let called = view.called(door, peer.labels());
        self.way(backend.address, peer, called)
    }

    /// The way to each port of an address that nothing singles out.
    pub(super) fn default_way(&self, address: IpAddr) -> Way<'_> {
        let peer = self.peer(self.workload_at(address), None);
        self.way(SocketAddr::new(address, 0), peer, Called::default())
    }

    /// A pod in the node's network cannot be told by its address: there, its slice says who it is.
    fn backend_peer(&self, backend: &Backend<'_>) -> Peer<'_> {
        let address = backend.address.ip();
        let is_it = |pod: &&Pod| !pod.is_peer() && pod.addresses.contains(address);
        let named = || backend.pod.and_then(|pod| self.pod(pod)).filter(is_it).map(Workload::Pod);
        self.peer(self.workload_at(address).or_else(named), Some(backend.address.port()))
    }

    fn peer<'a>(&'a self, workload: Option<Workload<'a>>, port: Option<u16>) -> Peer<'a> {
        Peer {
            workload,
            status: workload.map_or(PeerStatus::None, |workload| self.status(workload)),
            ruling: workload.map_or_else(Ruling::default, |workload| self.ruling(workload, port)),
        }
    }

    /// What is called by a name outside the mesh is outside it. A rule may still demand what it can.
    fn way<'a>(&self, endpoint: SocketAddr, peer: Peer<'a>, called: Called<'a>) -> Way<'a> {
        let rule = called.demand.map(|demand| demand.tls.mode());
        let is_outside = called.external.is_some() && rule.is_none();
        let status = if is_outside { PeerStatus::External } else { peer.status };
        let auto_mtls = self.settings.auto_mtls;
        let choice = choose(Question { rule, auto_mtls, status, mode: peer.ruling.mode });
        Way { endpoint, peer, called, status, choice }
    }
}
