//! One size of the cluster.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use culvert_testbed::{
    Agent,
    crowd::{self, Crowd, Order, Report},
};

use super::{
    lag::Lags,
    peers::PeerMap,
    sample::{Sample, Start, Steady},
    server::Server,
    site::Site,
};
use crate::{bench::process, step::Steps};

/// How pods change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// How many each second.
    pub(super) rate: u32,
    pub(super) seconds: u32,
}

/// Seconds of changes that are not counted.
pub(super) const WARM_UP: u32 = 1;
/// How long a first sync may take, and how long the kernel may lag behind.
const PATIENCE: Duration = Duration::from_mins(3);

/// Serves a cluster of this size to a fresh agent, and measures.
pub(super) fn run(
    steps: &Steps,
    site: &Site,
    pods: u32,
    services: u32,
    load: Load,
) -> anyhow::Result<Sample> {
    // Whom a change takes away comes back a second later.
    let crowd = Crowd::new(pods, services, load.rate / 2);
    let step = |name: &str| format!("{pods} pods: {name}");
    let mut server = steps.work(&step("API server"), || site.serve(crowd))?;
    let (mut agent, peers, start) = steps.work(&step("first sync"), || sync(site, &server, crowd))?;
    let mut steady = |name: &str, load| {
        let work = || site.beside(|| change(steps, &mut server, &agent, &peers, load));
        steps.work(&step(name), work)
    };
    steady("warm up", Load { seconds: WARM_UP, ..load })?;
    let steady = steady("changes", load)?;
    steps.work(&step("stop"), || stop(site, &mut agent))?;
    Ok(Sample { pods, services, start, steady })
}

const KIB: f64 = 1024.0;
const MB: f64 = 1e6;

fn sync(site: &Site, server: &Server, crowd: Crowd) -> anyhow::Result<(Agent, PeerMap, Start)> {
    let begin = Instant::now();
    let agent = site.agent(server)?;
    agent.wait_for_within(PATIENCE, |line| line["message"] == "ready")?;
    let first_sync_s = begin.elapsed().as_secs_f64();
    let map = site.peers()?;
    let (peers, captured) = (map.entries(), crowd.pods - crowd.away);
    if peers < captured {
        bail!("the peer map has {peers} entries, fewer than the {captured} pods that are captured");
    }
    let start = Start {
        first_sync_s,
        first_sync_cpu_s: process::cpu(agent.process())?,
        memory_synced_mb: process::memory(agent.process())?.resident * KIB / MB,
        peers,
        peers_mb: map.memory() / MB,
    };
    Ok((agent, map, start))
}

fn change(
    steps: &Steps,
    server: &mut Server,
    agent: &Agent,
    peers: &PeerMap,
    load: Load,
) -> anyhow::Result<Steady> {
    let before = process::cpu(agent.process())?;
    let Followed { lags, changing, all } = follow(steps, server, peers, load)?;
    let cpu = process::cpu(agent.process())? - before;
    let memory = process::memory(agent.process())?;
    let lag = lags.summary().context("nothing has changed")?;
    let changes = f64::from(load.rate * load.seconds);
    Ok(Steady {
        changes_per_second: changes / changing.as_secs_f64(),
        lag_p50_ms: lag.p50,
        lag_p99_ms: lag.p99,
        lag_max_ms: lag.most,
        overtaken: lags.overtaken(),
        cpu_us_per_change: cpu * 1e6 / changes,
        cpu_share: cpu / all.as_secs_f64(),
        memory_after_mb: memory.resident * KIB / MB,
        memory_peak_mb: memory.peak * KIB / MB,
    })
}

/// What there was to see while pods changed.
struct Followed {
    lags: Lags,
    /// How long pods changed.
    changing: Duration,
    /// And until the kernel knew.
    all: Duration,
}

/// Between two looks at the peer map.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

fn follow(steps: &Steps, server: &mut Server, peers: &PeerMap, load: Load) -> anyhow::Result<Followed> {
    let begin = Instant::now();
    server.order(Order { changes: load.rate * load.seconds, rate: load.rate })?;
    let (mut lags, mut changing) = (Lags::default(), None);
    while changing.is_none() || lags.waiting() > 0 {
        steps.check()?;
        // What is there already is taken, so that one look serves many changes.
        while let Some(report) = server.report()? {
            match report {
                Report::Changed(change) => lags.expect(change),
                Report::Done => changing = Some(begin.elapsed()),
                Report::Serving(_) => bail!("the API server has started again"),
            }
        }
        lags.look(crowd::now(), |pod| peers.captures(pod))?;
        if changing.is_some_and(|changing| begin.elapsed() > changing + PATIENCE) {
            bail!("the peer map does not know of {} changes {PATIENCE:?} after the last", lags.waiting());
        }
        thread::sleep(LOOK_AGAIN);
    }
    let all = begin.elapsed();
    Ok(Followed { lags, changing: changing.unwrap_or(all), all })
}

fn stop(site: &Site, agent: &mut Agent) -> anyhow::Result<()> {
    let status = agent.stop()?;
    if !status.success() {
        bail!("the agent ended with {status}");
    }
    site.detach()
}
