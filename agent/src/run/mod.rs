//! The life of an agent: start in order, follow the cluster, end in order.

mod announcement;
mod ca;
mod explain;
mod issuer;
mod lines;
mod log;
mod report;
mod signals;
mod source;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use culvert::{
    cluster::Cluster,
    enforce::Enforcer,
    enroll::{Enroller, KubeletCgroup, Parts},
    identity::{Originator, SystemClock},
    kernel::{ControlMaps, Events, Failure, Options, Pins, Programs, Requirements, WorkerMapIds},
    memory,
    observe::{AccessLog, Observer, PlaintextLog},
    status::{Asked, Document, Door, Visitor},
    tunnel::{Decide, Threads, Workers},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior},
};
use tracing::{debug, info, warn};

use self::{announcement::Announcement, report::Reporter};
pub(crate) use self::{
    ca::ca,
    explain::{ExplainError, explain},
    log::init as init_log,
    signals::Signals,
};
use crate::cli::AgentOptions;

/// A third of what the kernel allows.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Serves a node until a signal ends it.
pub(crate) fn agent(options: AgentOptions) -> Result<()> {
    let _log = init_log(&options.log, options.log_format).context("cannot start the log")?;
    let requirements = Requirements::check(options.cgroup_root.as_deref())?;
    raise_file_limit()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(options, requirements))
}

async fn serve(options: AgentOptions, requirements: Requirements) -> Result<()> {
    let mut signals = Signals::new()?;
    let pins = Pins::open(&options.node)?;
    let (cluster, follower) = source::open(&options).await?;
    let identities = issuer::identities(&options)?;
    let kernel = Options { failure: options.failure, log: options.kernel_log };
    let (mut programs, mut maps) = Programs::load(&kernel)?;
    spawn_kernel_log(&mut programs, &options);
    let originator = Originator::new(options.tls_files.clone(), Arc::new(SystemClock));
    let workers = start_workers(&options, &cluster, originator.clone(), maps.for_workers()?)?;
    let events = maps.events().transpose()?;

    let announcement = Announcement::new(follower.client(), &options, &cluster);
    tokio::spawn(follower.run(cluster.clone()));
    tokio::spawn(source::follow_trust_domains(cluster.clone(), identities.clone()));
    tokio::spawn(identities.clone().rotate());
    tokio::spawn(originator.clone().follow());
    let enforcer = start_enforcer(&cluster, &mut maps)?;
    let kubelet = KubeletCgroup::new(&requirements.cgroup_root, options.kubelet_cgroup.clone())
        .context("cannot tell the agent's own network namespace")?;
    let mut agent = Agent {
        door: open_door(&options)?,
        reporter: Reporter::new(&options, &cluster, &identities, originator),
        enroller: Enroller::new(Parts {
            node: options.node.clone(),
            cgroup_root: requirements.cgroup_root,
            programs,
            maps,
            pins,
            identities,
            cluster: cluster.clone(),
            workers,
            enforcer,
            kubelet,
        }),
        announcement,
        in_force: false,
    };
    let links = agent.enroller.attach()?;
    if let Some(signal) = agent.wait_for_cluster(&cluster, &mut signals).await? {
        info!(signal, "ending before the cluster is known");
        return Ok(());
    }
    let changes = cluster.changed();
    agent.enroller.follow(Instant::now()).await?;
    agent.enroller.take_over(links)?;
    agent.in_force = true;
    agent.announcement.begin(agent.enroller.standing());
    if let Some(events) = events {
        tokio::spawn(record_plaintext(events, cluster));
    }
    memory::settle();
    let (serving, waiting) = agent.enroller.counts();
    info!(node = options.node, enrolled = serving, waiting, "ready");
    tokio::spawn(settle_again());

    let end = agent.follow(changes, &mut signals).await;
    agent.retract().await?;
    finish(agent.enroller, &options).await?;
    end
}

/// How long an agent that is ready is busy with what comes once: first certificates, first tunnels' configurations.
const SETTLING: Duration = Duration::from_secs(1);

async fn settle_again() {
    tokio::time::sleep(SETTLING).await;
    memory::settle();
}

/// What runs on the main thread.
struct Agent {
    enroller: Enroller,
    door: Door,
    reporter: Reporter,
    announcement: Announcement,
    /// This agent's programs are the ones that decide.
    in_force: bool,
}

