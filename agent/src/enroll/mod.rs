//! Which pods of this node are captured, kept in step with the cluster and with what really runs.

mod addresses;
mod cgroup;
mod enrolled;
mod kubelet;
mod leaving;
mod listeners;
mod release;
mod report;
mod sandbox;
mod waiting;
mod wake;

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, UdpSocket},
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

use rustix::net::sockopt::socket_cookie;
use tokio::sync::{Notify, watch};
use tracing::{debug, info, warn};

pub use self::{
    cgroup::PodCgroups,
    enrolled::{EnrolError, Enrolled},
    kubelet::KubeletCgroup,
    leaving::HEARSAY,
    listeners::{ListenError, Listeners},
    report::{
        AttachedProgram, EnrolReport, EnrolledReport, NotEnrollableReport, Stand, Standing, WaitingReport,
    },
    sandbox::{Sandbox, SandboxError},
};
use self::{leaving::Leaving, waiting::Waiting, wake::Wake};
use crate::{
    cluster::{Cluster, LocalPod, NotEnrollable, PeerTable, PodRef},
    enforce::Enforcer,
    identity::Identities,
    kernel::{ControlMaps, LoadError, MapsError, NodeLinks, PinError, Pins, Programs},
    tunnel::Workers,
};

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
    /// Who closes what policy no longer accepts.
    pub enforcer: Enforcer,
    /// Whose probes reach `STRICT` pods.
    pub kubelet: KubeletCgroup,
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
    /// Enrolled pods that do not wish to be any more.
    leaving: BTreeMap<PodRef, Leaving>,
    /// Enrolled pods whose policy did not fit into the kernel.
    problems: BTreeMap<PodRef, String>,
    waiting: BTreeMap<PodRef, Waiting>,
    hopeless: BTreeMap<PodRef, NotEnrollable>,
    peers: PeerTable,
    peers_overflowed: bool,
    sidecars_overflowed: bool,
    /// A sandbox began or ended.
    events: Arc<Notify>,
    certificates: watch::Receiver<u64>,
    standing: watch::Sender<Standing>,
}

impl Enroller {
    /// An enroller that has enrolled nobody.
    pub fn new(parts: Parts) -> Self {
        Self {
            certificates: parts.identities.changed(),
            parts,
            enrolled: BTreeMap::new(),
            leaving: BTreeMap::new(),
            problems: BTreeMap::new(),
            waiting: BTreeMap::new(),
            hopeless: BTreeMap::new(),
            peers: PeerTable::default(),
            peers_overflowed: false,
            sidecars_overflowed: false,
            events: Arc::default(),
            standing: watch::Sender::default(),
        }
    }

