//! Under which names an address may be called.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use culvert_policy::{Demand, Labels, Meta};

use super::{
    Index,
    host::{Door, HostName},
    model::{EndpointSlice, Service, ServiceEntry},
};

/// What the names of an endpoint say of one port of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Called<'a> {
    /// What a rule demands.
    pub(super) demand: Option<Demand<'a>>,
    /// Of which name it demands that; there is one where there is a demand.
    pub(super) name: Option<HostName<'a>>,
    /// The first of its names, where all of them are outside the mesh.
    pub(super) external: Option<&'a Meta>,
}

impl Index {
    /// What clients of a namespace are told of an address that they call directly. Of several hosts that it serves, the
    /// oldest for which a rule decides counts.
    pub(super) fn called(&self, client_namespace: &str, address: SocketAddr, labels: &Labels) -> Called<'_> {
        let mut doors = self.aliases(address);
        doors.sort_by_key(|door| door.host().meta());
        let told = doors
            .into_iter()
            .filter_map(|door| Some(self.view(client_namespace, door.host())?.called(door, labels)));
        let told: Vec<Called<'_>> = told.collect();
        let deciding = told.iter().find(|called| called.demand.is_some());
        let are_outside = told.iter().all(|called| called.external.is_some());
        Called {
            demand: deciding.and_then(|called| called.demand),
            name: deciding.and_then(|called| called.name),
            external: told.first().filter(|_| are_outside).and_then(|called| called.external),
        }
    }

    /// The ports on which an address may have names.
    pub(super) fn alias_ports(&self, address: IpAddr) -> BTreeSet<u16> {
        let of_slices =
            self.headless_slices(address).flat_map(|(_, slice)| &slice.ports).map(|(_, number)| *number);
        let of_entries = self.entry_doors(address).into_iter().map(|(_, served)| served.port());
        of_slices.chain(of_entries).collect()
    }

    /// The ports of hosts that an address serves on one port: those of headless Services and of `ServiceEntry`s.
    fn aliases(&self, address: SocketAddr) -> Vec<Door<'_>> {
        let of_slices = self.headless_slices(address.ip()).flat_map(|(service, slice)| {
            let ports = slice.ports.iter().filter(|(_, number)| *number == address.port());
            ports.filter_map(|(name, _)| Some(Door::Service(service, service.port_named(name)?)))
        });
        let entries = self.entry_doors(address.ip()).into_iter();
        let of_entries = entries.filter(|(_, served)| *served == address).map(|(door, _)| door);
        of_slices.chain(of_entries).collect()
    }

    /// The slices of headless Services that an address is in, ready or not: who has it from an earlier answer of the
    /// DNS still means the Service.
    fn headless_slices(&self, address: IpAddr) -> impl Iterator<Item = (&Service, &EndpointSlice)> {
        let slices = self.files.slices_by_address.get(&address);
        slices.filter_map(|it| self.files.slices.get(&it.namespace, &it.name)).filter_map(|slice| {
            let service = slice.service.as_ref()?;
            let service = self.files.services.get(&service.namespace, &service.name)?;
            service.headless.then_some((&**service, &**slice))
        })
    }

    /// The ports of `ServiceEntry`s that an address serves, and where it serves them.
    fn entry_doors(&self, address: IpAddr) -> Vec<(Door<'_>, SocketAddr)> {
        let serving = self.files.service_entries_by_endpoint.get(&address);
        let served = serving.filter_map(|(name, member)| {
            let entry: &ServiceEntry = self.files.service_entries.get(&name.namespace, &name.name)?;
            let ports = entry.ports.iter();
            Some(ports.map(move |port| (Door::Entry(entry, port), self.member(name, address, member, port))))
        });
        served.flatten().collect()
    }
}
