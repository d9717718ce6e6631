//! Installing and uninstalling, as deploy/README.md tells people to.

use culvert_testbed::chart;

use super::cluster::{Cluster, NAMESPACE};
use crate::step::Steps;

/// A way to install.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Method {
    /// The chart
    Helm,
    /// The plain manifest
    Manifest,
}

const TIMEOUT: &str = "10m";

impl Method {
    pub(super) const ALL: [Self; 2] = [Self::Helm, Self::Manifest];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Helm => "Helm",
            Self::Manifest => "the plain manifest",
        }
    }

    /// Installs, and waits until each agent is ready.
    pub(super) fn install(self, steps: &Steps, cluster: &Cluster) -> anyhow::Result<()> {
        match self {
            Self::Helm => {
                let mut helm = cluster.helm()?;
                helm.args(["install", "culvert"]).arg(chart::directory());
                helm.args(["--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", TIMEOUT]);
                steps.run("Culvert, by Helm", &mut helm)?;
            }
            Self::Manifest => {
                cluster.apply_file(
                    steps,
                    "Culvert, by its manifest",
                    &chart::deploy().join("culvert.yaml"),
                )?;
            }
        }
        let mut status = cluster.kubectl();
        status.args(["rollout", "status", "daemonset/culvert-agent"]);
        status.args(["--namespace", NAMESPACE, "--timeout", TIMEOUT]);
        steps.run("an agent is ready on each node", &mut status)
    }

    /// Detaches all nodes, and removes everything.
    pub(super) fn uninstall(self, steps: &Steps, cluster: &Cluster) -> anyhow::Result<()> {
        match self {
            Self::Helm => {
                let mut helm = cluster.helm()?;
                helm.args(["uninstall", "culvert", "--namespace", NAMESPACE, "--wait", "--timeout", TIMEOUT]);
                steps.run("helm uninstall", &mut helm)?;
                let mut namespace = cluster.kubectl();
                steps.run("its namespace", namespace.args(["delete", "namespace", NAMESPACE]))
            }
            Self::Manifest => {
                let directory = chart::deploy();
                cluster.apply_file(steps, "detaching", &directory.join("uninstall.yaml"))?;
                let mut wait = cluster.kubectl();
                wait.args(["wait", "job/culvert-uninstall", "--for=condition=Complete"]);
                wait.args(["--namespace", NAMESPACE, "--timeout", TIMEOUT]);
                steps.run("each node is detached", &mut wait)?;
                let mut delete = cluster.kubectl();
                delete.args(["delete", "--filename"]).arg(directory.join("culvert.yaml"));
                steps.run("kubectl delete", &mut delete)
            }
        }
    }
}