    /// Attaches the node-wide programs beside those of an earlier agent, and makes the agent's own sockets known to
    /// them. No pod is captured by them yet.
    pub fn attach(&mut self) -> Result<NodeLinks, StartError> {
        let Parts { programs, maps, cgroup_root, .. } = &mut self.parts;
        let links = programs.attach(cgroup_root)?;
        introduce(maps)?;
        self.beat()?;
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

    /// Does what has to be done now; `now` is what retries are measured by. An error is the kernel's, not a pod's.
    ///
    /// Peers are in their map before a new pod is in its own: its first connection meets them all.
    pub async fn follow(&mut self, now: Instant) -> Result<(), MapsError> {
        let (wanted, hopeless) = self.wishes();
        self.tell_hopeless(hopeless);
        let back = self.part(&wanted, now)?;
        self.release_unwanted(&wanted, now).await?;
        self.waiting.retain(|pod, _| wanted.contains_key(pod));
        let new = self.serve_due(wanted, now).await?;
        self.update_ports()?;
        self.update_peers()?;
        for pod in back.into_iter().chain(new) {
            self.capture(&pod, now).await?;
        }
        self.publish();
        Ok(())
    }

    /// Comes when [`Self::follow`] has to be called again though the cluster did not change. A sandbox may have ended:
    /// see [`Self::release_ended`].
    pub async fn due(&mut self) {
        let ends = self.leaving.values().map(|leaving| leaving.end());
        let next = self.waiting.values().map(Waiting::next).chain(ends).min();
        let next = async {
            match next {
                Some(next) => tokio::time::sleep_until(next.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = next => {}
            () = self.events.notified() => {}
            Ok(()) = self.certificates.changed() => {}
        }
    }

    /// The pods whose capture stands, as they change. It ends with the enroller.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Nobody's capture counts as standing from now on, though all are served as before.
    pub fn retract(&mut self) {
        self.standing = watch::Sender::default();
    }

    /// Enrolled pods and waiting ones, for a report.
    pub fn counts(&self) -> (usize, usize) {
        (self.enrolled.len(), self.waiting.len())
    }

    /// The pod behind a network namespace.
    pub fn pod_of(&self, netns: u64) -> Option<&PodRef> {
        self.enrolled.iter().find(|(_, pod)| pod.netns().cookie() == netns).map(|(name, _)| name)
    }

    /// The kernel's maps, to look at.
    pub const fn maps(&self) -> &ControlMaps {
        &self.parts.maps
    }

    /// A sign of life for the kernel, and a look whether the kubelet is another one.
    pub fn beat(&mut self) -> Result<(), MapsError> {
        let Parts { maps, kubelet, .. } = &mut self.parts;
        if let Some(kubelet) = kubelet.look() {
            maps.inbound().set_kubelet(kubelet)?;
        }
        maps.beat()
    }

    /// Ends serving and hands back what has to be ended in order. Nobody's capture counts as standing any more.
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

    /// Serves those whose time has come; which of them are served now and have yet to be captured.
    async fn serve_due(
        &mut self,
        wanted: BTreeMap<PodRef, LocalPod>,
        now: Instant,
    ) -> Result<Vec<PodRef>, MapsError> {
        let is_due = |pod: &LocalPod| self.waiting.get(&pod.pod).is_none_or(|it| it.is_due(pod, now));
        let due: Vec<_> =
            wanted.into_values().filter(|pod| !self.enrolled.contains_key(&pod.pod) && is_due(pod)).collect();
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let cgroups = PodCgroups::scan(&self.parts.cgroup_root);
        let mut new = Vec::new();
        for wish in due {
            match self.serve(&wish, &cgroups).await {
                Ok(()) => new.push(wish.pod),
                Err(EnrolError::Maps(error)) => return Err(error),
                Err(error) => self.wait(wish, &error, now),
            }
        }
        Ok(new)
    }

    async fn serve(&mut self, wish: &LocalPod, cgroups: &PodCgroups) -> Result<(), EnrolError> {
        let (pod, listeners) = Enrolled::find(wish, cgroups, &self.enrolled, &self.parts, &self.events)?;
        self.release_holders(pod.addresses()).await?;
        self.enrolled.insert(wish.pod.clone(), pod.serve(listeners, &mut self.parts)?);
        Ok(())
    }

    async fn capture(&mut self, name: &PodRef, now: Instant) -> Result<(), MapsError> {
        let Some(pod) = self.enrolled.remove(name) else { return Ok(()) };
        match pod.capture(&mut self.parts) {
            Ok(()) => {
                info!(pod = %name, identity = %pod.wish().identity, "enrolled");
                self.parts.enforcer.sweep(pod.served());
                self.waiting.remove(name);
                self.enrolled.insert(name.clone(), pod);
                Ok(())
            }
            Err(error) if error.is_full() => {
                self.wait(pod.wish().clone(), &EnrolError::NoRoom(error), now);
                self.withdraw(vec![pod]).await
            }
            Err(error) => Err(error),
        }
    }

    /// A person is told of a reason once, when it is new.
    fn wait(&mut self, wish: LocalPod, error: &EnrolError, now: Instant) {
        let (pod, because) = (wish.pod.clone(), error.to_string());
        let last = self.waiting.remove(&pod);
        if last.as_ref().is_some_and(|last| last.because == because) {
            debug!(%pod, because, "still not enrolled");
        } else if error.is_expected_for_a_while() {
            info!(%pod, because, "not enrolled yet");
        } else {
            warn!(%pod, because, "not enrolled");
        }
        let wake = match error {
            // Without it, the pod is tried again a little later.
            EnrolError::Sandbox(SandboxError::NoProcess { cgroup }) => {
                Wake::on_population(cgroup, &self.events).ok()
            }
            _ => None,
        };
        self.waiting.insert(pod, Waiting::new(wish, error, now, last).until(wake));
    }

    fn update_ports(&mut self) -> Result<(), MapsError> {
        let Parts { cluster, maps, enforcer, .. } = &mut self.parts;
        for (name, pod) in &mut self.enrolled {
            let problem = match pod.update_ports(cluster, maps) {
                Ok(changed) => {
                    if changed {
                        enforcer.sweep(pod.served());
                    }
                    None
                }
                Err(error) if error.is_full() => Some(error.to_string()),
                Err(error) => return Err(error),
            };
            tell_problem(&mut self.problems, name, problem);
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
        self.update_sidecars()
    }

    fn update_sidecars(&mut self) -> Result<(), MapsError> {
        let overflowed = self.parts.maps.inbound().update_sidecars(&self.peers.sidecar_changes())?;
        if overflowed && !self.sidecars_overflowed {
            warn!("the kernel's map of sidecars is full: what some of them send is taken for plaintext");
        }
        self.sidecars_overflowed = overflowed;
        Ok(())
    }

    fn publish(&mut self) {
        self.certificates.borrow_and_update();
        let stand =
            |pod: &mut Enrolled| Stand { uid: pod.wish().uid.clone(), certified: pod.has_certificate() };
        let staying = self.enrolled.iter_mut().filter(|(name, _)| !self.leaving.contains_key(*name));
        let now: Standing = staying.map(|(name, pod)| (name.clone(), stand(pod))).collect();
        self.standing.send_if_modified(|told| {
            let changed = *told != now;
            *told = now;
            changed
        });
    }
}

/// A pod whose policy did not fit is served all the same: what is in the kernel holds, and mTLS is decided here.
fn tell_problem(problems: &mut BTreeMap<PodRef, String>, pod: &PodRef, problem: Option<String>) {
    match problem {
        Some(problem) if problems.get(pod) != Some(&problem) => {
            warn!(%pod, problem, "the kernel does not know all of its ports' modes");
            problems.insert(pod.clone(), problem);
        }
        Some(_) => {}
        None => drop(problems.remove(pod)),
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
