//! The peer map of one node, brought up to date at the price of what changed.

mod work;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem,
    net::IpAddr,
    sync::Arc,
};

use self::work::Work;
use super::{
    Destination, Index, KernelVerdict, PodRef,
    backends::Backend,
    host::{Door, Host, HostRef, Namespaces},
};

/// What the kernel was told, as [`Index::destinations`] says, and how it follows the index.
#[derive(Debug, Default)]
pub struct PeerTable {
    /// Where in the index's journal it stands; none before the first time.
    seen: Option<u64>,
    namespaces: Namespaces,
    addresses: BTreeMap<Destination, KernelVerdict>,
    hosts: HashMap<HostRef, Vec<Captured>>,
    /// How many hosts have the address for their own and are captured there.
    doors: HashMap<Destination, usize>,
    /// Who speaks sidecar mTLS.
    sidecars: BTreeSet<IpAddr>,
    /// Whose answer is another one since somebody asked.
    sidecars_touched: BTreeSet<IpAddr>,
}

/// Whether an address speaks sidecar mTLS, where that is another answer than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SidecarChange {
    /// The address.
    pub address: IpAddr,
    /// The answer.
    pub is_sidecar: bool,
}

/// A destination for which the kernel has to be told something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerChange {
    /// The destination.
    pub destination: Destination,
    /// What it is told now; none takes the entry out.
    pub verdict: Option<KernelVerdict>,
}

/// A host's own address that is captured.
#[derive(Debug)]
struct Captured {
    door: Destination,
    /// For whose sake. As long as it is, no other backend has to be looked at; when it is no longer, the search for
    /// another goes on from its slice, so that a Service that changes one backend after the other is not searched
    /// again and again from the start.
    witness: IpAddr,
    slice: Option<Arc<str>>,
}

