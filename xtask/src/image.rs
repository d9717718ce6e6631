//! `cargo xtask image`, and the programs that build images.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    places,
    step::{Steps, say},
    unavailable::Unavailable,
};

/// What to build.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The image's name
    #[arg(long, default_value = concat!("culvert:", env!("CARGO_PKG_VERSION")))]
    tag: String,
}

/// Builds the image that agents and CA run from.
pub(crate) fn run(steps: &Steps, options: &Options) -> anyhow::Result<()> {
    let engine = Engine::find("building an image", Engine::ALL)?;
    build(steps, engine, &options.tag)?;
    say(&format!("{} holds {}", engine.command(), options.tag));
    Ok(())
}

/// Builds it by one engine.
pub(crate) fn build(steps: &Steps, engine: Engine, tag: &str) -> anyhow::Result<()> {
    steps.run(&format!("image {tag}, by {}", engine.command()), &mut engine.build(tag))
}

/// What builds images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// With a daemon, which has to run.
    Docker,
    /// Without one.
    Podman,
    /// Podman's part that builds.
    Buildah,
}

impl Engine {
    /// All that can build.
    pub(crate) const ALL: &[Self] = &[Self::Docker, Self::Podman, Self::Buildah];
    /// Those that run containers, too.
    pub(crate) const RUNNERS: &[Self] = &[Self::Docker, Self::Podman];

    /// The first one that works.
    pub(crate) fn find(what: &'static str, among: &[Self]) -> Result<Self, Unavailable> {
        let mut complaints = Vec::new();
        for &engine in among {
            match engine.complaint() {
                None => return Ok(engine),
                Some(complaint) => complaints.push(complaint),
            }
        }
        Err(Unavailable {
            what,
            missing: vec![format!("nothing runs containers ({})", complaints.join(", "))],
        })
    }

    /// The name of its command.
    pub(crate) const fn command(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Buildah => "buildah",
        }
    }

    /// Why it cannot be used; none if it can.
    fn complaint(self) -> Option<String> {
        let name = self.command();
        if places::command(name).is_none() {
            return Some(format!("{name} is not installed"));
        }
        let mut asked = Command::new(name);
        let status =
            asked.arg("info").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let works = status.is_ok_and(|status| status.success());
        (!works).then(|| format!("{name} is installed, but `{name} info` fails"))
    }

    fn build(self, tag: &str) -> Command {
        let mut command = Command::new(self.command());
        command.args(["build", "--file", "deploy/Dockerfile", "--tag", tag, "."]);
        command.current_dir(places::root());
        command
    }

    /// Gives an image another name, too.
    pub(crate) fn rename(self, from: &str, to: &str) -> Command {
        let mut command = Command::new(self.command());
        command.args(["tag", from, to]);
        command
    }

    /// Writes an image to a file.
    pub(crate) fn save(self, tag: &str, file: &Path) -> Command {
        let mut command = Command::new(self.command());
        command.args(["save", "--output"]).arg(file).arg(tag);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_built_from_the_repository_whichever_engine_there_is() {
        for &engine in Engine::ALL {
            let command = engine.build("culvert:test");
            assert_eq!(command.get_current_dir(), Some(places::root()));
            assert!(places::root().join("deploy/Dockerfile").is_file());
            assert!(command.get_args().any(|argument| argument == "culvert:test"));
        }
    }
}
