//! One pod, from found to captured, and back.

use std::{io, net::SocketAddr};

use super::{ListenError, Listeners, Parts, Sandbox, SandboxError};
use crate::{
    cluster::LocalPod,
    kernel::{LoadError, MapsError, PinError},
    tunnel,
};

/// A pod could not be enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// Its processes were not found.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
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
    /// A kernel map failed: not this pod's fault.
    #[error(transparent)]
    Maps(#[from] MapsError),
}

impl EnrolError {
    /// Whether this is how a pod that starts or ends looks for a while.
    pub const fn is_expected_for_a_while(&self) -> bool {
        matches!(
            self,
            Self::Sandbox(
                SandboxError::NoCgroup { .. } | SandboxError::NoProcess { .. } | SandboxError::Gone
            ) | Self::Listen(ListenError::NoAddress { .. })
        )
    }
}

/// A pod whose connections are captured.
#[derive(Debug)]
pub struct Enrolled {
    wish: LocalPod,
    sandbox: Sandbox,
    listeners: Vec<SocketAddr>,
}

impl Enrolled {
    /// Finds the pod and captures it. What was done is undone if a later step fails.
    ///
    /// The order is the point: policy stands before the listeners are known, and the listeners are served before the
    /// kernel sends anything to them.
    pub(super) async fn enrol(wish: &LocalPod, parts: &mut Parts) -> Result<Self, EnrolError> {
        let sandbox = Sandbox::find(&parts.cgroup_root, &wish.uid)?;
        let workload = parts.identities.workload(&wish.identity);
        let listeners = Listeners::open(&sandbox.netns, &wish.addresses)?;
        let addresses = listeners.outbound_addresses().map_err(EnrolError::Address)?;
        let pod = Self { wish: wish.clone(), sandbox, listeners: addresses };
        pod.enforce(parts)?;
        parts.workers.add(tunnel::Pod {
            pod: wish.pod.clone(),
            netns: pod.sandbox.netns.clone(),
            workload,
            addresses: wish.addresses.clone(),
            outbound: listeners.outbound,
            inbound: listeners.inbound,
            hbone_port: tunnel::HBONE_PORT,
        });
        match parts.maps.insert_pod(pod.netns_cookie(), &pod.listeners) {
            Ok(()) => Ok(pod),
            Err(error) => {
                pod.release(parts).await?;
                Err(error.into())
            }
        }
    }

    /// Leaves the pod alone: first its new connections, then its open ones, then its policy.
    pub(super) async fn release(self, parts: &mut Parts) -> Result<(), MapsError> {
        parts.maps.remove_pod(self.netns_cookie())?;
        parts.workers.remove(&self.wish.pod).await;
        if let Err(error) = parts.pins.unpin_pod(self.netns_cookie()) {
            tracing::warn!(pod = %self.wish.pod, %error, "its sk_lookup program stays attached");
        }
        parts.maps.set_ports(&self.wish.addresses, None, &[])
    }

    /// What the cluster said of the pod when it was enrolled.
    pub const fn wish(&self) -> &LocalPod {
        &self.wish
    }

    /// What the kernel knows the pod by.
    pub const fn netns_cookie(&self) -> u64 {
        self.sandbox.netns.cookie()
    }

    /// Where the kernel sends the pod's connections.
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// Whether the pod still runs where it was enrolled.
    pub fn is_alive(&self) -> bool {
        self.sandbox.is_alive()
    }

    fn enforce(&self, parts: &mut Parts) -> Result<(), EnrolError> {
        let modes = parts.cluster.read().port_modes(&self.wish.pod);
        parts.maps.set_ports(&self.wish.addresses, Some(&modes), &self.listeners)?;
        let link = parts.programs.attach_pod(&self.sandbox.netns)?;
        parts.pins.pin_pod(self.netns_cookie(), link.into_link())?;
        Ok(())
    }
}
