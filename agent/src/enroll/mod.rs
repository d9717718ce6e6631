//! Which pods of this node are captured, kept in step with the cluster and with what really runs.

mod cgroup;
mod enrolled;
mod listeners;

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, UdpSocket},
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::net::sockopt::socket_cookie;
use tracing::{debug, info, warn};

pub use self::{
    cgroup::{Sandbox, SandboxError},
    enrolled::{EnrolError, Enrolled},
    listeners::{ListenError, Listeners},
};
use crate::{
    cluster::{Cluster, LocalPod, NotEnrollable, PeerTable, PodRef},
    identity::Identities,
    kernel::{ControlMaps, LoadError, MapsError, NodeLinks, PinError, Pins, Programs},
    tunnel::Workers,
};

/// How soon a pod that could not be enrolled is tried again; doubles up to [`MAX_RETRY`].
const MIN_RETRY: Duration = Duration::from_millis(50);
/// How late, at the most.
const MAX_RETRY: Duration = Duration::from_secs(2);

/// What the enroller works with.
pub struct Parts {
    /// The node's name, as `spec.nodeName` has it.
    pub node: String,
    /// The node's cgroup.
    pub cgroup_root: PathBuf,
    /// The loaded programs.
    pub programs: Programs,
    /// Their maps.
    pub maps: ControlMaps,
    /// The node's pins.
    pub pins: Pins,
    /// Where certificates come from.
    pub identities: Identities,
    /// What the cluster says.
    pub cluster: Cluster,
    /// Who serves the listeners.
    pub workers: Workers,
}

/// The agent could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The programs could not be attached.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A map failed.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// The agent's own socket failed.
    #[error("cannot show the kernel the agent's cgroup: a UDP socket on loopback failed")]
    Introduction(#[from] io::Error),
}

/// Keeps the node's enrolled pods as the cluster wants them.
pub struct Enroller {
    parts: Parts,
    enrolled: BTreeMap<PodRef, Enrolled>,
    waiting: BTreeMap<PodRef, Waiting>,
    hopeless: BTreeMap<PodRef, NotEnrollable>,
    peers: PeerTable,
    peers_overflowed: bool,
}

/// A pod that wishes to be enrolled and is not, yet.
#[derive(Debug)]
struct Waiting {
    because: String,
    delay: Duration,
    next: Instant,
}