impl PeerTable {
    /// Catches up with the index, for these clients.
    pub fn update<'a>(
        &mut self,
        index: &Index,
        clients: impl IntoIterator<Item = &'a PodRef>,
    ) -> Vec<PeerChange> {
        let namespaces: Namespaces = clients.into_iter().map(|client| client.namespace.clone()).collect();
        let place = self.seen.replace(index.journal.end()).filter(|_| namespaces == self.namespaces);
        self.namespaces = namespaces;
        let touched = match place.and_then(|place| index.journal.since(place)) {
            Some(changes) => self.follow(index, &Work::of(index, changes)),
            None => self.rebuild(index),
        };
        let told = |destination| PeerChange { destination, verdict: self.verdict(destination) };
        touched.into_iter().map(told).collect()
    }

    /// What [`Self::update`] has found out about sidecars since this was last asked.
    pub fn sidecar_changes(&mut self) -> Vec<SidecarChange> {
        let touched = mem::take(&mut self.sidecars_touched).into_iter();
        touched
            .map(|address| SidecarChange { address, is_sidecar: self.sidecars.contains(&address) })
            .collect()
    }

    /// How many destinations the kernel is told of.
    pub fn len(&self) -> usize {
        let only_doors = self.doors.keys().filter(|door| !self.addresses.contains_key(door));
        self.addresses.len() + only_doors.count()
    }

    /// Whether it is told of none.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.doors.is_empty()
    }

    /// Where an address is a host's own and somebody's as well, the agent tells them apart.
    fn verdict(&self, destination: Destination) -> Option<KernelVerdict> {
        if self.doors.contains_key(&destination) {
            return Some(KernelVerdict::Capture);
        }
        self.addresses.get(&destination).copied()
    }

    fn rebuild(&mut self, index: &Index) -> BTreeSet<Destination> {
        let old = mem::take(&mut self.addresses).into_keys().chain(mem::take(&mut self.doors).into_keys());
        let mut touched: BTreeSet<Destination> = old.collect();
        self.hosts.clear();
        self.sidecars_touched.append(&mut self.sidecars);
        if !self.namespaces.is_empty() {
            for address in index.addresses() {
                self.look_at_address(index, address, &mut touched);
            }
            for host in index.hosts() {
                self.look_at_host(index, &host, &mut touched);
            }
        }
        touched
    }

    fn follow(&mut self, index: &Index, work: &Work) -> BTreeSet<Destination> {
        let mut touched = BTreeSet::new();
        if self.namespaces.is_empty() {
            return touched;
        }
        for address in &work.addresses {
            self.look_at_address(index, *address, &mut touched);
        }
        for host in &work.hosts {
            self.look_at_host(index, host, &mut touched);
        }
        for (host, address) in work.endpoints.iter().filter(|(host, _)| !work.hosts.contains(host)) {
            self.look_at_endpoint(index, host, *address, &mut touched);
        }
        touched
    }

    fn look_at_address(&mut self, index: &Index, address: IpAddr, touched: &mut BTreeSet<Destination>) {
        let any_port = Destination { address, port: None }..=Destination { address, port: Some(u16::MAX) };
        let old: Vec<Destination> =
            self.addresses.range(any_port).map(|(destination, _)| *destination).collect();
        for destination in old {
            self.addresses.remove(&destination);
            touched.insert(destination);
        }
        for (destination, verdict) in index.address_destinations(&self.namespaces, address) {
            self.addresses.insert(destination, verdict);
            touched.insert(destination);
        }
        self.look_at_sidecar(index, address);
    }

    fn look_at_sidecar(&mut self, index: &Index, address: IpAddr) {
        let changed = if index.is_sidecar(address) {
            self.sidecars.insert(address)
        } else {
            self.sidecars.remove(&address)
        };
        if changed {
            self.sidecars_touched.insert(address);
        }
    }

    fn look_at_host(&mut self, index: &Index, reference: &HostRef, touched: &mut BTreeSet<Destination>) {
        for captured in self.hosts.remove(reference).unwrap_or_default() {
            self.open(captured.door, touched);
        }
        let Some(host) = index.host(reference) else { return };
        let views = index.views(&self.namespaces, host);
        for (address, door) in doors(host) {
            let backends = index.backends(door, address, None);
            if let Some(witness) = index.capturing_backend(&views, door, backends) {
                let door = Destination { address, port: Some(door.number()) };
                self.hosts.entry(reference.clone()).or_default().push(Captured::by(door, &witness));
                self.close(door, touched);
            }
        }
    }

    fn look_at_endpoint(
        &mut self,
        index: &Index,
        reference: &HostRef,
        at: IpAddr,
        touched: &mut BTreeSet<Destination>,
    ) {
        let Some(host) = index.host(reference) else { return };
        let views = index.views(&self.namespaces, host);
        let mut captured = self.hosts.remove(reference).unwrap_or_default();
        for (address, door) in doors(host) {
            let destination = Destination { address, port: Some(door.number()) };
            let known = captured.iter().position(|captured| captured.door == destination);
            if known.is_some_and(|known| captured[known].witness != at) {
                continue;
            }
            let here = index.capturing_backend(&views, door, index.backends_at(door, address, at));
            let elsewhere = |known: usize| {
                let first = captured[known].slice.as_deref();
                index.capturing_backend(&views, door, index.backends(door, address, first))
            };
            match (known, here.or_else(|| elsewhere(known?))) {
                (None, None) => {}
                (None, Some(witness)) => {
                    captured.push(Captured::by(destination, &witness));
                    self.close(destination, touched);
                }
                (Some(known), Some(witness)) => captured[known] = Captured::by(destination, &witness),
                (Some(known), None) => {
                    captured.swap_remove(known);
                    self.open(destination, touched);
                }
            }
        }
        if !captured.is_empty() {
            self.hosts.insert(reference.clone(), captured);
        }
    }

    fn close(&mut self, door: Destination, touched: &mut BTreeSet<Destination>) {
        *self.doors.entry(door).or_default() += 1;
        touched.insert(door);
    }

    fn open(&mut self, door: Destination, touched: &mut BTreeSet<Destination>) {
        if let Some(hosts) = self.doors.get_mut(&door) {
            *hosts -= 1;
            if *hosts == 0 {
                self.doors.remove(&door);
            }
        }
        touched.insert(door);
    }
}

/// The ports of a host, at each of its own addresses.
fn doors(host: Host<'_>) -> impl Iterator<Item = (IpAddr, Door<'_>)> {
    let doors = host.doors().into_iter();
    doors.flat_map(move |door| host.addresses().iter().map(move |address| (*address, door)))
}

impl Captured {
    fn by(door: Destination, witness: &Backend<'_>) -> Self {
        Self { door, witness: witness.address.ip(), slice: witness.slice.cloned() }
    }
}