impl Agent {
    /// An earlier agent's programs stay in force until then: an empty model would let go of pods that it captured.
    /// Returns the signal that came first, if one did.
    async fn wait_for_cluster(
        &mut self,
        cluster: &Cluster,
        signals: &mut Signals,
    ) -> Result<Option<&'static str>> {
        let mut synced = cluster.synced();
        let mut beat = heartbeat();
        loop {
            tokio::select! {
                signal = signals.next() => return Ok(Some(signal)),
                _ = beat.tick() => self.enroller.beat()?,
                visitor = self.door.visitor() => self.answer(visitor),
                synced = synced.wait_for(|synced| *synced) => {
                    synced.context("the cluster's source ended")?;
                    return Ok(None);
                }
            }
        }
    }

    /// The control loop. It ends with a signal, or with an error of the kernel's.
    async fn follow(&mut self, mut changes: watch::Receiver<u64>, signals: &mut Signals) -> Result<()> {
        let mut told = *changes.borrow();
        let mut beat = heartbeat();
        loop {
            tokio::select! {
                signal = signals.next() => {
                    info!(signal, "ending");
                    return Ok(());
                }
                visitor = self.door.visitor() => {
                    self.answer(visitor);
                    continue;
                }
                _ = beat.tick() => {
                    self.enroller.beat()?;
                    self.enroller.release_ended().await?;
                }
                result = changes.changed() => result.context("the cluster's source ended")?,
                () = self.enroller.due() => self.enroller.release_ended().await?,
            }
            let revision = *changes.borrow_and_update();
            self.enroller.follow(Instant::now()).await?;
            if std::mem::replace(&mut told, revision) != revision {
                debug!(revision, "in force");
            }
        }
    }

    /// Peers are told before anything ends, so that they turn elsewhere.
    async fn retract(&mut self) -> Result<()> {
        self.enroller.retract();
        let told = std::mem::take(&mut self.announcement).end();
        tokio::pin!(told);
        let mut beat = heartbeat();
        loop {
            tokio::select! {
                () = &mut told => return Ok(()),
                _ = beat.tick() => self.enroller.beat()?,
            }
        }
    }

    fn answer(&self, visitor: Visitor) {
        match visitor.asked() {
            Asked::Status => visitor.answer(&self.document()),
            Asked::Explain(question) => {
                let explanation = self.reporter.explanation(&self.enroller, question);
                visitor.answer(&explanation);
            }
        }
    }

    fn document(&self) -> Document {
        let mut document = self.reporter.document(&self.enroller, self.in_force);
        document.concerns.extend(self.announcement.trouble());
        document
    }
}

fn heartbeat() -> Interval {
    let mut beat = tokio::time::interval(HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}

fn open_door(options: &AgentOptions) -> Result<Door> {
    let path = &options.status_socket;
    Door::open(path).with_context(|| format!("cannot open the status socket {}", path.display()))
}

async fn record_plaintext(events: Events, cluster: Cluster) {
    let log = PlaintextLog::new(cluster, AccessLog);
    if let Err(error) = events.run(|event| log.write(event)).await {
        warn!(%error, "plaintext connections are no longer recorded");
    }
}

/// Drains. With `failure: closed` the programs stay and refuse until the next agent comes; else nothing stays.
async fn finish(enroller: Enroller, options: &AgentOptions) -> Result<()> {
    let Parts { workers, pins, mut maps, .. } = enroller.into_parts();
    let beating = async {
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            if let Err(error) = maps.beat() {
                warn!(%error, "no sign of life for the kernel");
            }
        }
    };
    let cut = tokio::select! {
        drained = workers.drain(options.drain) => drained.cut,
        () = beating => unreachable!("it has no end"),
    };
    if options.failure == Failure::Open {
        pins.detach_all()?;
        info!(cut, "ended; pods are left alone");
    } else {
        info!(
            cut,
            "ended; what has to be captured is refused until an agent comes back, or `culvert detach` is run"
        );
    }
    Ok(())
}

fn start_workers(
    options: &AgentOptions,
    cluster: &Cluster,
    originator: Originator,
    maps: WorkerMapIds,
) -> Result<Workers> {
    let decide: Arc<dyn Decide> = Arc::new(cluster.clone());
    let observer: Arc<dyn Observer> = Arc::new(AccessLog);
    let open = move || maps.open().map_err(io::Error::other);
    let threads = Threads { count: options.workers.get(), busy_poll: options.busy_poll };
    Workers::start(threads, decide, observer, originator, open).context("cannot start the workers")
}

fn start_enforcer(cluster: &Cluster, maps: &mut ControlMaps) -> Result<Enforcer> {
    let flows = maps.inbound().flows();
    let start = flows.and_then(|flows| Enforcer::start(cluster.clone(), flows, Arc::new(AccessLog)));
    start.context("cannot start the thread that judges open connections")
}

fn spawn_kernel_log(programs: &mut Programs, options: &AgentOptions) {
    if options.kernel_log.is_none() {
        return;
    }
    if let Some(log) = programs.log() {
        tokio::spawn(async move {
            if let Err(error) = log.run().await {
                warn!(%error, "the kernel's programs are no longer heard");
            }
        });
    }
}

/// Each captured connection costs a file descriptor or two.
fn raise_file_limit() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, raised)
        .map_err(io::Error::from)
        .context("cannot raise the limit of open files")
}
