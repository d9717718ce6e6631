//! One pod, from found to captured.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::SystemTime,
};

use tokio::sync::Notify;

use super::{
    ListenError, Listeners, Parts, PodCgroups, Sandbox, SandboxError,
    addresses::{self, Found},
    wake::Wake,
};
use crate::{
    cluster::{Cluster, LocalPod, PodRef, PortModes},
    enforce::Served,
    identity::Workload,
    kernel::{ControlMaps, LoadError, MapsError, PinError},
    netns::Netns,
    tunnel,
};

/// A pod could not be enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// Its processes were not found.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Its addresses could not be asked for.
    #[error("cannot list the addresses inside the pod")]
    Addresses(#[source] io::Error),
    /// It has none, or none that can be used.
    #[error("no address is configured inside the pod's network namespace yet")]
    NoAddress,
    /// Its address is being checked.
    #[error("the pod's address {address} is still being checked for duplicates")]
    Tentative {
        /// The address.
        address: IpAddr,
    },
    /// It has given itself the address of another.
    #[error("the address {address} inside the pod belongs to pod {owner}, and its status does not claim it")]
    Foreign {
        /// The address.
        address: IpAddr,
        /// Whose it is.
        owner: PodRef,
    },
    /// Its listeners could not be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The `sk_lookup` program could not be attached.
    #[error("cannot attach to its network namespace: {0}")]
    Attach(#[from] LoadError),
    /// The link could not be pinned.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// A listener's address could not be read.
    #[error("cannot read a listener's address: {0}")]
    Address(#[source] io::Error),
    /// A kernel map has no room for it.
    #[error("{0}: the pod stays outside the mesh, and speaks plaintext where policy lets it")]
    NoRoom(#[source] MapsError),
    /// A kernel map failed: not this pod's fault.
    #[error(transparent)]
    Maps(MapsError),
}

impl From<MapsError> for EnrolError {
    fn from(error: MapsError) -> Self {
        if error.is_full() { Self::NoRoom(error) } else { Self::Maps(error) }
    }
}

impl EnrolError {
    /// Whether this is how a pod that starts or ends looks for a while.
    pub const fn is_expected_for_a_while(&self) -> bool {
        matches!(
            self,
            Self::Sandbox(
                SandboxError::NoCgroup { .. }
                    | SandboxError::NoProcess { .. }
                    | SandboxError::InNodeNetwork { .. }
                    | SandboxError::Gone
            ) | Self::NoAddress
                | Self::Tentative { .. }
                | Self::Listen(ListenError::NoAddress { .. })
        )
    }
}

/// A pod that is served, and once the kernel knows of it, captured.
#[derive(Debug)]
pub struct Enrolled {
    wish: LocalPod,
    addresses: Vec<IpAddr>,
    sandbox: Sandbox,
    listeners: Vec<SocketAddr>,
    /// All ports that the agent listens on in the pod, but for HBONE's.
    own: Vec<SocketAddr>,
    /// What of its policy is in the kernel.
    modes: Option<PortModes>,
    workload: Arc<Workload>,
    since: SystemTime,
    has_had_certificate: bool,
    _end: Option<Wake>,
}

impl Enrolled {
    /// Finds the pod and opens its listeners. Nothing of it is in the kernel yet.
    pub(super) fn find(
        wish: &LocalPod,
        cgroups: &PodCgroups,
        others: &BTreeMap<PodRef, Self>,
        parts: &Parts,
        ended: &Arc<Notify>,
    ) -> Result<(Self, Listeners), EnrolError> {
        let no_cgroup = || SandboxError::NoCgroup { root: parts.cgroup_root.clone() };
        let sandbox = Sandbox::of(cgroups.of(&wish.uid).ok_or_else(no_cgroup)?)?;
        let addresses = addresses_of(wish, sandbox.netns())?;
        let unclaimed = addresses.iter().filter(|address| !wish.addresses.contains(address));
        unclaimed.copied().try_for_each(|address| no_strangers(&wish.pod, address, others, parts))?;
        let listeners = Listeners::open(sandbox.netns(), &addresses)?;
        let outbound = listeners.outbound_addresses().map_err(EnrolError::Address)?;
        let steered = listeners.steered_addresses().map_err(EnrolError::Address)?;
        let pod = Self {
            wish: wish.clone(),
            addresses,
            own: outbound.iter().copied().chain(steered).collect(),
            listeners: outbound,
            modes: None,
            workload: parts.identities.workload(&wish.identity),
            since: SystemTime::now(),
            has_had_certificate: false,
            // Without it, the end is noticed a little later.
            _end: Wake::on_end(sandbox.end(), ended).ok(),
            sandbox,
        };
        Ok((pod, listeners))
    }

    /// Enforces the pod's policy and serves its listeners. What was done is undone if a later step fails.
    ///
    /// The order is the point: policy stands before the listeners are known, and the listeners are served before the
    /// kernel sends anything to them, which [`Self::capture`] has it do.
    pub(super) fn serve(mut self, listeners: Listeners, parts: &mut Parts) -> Result<Self, EnrolError> {
        if let Err(error) = self.enforce(&listeners, parts) {
            self.lift(parts)?;
            return Err(error);
        }
        parts.workers.add(tunnel::Pod {
            pod: self.wish.pod.clone(),
            netns: self.netns().clone(),
            workload: Arc::clone(&self.workload),
            addresses: self.addresses.clone(),
            outbound: listeners.outbound,
            inbound: listeners.inbound,
            steered: listeners.steered,
            hbone_port: tunnel::HBONE_PORT,
        });
        Ok(self)
    }

    /// From now on the kernel sends the pod's connections here.
    pub(super) fn capture(&self, parts: &mut Parts) -> Result<(), MapsError> {
        parts.maps.insert_pod(self.netns().cookie(), &self.listeners)
    }

    /// Takes the pod's policy out of the kernel, and all that is left of its connections.
    pub(super) fn lift(&self, parts: &mut Parts) -> Result<(), MapsError> {
        let netns = self.netns().cookie();
        if let Err(error) = parts.pins.unpin_pod(netns) {
            tracing::warn!(pod = %self.wish.pod, %error, "its sk_lookup program stays attached");
        }
        parts.maps.set_ports(&self.addresses, None, &[])?;
        self.addresses.iter().try_for_each(|&address| parts.maps.inbound().close_door(address))?;
        parts.maps.remove_origins(netns)
    }

    /// Whether what the cluster says of the pod now still describes it; if so, that is what it says from now on.
    pub(super) fn accepts(&mut self, wish: &LocalPod) -> bool {
        let said_nothing_new = wish.addresses.is_empty() || wish.addresses == self.wish.addresses;
        let same_addresses = said_nothing_new
            || (wish.addresses.len() == self.addresses.len()
                && wish.addresses.iter().all(|address| self.addresses.contains(address)));
        let same = wish.uid == self.wish.uid && wish.identity == self.wish.identity && same_addresses;
        if same && self.wish != *wish {
            self.wish = wish.clone();
        }
        same
    }

    /// Looks for the first certificate; true once there has been one.
    pub(super) fn has_certificate(&mut self) -> bool {
        self.has_had_certificate |= self.workload.valid_certificate().is_some();
        self.has_had_certificate
    }

    /// Whether it has had a certificate, the last time somebody looked.
    pub const fn is_certified(&self) -> bool {
        self.has_had_certificate
    }

    /// What the cluster says of the pod.
    pub const fn wish(&self) -> &LocalPod {
        &self.wish
    }

    /// The addresses that it is served at, at most one of each family.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Where it runs.
    pub const fn netns(&self) -> &Netns {
        self.sandbox.netns()
    }

    /// Where the kernel sends the pod's connections.
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// Since when.
    pub const fn since(&self) -> SystemTime {
        self.since
    }

    /// Whether the pod still runs where it was enrolled.
    pub fn is_alive(&self) -> bool {
        self.sandbox.is_alive()
    }

    /// Brings the modes of its ports up to date in the kernel; true if they are other ones now.
    pub(super) fn update_ports(
        &mut self,
        cluster: &Cluster,
        maps: &mut ControlMaps,
    ) -> Result<bool, MapsError> {
        let modes = cluster.read().port_modes(&self.wish.pod);
        let changed = self.modes.as_ref() != Some(&modes);
        if changed {
            self.modes = None;
            maps.set_ports(&self.addresses, Some(&modes), &self.own)?;
            self.modes = Some(modes);
        }
        Ok(changed)
    }

    /// As its open connections are judged.
    pub(super) fn served(&self) -> Served {
        Served { pod: self.wish.pod.clone(), netns: self.netns().clone(), addresses: self.addresses.clone() }
    }

    fn enforce(&mut self, listeners: &Listeners, parts: &mut Parts) -> Result<(), EnrolError> {
        let inbound = parts.maps.inbound();
        // What the others accept is from inside the pod, or to the HBONE port.
        listeners.steered.iter().try_for_each(|listener| inbound.own(listener))?;
        for (&address, door) in self.addresses.iter().zip(&listeners.steered) {
            inbound.open_door(address, door)?;
        }
        self.update_ports(&parts.cluster, &mut parts.maps)?;
        let link = parts.programs.attach_pod(self.netns())?;
        parts.pins.pin_pod(self.netns().cookie(), link.into_link())?;
        Ok(())
    }
}

/// What its status says, where that is there inside. Before the kubelet has published it, or while it still names what
/// an earlier sandbox had, what is there inside.
fn addresses_of(wish: &LocalPod, netns: &Netns) -> Result<Vec<IpAddr>, EnrolError> {
    let configured = addresses::configured(netns).map_err(EnrolError::Addresses)?;
    let is_there = |wanted: &IpAddr| configured.iter().any(|it| it.address == *wanted);
    if !wish.addresses.is_empty() && wish.addresses.iter().all(is_there) {
        return Ok(wish.addresses.clone());
    }
    match addresses::global(&configured) {
        Found::Settled(found) if found.is_empty() => {
            Err(match wish.addresses.iter().find(|it| !is_there(it)) {
                Some(&address) => ListenError::NoAddress { address }.into(),
                None => EnrolError::NoAddress,
            })
        }
        Found::Settled(found) => Ok(found),
        Found::Tentative(address) => Err(EnrolError::Tentative { address }),
    }
}

/// What a pod's owner configured inside must not pass for another pod's address: policy goes by it.
fn no_strangers(
    pod: &PodRef,
    address: IpAddr,
    others: &BTreeMap<PodRef, Enrolled>,
    parts: &Parts,
) -> Result<(), EnrolError> {
    let holder = others.iter().find(|(_, other)| other.addresses.contains(&address));
    let owner = holder.map(|(name, _)| name.clone()).or_else(|| parts.cluster.read().pod_at(address));
    match owner.filter(|owner| owner != pod) {
        Some(owner) => Err(EnrolError::Foreign { address, owner }),
        None => Ok(()),
    }
}