impl Enroller {
    /// An enroller that has enrolled nobody.
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            enrolled: BTreeMap::new(),
            waiting: BTreeMap::new(),
            hopeless: BTreeMap::new(),
            peers: PeerTable::default(),
            peers_overflowed: false,
        }
    }

    /// Attaches the node-wide programs beside those of an earlier agent, and makes the agent's own sockets known to
    /// them. No pod is captured by them yet.
    pub fn attach(&mut self) -> Result<NodeLinks, StartError> {
        let Parts { programs, maps, cgroup_root, .. } = &mut self.parts;
        let links = programs.attach(cgroup_root)?;
        introduce(maps)?;
        maps.beat()?;
        Ok(links)
    }

    /// Puts an end to an earlier agent's programs. Call it after a first [`Self::follow`]: then each pod that can be
    /// enrolled is, before the earlier programs let go of it.
    pub fn take_over(&mut self, links: NodeLinks) -> Result<(), PinError> {
        let pins = &self.parts.pins;
        links.pin(pins)?;
        let stale = pins.pods()?;
        let stale = stale.iter().filter(|&&netns| self.pod_of(netns).is_none());
        stale.into_iter().try_for_each(|&netns| pins.unpin_pod(netns))
    }

    /// Releases pods whose sandbox ended or was replaced: the cluster may tell of it late, or never.
    pub async fn release_ended(&mut self) -> Result<(), MapsError> {
        let ended = self.enrolled.iter().filter(|(_, pod)| !pod.is_alive());
        let ended = ended.map(|(name, _)| (name.clone(), "its sandbox ended")).collect();
        self.release(ended).await
    }

    /// Does what has to be done now; `now` is what retries are measured by. An error is the kernel's, not a pod's.
    pub async fn follow(&mut self, now: Instant) -> Result<(), MapsError> {
        let (wanted, hopeless) = self.wishes();
        self.tell_hopeless(hopeless);
        self.release_unwanted(&wanted).await?;
        self.waiting.retain(|pod, _| wanted.contains_key(pod));
        for (pod, wish) in &wanted {
            if !self.enrolled.contains_key(pod) {
                self.try_enrol(wish, now).await?;
            }
        }
        self.update_ports()?;
        self.update_peers()
    }

    /// Enrolled pods and waiting ones, for a report.
    pub fn counts(&self) -> (usize, usize) {
        (self.enrolled.len(), self.waiting.len())
    }

    /// The pod behind a network namespace.
    pub fn pod_of(&self, netns: u64) -> Option<&PodRef> {
        self.enrolled.iter().find(|(_, pod)| pod.netns_cookie() == netns).map(|(name, _)| name)
    }

    /// When [`Self::follow`] has to be called again though nothing changed.
    pub fn next_retry(&self) -> Option<Instant> {
        self.waiting.values().map(|waiting| waiting.next).min()
    }

    /// A sign of life for the kernel.
    pub fn beat(&mut self) -> Result<(), MapsError> {
        self.parts.maps.beat()
    }

    /// Ends serving and hands back what has to be ended in order.
    pub fn into_parts(self) -> Parts {
        self.parts
    }

    /// The pods of this node that ask to be enrolled: those that can be, and those that never can.
    fn wishes(&self) -> (BTreeMap<PodRef, LocalPod>, BTreeMap<PodRef, NotEnrollable>) {
        let index = self.parts.cluster.read();
        let wanted = index.local_pods(&self.parts.node).into_iter().map(|pod| (pod.pod.clone(), pod));
        (wanted.collect(), index.not_enrollable(&self.parts.node).into_iter().collect())
    }

    /// A person is told of each once.
    fn tell_hopeless(&mut self, hopeless: BTreeMap<PodRef, NotEnrollable>) {
        for (pod, because) in &hopeless {
            if self.hopeless.get(pod) != Some(because) {
                warn!(%pod, %because, "not enrolled");
            }
        }
        self.hopeless = hopeless;
    }

    async fn release_unwanted(&mut self, wanted: &BTreeMap<PodRef, LocalPod>) -> Result<(), MapsError> {
        let unwanted: Vec<(PodRef, &'static str)> = self
            .enrolled
            .iter()
            .filter_map(|(name, pod)| match wanted.get(name) {
                None => Some((name.clone(), "it is gone, or opted out")),
                Some(wish) if *wish != *pod.wish() => Some((name.clone(), "it changed")),
                Some(_) => None,
            })
            .collect();
        self.release(unwanted).await
    }

    async fn release(&mut self, pods: Vec<(PodRef, &'static str)>) -> Result<(), MapsError> {
        for (name, because) in pods {
            if let Some(pod) = self.enrolled.remove(&name) {
                info!(pod = %name, because, "released");
                pod.release(&mut self.parts).await?;
            }
        }
        Ok(())
    }

    async fn try_enrol(&mut self, wish: &LocalPod, now: Instant) -> Result<(), MapsError> {
        if self.waiting.get(&wish.pod).is_some_and(|waiting| waiting.next > now) {
            return Ok(());
        }
        match Enrolled::enrol(wish, &mut self.parts).await {
            Ok(pod) => {
                info!(pod = %wish.pod, identity = %wish.identity, "enrolled");
                self.waiting.remove(&wish.pod);
                self.enrolled.insert(wish.pod.clone(), pod);
                Ok(())
            }
            Err(EnrolError::Maps(error)) => Err(error),
            Err(error) => {
                self.wait(&wish.pod, &error, now);
                Ok(())
            }
        }
    }

    /// A person is told of a reason once, when it is new.
    fn wait(&mut self, pod: &PodRef, error: &EnrolError, now: Instant) {
        let because = error.to_string();
        let last = self.waiting.get(pod);
        if last.is_some_and(|last| last.because == because) {
            debug!(%pod, because, "still not enrolled");
        } else if error.is_expected_for_a_while() {
            info!(%pod, because, "not enrolled yet");
        } else {
            warn!(%pod, because, "not enrolled");
        }
        let delay = last.map_or(MIN_RETRY, |last| (last.delay * 2).min(MAX_RETRY));
        self.waiting.insert(pod.clone(), Waiting { because, delay, next: now + delay });
    }

    fn update_ports(&mut self) -> Result<(), MapsError> {
        let index = self.parts.cluster.read();
        for (name, pod) in &self.enrolled {
            let modes = index.port_modes(name);
            self.parts.maps.set_ports(&pod.wish().addresses, Some(&modes), pod.listeners())?;
        }
        Ok(())
    }

    fn update_peers(&mut self) -> Result<(), MapsError> {
        let changes = self.peers.update(&self.parts.cluster.read(), self.enrolled.keys());
        let overflowed = self.parts.maps.update_peers(&changes)?;
        if overflowed && !self.peers_overflowed {
            warn!(
                peers = self.peers.len(),
                "the kernel's peer map is full: the agent decides on each connection itself"
            );
        }
        self.peers_overflowed = overflowed;
        Ok(())
    }
}

/// Shows the kernel from which cgroup the agent's sockets come, by a UDP `connect()` that sends nothing. An agent
/// outside the node's cgroup is not seen, and needs no exemption.
fn introduce(maps: &mut ControlMaps) -> Result<(), StartError> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    maps.introduce(socket_cookie(&socket).map_err(io::Error::from)?)?;
    socket.connect((Ipv4Addr::LOCALHOST, DISCARD))?;
    debug!(cgroup = maps.agent_cgroup()?, "the agent's own cgroup");
    Ok(())
}

/// Any port will do: nothing is sent.
const DISCARD: u16 = 9;
