//! Debian's kernels, out of their packages.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use crate::{apt, places, step::Steps};

/// A series of kernels that Debian 12 has for virtual machines.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Version {
    /// Debian 12's own, and the oldest that Culvert runs on
    #[value(name = "6.1")]
    V6_1,
    /// Debian 13's
    #[value(name = "6.12")]
    V6_12,
}

impl Version {
    /// What the names of its packages begin with.
    const fn prefix(self) -> &'static str {
        match self {
            Self::V6_1 => "linux-image-6.1.",
            Self::V6_12 => "linux-image-6.12.",
        }
    }
}

/// A package that was unpacked.
pub(crate) struct Kernel {
    package: String,
    directory: PathBuf,
}

/// Unpacks the newest kernel of a series, which is downloaded if it is not there yet.
pub(crate) fn fetch(steps: &Steps, version: Version) -> anyhow::Result<Kernel> {
    let package = newest(steps, version)?;
    let kernels = places::target().join("kernels");
    let kernel = Kernel { directory: kernels.join(&package), package };
    if !kernel.directory.exists() {
        fs::create_dir_all(&kernels)?;
        let mut download = Command::new("apt-get");
        steps.run(
            &format!("downloading {}", kernel.package),
            download.arg("download").arg(&kernel.package).current_dir(&kernels),
        )?;
        unpack(steps, &kernels, &kernel)?;
    }
    Ok(kernel)
}

impl Kernel {
    /// As Debian calls it, without what all of them have in common.
    pub(crate) fn name(&self) -> &str {
        self.package.trim_start_matches("linux-image-")
    }

    /// What to boot.
    pub(crate) fn image(&self) -> PathBuf {
        self.directory.join("boot").join(format!("vmlinuz-{}", self.name()))
    }

    /// A module, decompressed.
    pub(crate) fn module(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let modules = self.directory.join("lib/modules").join(self.name()).join("kernel");
        let file = find(&modules, name).with_context(|| format!("{} has no module {name}", self.package))?;
        if file.extension().is_some_and(|extension| extension == "ko") {
            return Ok(fs::read(file)?);
        }
        let xz = Command::new("xz").args(["--decompress", "--stdout"]).arg(&file).output()?;
        if !xz.status.success() {
            bail!("xz cannot decompress {}", file.display());
        }
        Ok(xz.stdout)
    }
}

fn newest(steps: &Steps, version: Version) -> anyhow::Result<String> {
    if let Some(package) = newest_known(version)? {
        return Ok(package);
    }
    apt::update(steps)?;
    newest_known(version)?
        .with_context(|| format!("Debian's package lists have no {}*-cloud-amd64", version.prefix()))
}

fn newest_known(version: Version) -> anyhow::Result<Option<String>> {
    let output = Command::new("apt-cache")
        .args(["pkgnames", version.prefix()])
        .output()
        .context("no apt-cache here")?;
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    let packages = names.lines().filter(|name| name.ends_with("-cloud-amd64"));
    Ok(packages.max_by_key(|name| numbers(name)).map(str::to_owned))
}

/// The numbers in a package's name, in order: what makes one newer than another.
fn numbers(name: &str) -> Vec<u32> {
    name.split(|letter: char| !letter.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// Into a directory that has its name only when it is complete.
fn unpack(steps: &Steps, kernels: &Path, kernel: &Kernel) -> anyhow::Result<()> {
    let archive = fs::read_dir(kernels)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(&format!("{}_", kernel.package)))
        })
        .context("apt-get has downloaded nothing")?;
    let draft = tempfile::tempdir_in(kernels)?;
    steps.run("unpacking", Command::new("dpkg").arg("-x").arg(&archive).arg(draft.path()))?;
    fs::rename(draft.keep(), &kernel.directory)?;
    Ok(fs::remove_file(archive)?)
}

fn find(directory: &Path, module: &str) -> Option<PathBuf> {
    let wanted = [format!("{module}.ko"), format!("{module}.ko.xz")];
    fs::read_dir(directory).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return find(&path, module);
        }
        wanted.iter().any(|name| path.ends_with(name)).then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_is_so_by_number() {
        let names = ["linux-image-6.1.0-9-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64"];
        assert_eq!(names.into_iter().max_by_key(|name| numbers(name)), Some(names[1]));
    }
}
