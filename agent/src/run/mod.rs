//! The life of an agent: start in order, follow the cluster, end in order.

mod log;
mod signals;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use culvert::{
    cluster::{Captured, Cluster, Index, Settings, manifests::ManifestDir},
    enroll::{Enroller, Parts},
    identity::{Authority, Identities},
    kernel::{Failure, Options, Pins, Programs, Requirements, WorkerMapIds},
    observe::{AccessLog, Observer, PlaintextLog},
    tunnel::{Decide, Workers},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{sync::watch, time::MissedTickBehavior};
use tracing::{debug, info, warn};

pub(crate) use self::{log::init as init_log, signals::Signals};
use crate::cli::{AgentOptions, IssuerOptions, Source};

/// A third of what the kernel allows.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Serves a node until a signal ends it.
pub(crate) fn agent(options: AgentOptions) -> Result<()> {
    init_log(&options.log, options.log_format);
    let requirements = Requirements::check(options.cgroup_root.as_deref())?;
    raise_file_limit()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(options, requirements))
}

async fn serve(options: AgentOptions, requirements: Requirements) -> Result<()> {
    let mut signals = Signals::new()?;
    let pins = Pins::open(&options.node)?;
    let (cluster, manifests) = load_cluster(&options)?;
    let identities = load_identities(&options)?;
    let kernel = Options { failure: options.failure, log: options.kernel_log };
    let (mut programs, mut maps) = Programs::load(&kernel)?;
    spawn_kernel_log(&mut programs, &options);
    let workers = start_workers(&options, &cluster, maps.for_workers()?)?;
    let events = maps.events().transpose()?;

    tokio::spawn(manifests.run(cluster.clone()));
    tokio::spawn(identities.clone().rotate());
    let mut enroller = Enroller::new(Parts {
        node: options.node.clone(),
        cgroup_root: requirements.cgroup_root,
        programs,
        maps,
        pins,
        identities,
        cluster: cluster.clone(),
        workers,
    });
    let links = enroller.attach()?;
    let changes = cluster.changed();
    enroller.follow(Instant::now()).await?;
    enroller.take_over(links)?;
    if let Some(events) = events {
        let log = PlaintextLog::new(cluster.clone(), AccessLog);
        tokio::spawn(async move {
            if let Err(error) = events.run(|event| log.write(event)).await {
                warn!(%error, "plaintext connections are no longer recorded");
            }
        });
    }
    let (serving, waiting) = enroller.counts();
    info!(node = options.node, enrolled = serving, waiting, "ready");

    let end = follow(&mut enroller, changes, &mut signals).await;
    finish(enroller, &options).await?;
    end
}

/// The control loop. It ends with a signal, or with an error of the kernel's.
async fn follow(
    enroller: &mut Enroller,
    mut changes: watch::Receiver<u64>,
    signals: &mut Signals,
) -> Result<()> {
    let mut told = *changes.borrow();
    let mut beat = tokio::time::interval(HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            name = signals.next() => {
                info!(signal = name, "ending");
                return Ok(());
            }
            _ = beat.tick() => {
                enroller.beat()?;
                enroller.release_ended().await?;
            }
            result = changes.changed() => result.context("the cluster's source ended")?,
            () = enroller.due() => enroller.release_ended().await?,
        }
        let revision = *changes.borrow_and_update();
        enroller.follow(Instant::now()).await?;
        if std::mem::replace(&mut told, revision) != revision {
            debug!(revision, "in force");
        }
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

fn start_workers(options: &AgentOptions, cluster: &Cluster, maps: WorkerMapIds) -> Result<Workers> {
    let decide: Arc<dyn Decide> = Arc::new(cluster.clone());
    let observer: Arc<dyn Observer> = Arc::new(AccessLog);
    let open = move || maps.open().map_err(io::Error::other);
    Workers::start(options.workers.get(), decide, observer, open).context("cannot start the workers")
}

fn load_cluster(options: &AgentOptions) -> Result<(Cluster, ManifestDir)> {
    let defaults = Settings::default();
    let cluster = Cluster::new(Index::new(Settings {
        root_namespace: options.root_namespace.clone().unwrap_or(defaults.root_namespace),
        trust_domain: options.trust_domain.clone().unwrap_or(defaults.trust_domain),
        captured: Captured::ByWish,
        ..Settings::default()
    }));
    let Source::Manifests(directory) = &options.source else { anyhow::bail!("expected --manifests") };
    let mut manifests = ManifestDir::open(directory)?;
    manifests.load(&cluster)?;
    Ok((cluster, manifests))
}

fn load_identities(options: &AgentOptions) -> Result<Identities> {
    let trust_domain = options.trust_domain.as_deref().unwrap_or("cluster.local");
    let authority = match &options.issuer {
        IssuerOptions::Own { directory: Some(directory) } => Authority::in_dir(directory, trust_domain)?,
        IssuerOptions::Own { directory: None } => Authority::in_memory(trust_domain)?,
        IssuerOptions::Service { .. } => anyhow::bail!("expected --ca-dir"),
    };
    Ok(Identities::new(authority, options.cert_lifetime))
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
