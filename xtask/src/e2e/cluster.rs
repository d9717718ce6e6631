//! The cluster, deleted when it goes.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
};

use anyhow::{Context, bail};
use culvert_testbed::chart;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    image::Engine,
    places,
    step::{Steps, say, shown},
};

/// A cluster of this run's own; the configuration of whoever runs it is not touched.
pub(super) struct Cluster {
    name: String,
    engine: Engine,
    keep: bool,
    files: TempDir,
}

/// Where Culvert is installed.
pub(super) const NAMESPACE: &str = chart::NAMESPACE;

impl Cluster {
    /// Makes one, named after this process.
    pub(super) fn create(steps: &Steps, engine: Engine, keep: bool) -> anyhow::Result<Self> {
        let files = tempfile::tempdir().context("no directory for the cluster's files")?;
        let cluster = Self { name: format!("culvert-e2e-{}", process::id()), engine, keep, files };
        let mut create = cluster.kind("create");
        create.args(["cluster", "--wait", "180s", "--config"]).arg(places::root().join("deploy/kind.yaml"));
        create.arg("--kubeconfig").arg(cluster.kubeconfig());
        steps.run("a cluster of three nodes", &mut create)?;
        Ok(cluster)
    }

    /// Gives an image to all nodes.
    pub(super) fn load(&self, steps: &Steps, image: &str) -> anyhow::Result<()> {
        let archive = self.files.path().join("image.tar");
        steps.run("image, as a file", &mut self.engine.save(image, &archive))?;
        let mut load = self.kind("load");
        steps.run("image, on the nodes", load.arg("image-archive").arg(&archive))
    }

    /// kubectl for this cluster.
    pub(super) fn kubectl(&self) -> Command {
        let mut kubectl = Command::new("kubectl");
        kubectl.arg("--kubeconfig").arg(self.kubeconfig());
        kubectl
    }

    /// Helm for this cluster.
    pub(super) fn helm(&self) -> anyhow::Result<Command> {
        let mut helm = chart::helm()?;
        helm.arg("--kubeconfig").arg(self.kubeconfig());
        Ok(helm)
    }

    /// Applies objects.
    pub(super) fn apply(&self, steps: &Steps, what: &str, yaml: &str) -> anyhow::Result<()> {
        let file = self.files.path().join("objects.yaml");
        fs::write(&file, yaml).context("no file for kubectl")?;
        self.apply_file(steps, what, &file)
    }

    /// Applies a file.
    pub(super) fn apply_file(&self, steps: &Steps, what: &str, file: &Path) -> anyhow::Result<()> {
        steps.run(what, self.kubectl().args(["apply", "--filename"]).arg(file))
    }

    /// Waits for all pods of a namespace.
    pub(super) fn wait_ready(&self, steps: &Steps, namespace: &str) -> anyhow::Result<()> {
        let mut wait = self.kubectl();
        wait.args([
            "wait",
            "pod",
            "--all",
            "--for=condition=Ready",
            "--timeout=300s",
            "--namespace",
            namespace,
        ]);
        steps.run(&format!("pods of {namespace}"), &mut wait)
    }

    /// Takes away what the steps applied.
    pub(super) fn delete_policy(&self, steps: &Steps) -> anyhow::Result<()> {
        let mut delete = self.kubectl();
        delete.args(["delete", "--namespace=full", "--all", "peerauthentications,destinationrules"]);
        steps.run("no policy", &mut delete)
    }

    /// Objects as JSON; the arguments come after `kubectl get`.
    pub(super) fn get(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let text = text(self.kubectl().arg("get").args(arguments).args(["--output", "json"]))?;
        serde_json::from_str(&text).context("kubectl writes no JSON")
    }

    /// All lines that the agents logged, those that are JSON.
    pub(super) fn agents_log(&self) -> anyhow::Result<Vec<Value>> {
        let mut logs = self.kubectl();
        logs.args(["logs", "--namespace", NAMESPACE, "--selector", "app.kubernetes.io/component=agent"]);
        let text = text(logs.args(["--container", "agent", "--tail", "-1"]))?;
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// What a shell prints on each node.
    pub(super) fn on_nodes(&self, script: &str) -> anyhow::Result<Vec<(String, String)>> {
        let nodes = text(self.kind("get").arg("nodes"))?;
        let on = |node: &str| {
            let mut command = Command::new(self.engine.command());
            Ok((node.to_owned(), text(command.args(["exec", node, "sh", "-c", script]))?))
        };
        nodes.lines().map(on).collect()
    }

    /// Shows what people look at first when something went wrong.
    pub(super) fn explain(&self) {
        for arguments in [
            &["get", "pods", "--all-namespaces", "--output", "wide"][..],
            &["describe", "pods", "--namespace", NAMESPACE],
            &[
                "logs",
                "--namespace",
                NAMESPACE,
                "--selector",
                "app.kubernetes.io/name=culvert",
                "--tail",
                "100",
            ],
        ] {
            let mut kubectl = self.kubectl();
            kubectl.args(arguments);
            say(&format!("$ {}", shown(&kubectl)));
            say(&text(&mut kubectl).unwrap_or_else(|error| error.to_string()));
        }
    }

    fn kubeconfig(&self) -> PathBuf {
        self.files.path().join("kubeconfig")
    }

    fn kind(&self, verb: &str) -> Command {
        let mut kind = Command::new("kind");
        kind.arg(verb);
        if self.engine == Engine::Podman {
            kind.env("KIND_EXPERIMENTAL_PROVIDER", "podman");
        }
        kind.env("KIND_CLUSTER_NAME", &self.name);
        kind
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut delete = self.kind("delete");
        delete.args(["cluster", "--name", &self.name]);
        if self.keep {
            self.files.disable_cleanup(true);
            say(&format!("KUBECONFIG={} kubectl get pods -A", self.kubeconfig().display()));
            say(&format!("`{}` deletes the cluster", shown(&delete)));
            return;
        }
        say(&format!("deleting the cluster {}", self.name));
        // Out of this group, so that an impatient Ctrl-C does not leave half of it.
        let outcome = text(delete.process_group(0));
        if let Err(error) = outcome {
            say(&format!("{error:#}"));
        }
    }
}

/// What a command prints; an error with what it complains of if it fails.
pub(super) fn text(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} cannot be started", shown(command)))?;
    if !output.status.success() {
        bail!(
            "{} ({}): {}",
            shown(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
