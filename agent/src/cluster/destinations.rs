//! The peer map: what the kernel has to know so that it captures what must not go as it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use culvert_policy::{Choice, Reason, Transport};

use super::{
    Destination, Index, KernelVerdict, PodRef,
    model::{Service, ServicePort},
};

/// The namespaces of the clients: all that a choice depends on.
type Namespaces = BTreeSet<Arc<str>>;

impl Index {
    /// What the kernel must know so that each connection is captured whose verdict, for any of `clients`, is not
    /// surely "plaintext, to exactly the address asked for".
    pub fn destinations(&self, clients: &[PodRef]) -> BTreeMap<Destination, KernelVerdict> {
        let namespaces: Namespaces = clients.iter().map(|client| client.namespace.clone()).collect();
        let services = self.files.services.values();
        let of_services = services.flat_map(|service| self.service_destinations(&namespaces, service));
        let addresses: BTreeSet<_> = self
            .files
            .pods_by_address
            .keys()
            .chain(self.files.slices_by_address.keys())
            .copied()
            .collect();
        let of_addresses = addresses
            .into_iter()
            .flat_map(|address| self.address_destinations(&namespaces, address));
        of_services.chain(of_addresses).collect()
    }

    /// A Service's address is captured where any endpoint is: the rest of them is kube-proxy's, as ever.
    fn service_destinations<'a>(
        &'a self,
        namespaces: &'a Namespaces,
        service: &'a Service,
    ) -> impl Iterator<Item = (Destination, KernelVerdict)> + 'a {
        let doors = service
            .ports
            .iter()
            .flat_map(|port| service.addresses.iter().map(move |it| (*it, port)));
        let captured =
            doors.filter(|(address, port)| self.captures_door(namespaces, service, port, *address));
        captured.map(|(address, port)| {
            (
                Destination {
                    address,
                    port: Some(port.number),
                },
                KernelVerdict::Capture,
            )
        })
    }

    fn captures_door(
        &self,
        namespaces: &Namespaces,
        service: &Service,
        port: &ServicePort,
        address: IpAddr,
    ) -> bool {
        let backends = self.ready_backends(service, port, address.is_ipv6());
        namespaces.iter().any(|namespace| {
            let rules = self.rules(namespace, service);
            let mut peers = backends.iter().map(|backend| self.backend_peer(backend));
            peers.any(|peer| !is_plaintext(self.choose(&peer, rules.tls(port.number, peer.labels()))))
        })
    }

    /// An address is captured on all ports or on none, but for those that a policy singles out.
    fn address_destinations(
        &self,
        namespaces: &Namespaces,
        address: IpAddr,
    ) -> Vec<(Destination, KernelVerdict)> {
        if namespaces.is_empty() {
            return Vec::new();
        }
        let default = verdict(is_plaintext(self.choose_default(address)));
        let special = self.special_ports(address).into_iter().map(|port| {
            let address = SocketAddr::new(address, port);
            let mut choices = namespaces
                .iter()
                .map(|namespace| self.choose_direct(namespace, address));
            (Some(port), verdict(choices.all(is_plaintext)))
        });
        let mut entries: Vec<_> = special.filter(|(_, verdict)| *verdict != default).collect();
        if default == KernelVerdict::Capture {
            entries.push((None, default));
        }
        entries
            .into_iter()
            .map(|(port, verdict)| (Destination { address, port }, verdict))
            .collect()
    }

    fn special_ports(&self, address: IpAddr) -> BTreeSet<u16> {
        let modes = self
            .peer_at(address)
            .map(|pod| self.modes(pod))
            .unwrap_or_default();
        modes.ports.into_keys().chain(self.alias_ports(address)).collect()
    }
}

fn is_plaintext(choice: Result<Choice, Reason>) -> bool {
    choice.is_ok_and(|choice| choice.transport == Transport::Plaintext)
}

const fn verdict(plaintext: bool) -> KernelVerdict {
    if plaintext {
        KernelVerdict::Pass
    } else {
        KernelVerdict::Capture
    }
}
