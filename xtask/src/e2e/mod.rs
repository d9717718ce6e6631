//! `cargo xtask e2e`: Culvert on a cluster that kind makes, from installation to the last trace.

mod call;
mod cluster;
mod install;
mod pairs;
mod patience;
mod remains;
mod verdict;

use anyhow::Context;

use crate::{
    image::{self, Engine},
    places,
    setup::{self, Purpose},
    step::{Steps, say},
    unavailable::Unavailable,
    walkthrough::Step,
};

use cluster::Cluster;
use install::Method;
use patience::eventually;
use remains::Programs;

/// How to run it.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Take this image, which docker or podman holds, instead of building one
    #[arg(long, value_name = "TAG")]
    image: Option<String>,
    /// Install by one way only
    #[arg(long, value_enum)]
    method: Option<Method>,
    /// Leave the cluster, and tell how to reach and how to delete it
    #[arg(long)]
    keep: bool,
}

/// What the chart and the manifest call the image by themselves; the part before the name is what a node's container
/// runtime adds to a name without a registry.
const IMAGE: &str = concat!("docker.io/library/culvert:", env!("CARGO_PKG_VERSION"));

/// Walks through the migration on a real cluster, once for each way to install; an error if anything was seen that
/// was not expected, or anything is left.
pub(crate) fn run(steps: &Steps, options: &Options) -> anyhow::Result<()> {
    let engine = require()?;
    setup::ensure(steps, &[Purpose::Deploy])?;
    match &options.image {
        Some(image) => steps.run("image, named as the chart does", &mut engine.rename(image, IMAGE))?,
        None => image::build(steps, engine, IMAGE)?,
    }
    let before = Programs::now();
    let cluster = Cluster::create(steps, engine, options.keep)?;
    let outcome = on(steps, &cluster, options, &before);
    steps.check()?;
    outcome.inspect_err(|_| cluster.explain())
}

fn on(steps: &Steps, cluster: &Cluster, options: &Options, before: &Programs) -> anyhow::Result<()> {
    cluster.load(steps, IMAGE)?;
    cluster.apply_file(steps, "Istio's resources", &places::root().join("deploy/crds.yaml"))?;
    cluster.apply(steps, "clients and servers", include_str!("workloads.yaml"))?;
    for namespace in ["full", "partial", "legacy"] {
        cluster.wait_ready(steps, namespace)?;
    }
    let methods = options.method.map_or(Method::ALL.to_vec(), |method| vec![method]);
    for method in methods {
        once(steps, cluster, method, before).with_context(|| format!("installed by {}", method.as_str()))?;
    }
    say("all as expected, and nothing is left in the kernel");
    Ok(())
}

/// From installation to the last trace.
fn once(steps: &Steps, cluster: &Cluster, method: Method, before: &Programs) -> anyhow::Result<()> {
    method.install(steps, cluster)?;
    steps.work("pods are captured", || pairs::wait_for_capture(cluster))?;
    let walkthrough = Step::all()?;
    walkthrough.iter().try_for_each(|step| walk(steps, cluster, step))?;
    // Uninstalled while it is STRICT: whatever stayed in the kernel would go on to refuse.
    walk(steps, cluster, &walkthrough[1])?;
    method.uninstall(steps, cluster)?;
    steps.work("nothing is left on the nodes", || eventually(|| remains::pins(cluster)))?;
    steps.work("no program is left in the kernel", || eventually(|| before.added_since()))?;
    steps.work("all six pairs reach each other", || pairs::check_all_answered(steps, cluster))?;
    cluster.delete_policy(steps)
}

fn walk(steps: &Steps, cluster: &Cluster, step: &Step) -> anyhow::Result<()> {
    if let Some(policy) = &step.policy {
        cluster.apply(steps, "policy", policy)?;
    }
    steps.work(&step.title, || pairs::check(steps, cluster, step))
}

/// Everything that has to be there, in one message.
fn require() -> Result<Engine, Unavailable> {
    const WHAT: &str = "the test on a cluster";
    let engine = Engine::find(WHAT, Engine::RUNNERS);
    let mut missing = engine.as_ref().err().map_or_else(Vec::new, |error| error.missing.clone());
    let needed = ["kind", "kubectl"].into_iter().filter(|name| places::command(name).is_none());
    missing.extend(needed.map(|name| format!("{name} is not installed")));
    Unavailable::unless_empty(WHAT, missing)?;
    engine
}
