//! What the kernel has to know so that it captures what must not go as it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use culvert_policy::Transport;

use super::{
    Destination, Index, KernelVerdict, PodRef,
    backends::Backend,
    decide::Way,
    host::{Door, Host, Namespaces, View},
};

impl Index {
    /// What the kernel must know so that each connection is captured whose verdict, for any of `clients`, is not
    /// surely "plaintext, to exactly the address asked for". [`PeerTable`](super::PeerTable) says the same at the
    /// price of what changed.
    pub fn destinations(&self, clients: &[PodRef]) -> BTreeMap<Destination, KernelVerdict> {
        let namespaces: Namespaces = clients.iter().map(|client| client.namespace.clone()).collect();
        let addresses = self.addresses().into_iter();
        let mut all: BTreeMap<_, _> =
            addresses.flat_map(|address| self.address_destinations(&namespaces, address)).collect();
        // Where an address is a host's own and somebody's as well, the agent tells them apart.
        for host in self.hosts().filter_map(|reference| self.host(&reference)) {
            all.extend(self.captured_doors(&namespaces, host).map(|door| (door, KernelVerdict::Capture)));
        }
        all
    }

    /// Each address that anybody has, or serves at.
    pub(super) fn addresses(&self) -> BTreeSet<IpAddr> {
        let files = &self.files;
        let workloads = files.pods_by_address.keys().chain(files.workload_entries_by_address.keys());
        let endpoints = files.slices_by_address.keys().chain(files.service_entries_by_endpoint.keys());
        workloads.chain(endpoints).copied().collect()
    }

    fn captured_doors<'a>(
        &'a self,
        namespaces: &Namespaces,
        host: Host<'a>,
    ) -> impl Iterator<Item = Destination> + 'a {
        let views = self.views(namespaces, host);
        let doors = host.doors().into_iter();
        let doors = doors.flat_map(move |door| host.addresses().iter().map(move |address| (*address, door)));
        let captured = doors.filter(move |(address, door)| {
            self.capturing_backend(&views, *door, self.backends(*door, *address, None)).is_some()
        });
        captured.map(|(address, door)| Destination { address, port: Some(door.number()) })
    }

    /// The first of these backends for whose sake calls to a host's own address are captured: where there is none, the
    /// rest of them is kube-proxy's, as ever.
    pub(super) fn capturing_backend<'a>(
        &'a self,
        views: &[View<'a>],
        door: Door<'a>,
        backends: impl IntoIterator<Item = Backend<'a>>,
    ) -> Option<Backend<'a>> {
        let mut backends = backends.into_iter();
        backends
            .find(|backend| views.iter().any(|view| !self.backend_way(view, door, backend).is_plaintext()))
    }

    /// An address is captured on all ports or on none, but for those that a policy or a name singles out.
    pub(super) fn address_destinations(
        &self,
        namespaces: &Namespaces,
        address: IpAddr,
    ) -> Vec<(Destination, KernelVerdict)> {
        if namespaces.is_empty() {
            return Vec::new();
        }
        let default = verdict(self.default_way(address).is_plaintext());
        let special = self.special_ports(address).into_iter().map(|port| {
            let address = SocketAddr::new(address, port);
            let mut ways = namespaces.iter().map(|namespace| self.direct_way(namespace, address));
            (Some(port), verdict(ways.all(|way| way.is_plaintext())))
        });
        let mut entries: Vec<_> = special.filter(|(_, verdict)| *verdict != default).collect();
        if default == KernelVerdict::Capture {
            entries.push((None, default));
        }
        entries.into_iter().map(|(port, verdict)| (Destination { address, port }, verdict)).collect()
    }

    fn special_ports(&self, address: IpAddr) -> BTreeSet<u16> {
        let modes = self.workload_at(address).map(|workload| self.modes(workload)).unwrap_or_default();
        modes.ports.into_keys().chain(self.alias_ports(address)).collect()
    }
}

impl Way<'_> {
    fn is_plaintext(&self) -> bool {
        self.choice.is_ok_and(|choice| choice.transport == Transport::Plaintext)
    }
}

const fn verdict(plaintext: bool) -> KernelVerdict {
    if plaintext { KernelVerdict::Pass } else { KernelVerdict::Capture }
}
