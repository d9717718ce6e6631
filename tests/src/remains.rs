//! Undoing a run by its name alone, so that it makes no difference who does it: the run itself, its process when it
//! is asked to end, or the next run after one that was killed.

use std::{
    collections::BTreeSet,
    env, fs, io,
    path::{Path, PathBuf},
};

use crate::{cgroup, netns};

/// Where the agent pins what a restart must find again.
const PINS: &str = "/sys/fs/bpf/culvert";

/// Where an agent is asked, unless its flags say otherwise; one that was killed leaves its socket.
const SOCKETS: &str = "/run/culvert";

/// Ends the processes of a run and removes what was made for it. Goes on after a failure and returns the first one.
pub(crate) fn remove(run: &str) -> io::Result<()> {
    let mut outcomes =
        vec![cgroup::root().map_err(io::Error::other).and_then(|root| cgroup::remove(&root.join(run)))];
    let own = format!("{run}-");
    outcomes.extend(
        entries(Path::new(PINS)).filter(|name| name.starts_with(&own)).map(|name| remove_pins(&name)),
    );
    outcomes.extend(
        entries(Path::new(netns::DIRECTORY))
            .filter(|name| name.starts_with(&own))
            .map(|name| netns::remove(&name)),
    );
    outcomes.extend(
        entries(Path::new(SOCKETS))
            .filter(|name| name.starts_with(&own))
            .map(|name| gone(fs::remove_file(Path::new(SOCKETS).join(name)))),
    );
    outcomes.push(gone(fs::remove_dir_all(directory(run))));
    outcomes.into_iter().collect()
}

/// Removes what runs left behind whose process is no more.
pub(crate) fn sweep() -> io::Result<()> {
    let cgroups = cgroup::root().map_err(io::Error::other)?;
    let temporary = env::temp_dir();
    let places =
        [cgroups.as_path(), Path::new(PINS), Path::new(SOCKETS), Path::new(netns::DIRECTORY), &temporary];
    let names = places.into_iter().flat_map(entries);
    let dead: BTreeSet<_> =
        names.filter_map(|name| Some(run_of(&name)?.to_owned())).filter(|run| is_dead(run)).collect();
    dead.iter().try_for_each(|run| remove(run))
}

/// Removes what an agent has pinned for a node.
pub(crate) fn remove_pins(node: &str) -> io::Result<()> {
    gone(fs::remove_dir_all(Path::new(PINS).join(node)))
}

/// Whether an agent has pinned something for a node.
pub(crate) fn has_pins(node: &str) -> bool {
    Path::new(PINS).join(node).exists()
}

/// Where a run keeps its files.
pub(crate) fn directory(run: &str) -> PathBuf {
    env::temp_dir().join(run)
}

/// The name of the `count`th run of this process.
pub(crate) fn name(process: u32, count: u32) -> String {
    format!("{PREFIX}{process}n{count}")
}

const PREFIX: &str = "culvert";

/// The run that something belongs to, by its name: everything is named after the run, a dash, and more.
fn run_of(name: &str) -> Option<&str> {
    let run = name.split('-').next()?;
    process_of(run).map(|_| run)
}

fn process_of(run: &str) -> Option<u32> {
    let (process, count) = run.strip_prefix(PREFIX)?.split_once('n')?;
    count.parse::<u32>().ok()?;
    process.parse().ok()
}

fn is_dead(run: &str) -> bool {
    process_of(run).is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists())
}

fn entries(directory: &Path) -> impl Iterator<Item = String> + use<> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_known_by_what_is_named_after_it() {
        let run = name(417, 3);
        assert_eq!(run_of(&run), Some(run.as_str()));
        assert_eq!(run_of(&format!("{run}-a-1")), Some(run.as_str()));
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        for name in ["culvert", "culvert-a", "cni-417n3", "culvert417", "culvertxn1", "culvert1n"] {
            assert_eq!(run_of(name), None, "{name}");
        }
    }

    #[test]
    fn the_run_of_a_living_process_is_not_dead() {
        assert!(!is_dead(&name(std::process::id(), 0)));
    }
}
