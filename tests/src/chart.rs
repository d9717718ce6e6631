//! The Helm chart, as Helm renders it.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, bail};
use serde_json::Value;

/// The namespace that [`Chart`] renders for.
pub const NAMESPACE: &str = "culvert-system";

/// What to render.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    arguments: Vec<String>,
}

impl Chart {
    /// The chart with its own values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a value, as `helm --set` takes it: `("agent.failure", "open")`.
    #[must_use]
    pub fn set(self, name: &str, value: &str) -> Self {
        self.with(&["--set", &format!("{name}={value}")])
    }

    /// Leaves out what only runs when Culvert is uninstalled.
    #[must_use]
    pub fn without_hooks(self) -> Self {
        self.with(&["--no-hooks"])
    }

    /// Renders one template alone, by its file below the chart.
    #[must_use]
    pub fn only(self, template: &str) -> Self {
        self.with(&["--show-only", template])
    }

    /// The text, in the order in which objects have to be applied.
    pub fn render(&self) -> anyhow::Result<String> {
        let mut helm = helm()?;
        helm.args(["template", "culvert", "--namespace", NAMESPACE]).args(&self.arguments).arg(directory());
        text(helm)
    }

    /// The objects.
    pub fn objects(&self) -> anyhow::Result<Vec<Value>> {
        objects(&self.render()?)
    }

    fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }
}

/// What an installation with these values consists of, such as `[("agent.failure", "open")]`.
pub fn rendered_objects(values: &[(&str, &str)]) -> anyhow::Result<Vec<Value>> {
    let chart = values.iter().fold(Chart::new(), |chart, (name, value)| chart.set(name, value));
    chart.without_hooks().objects()
}

/// The manifests beside the chart that are rendered from it: each file's name, and what it has to hold.
pub fn manifests() -> anyhow::Result<[(&'static str, String); 2]> {
    let installation = Chart::new().set("namespace.create", "true").without_hooks();
    let uninstallation = Chart::new().only("templates/uninstall.yaml");
    Ok([("culvert.yaml", with_header(&installation)?), ("uninstall.yaml", with_header(&uninstallation)?)])
}

fn with_header(chart: &Chart) -> anyhow::Result<String> {
    Ok(format!("# Rendered from helm/culvert by `cargo xtask manifest`.\n{}", chart.render()?))
}

/// The objects of a file of YAML documents.
pub fn objects(yaml: &str) -> anyhow::Result<Vec<Value>> {
    serde_saphyr::from_multiple(yaml).context("it is not YAML")
}

/// What Helm has against the chart; nothing in a chart that is in order.
pub fn lint() -> anyhow::Result<String> {
    let mut helm = helm()?;
    helm.args(["lint", "--strict", "--quiet"]).arg(directory());
    text(helm)
}

/// The chart's directory.
pub fn directory() -> PathBuf {
    deploy().join("helm/culvert")
}

/// The directory of everything that installs Culvert.
pub fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy")
}

/// The one Helm that is installed for this repository, because others may render otherwise.
pub fn helm() -> anyhow::Result<Command> {
    let given = env::var_os("CULVERT_HELM").map(PathBuf::from);
    let helm = given.or_else(beside).context("Helm is missing: `cargo xtask setup` installs it")?;
    Ok(Command::new(helm))
}

/// Below the directory that this executable was built in.
fn beside() -> Option<PathBuf> {
    let executable = env::current_exe().ok()?;
    let mut files = executable.ancestors().map(|directory| directory.join(HELM));
    files.find(|file| file.is_file())
}

/// Where Helm lies below the target directory.
pub const HELM: &str = "tools/helm/bin/helm";

fn text(mut command: Command) -> anyhow::Result<String> {
    let Output { status, stdout, stderr } = command.output().context("Helm cannot be started")?;
    if !status.success() {
        bail!(
            "Helm refuses the chart: {}{}",
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        );
    }
    String::from_utf8(stdout).context("Helm does not write UTF-8")
}
