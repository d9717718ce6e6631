//! What Culvert leaves on a node: nothing.

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
};

use anyhow::{Context, bail};
use serde_json::Value;

use super::cluster::Cluster;
use crate::{places, step::say};

/// What is still pinned, by node.
pub(super) fn pins(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    // The directory goes with the last pin, or stays empty.
    let nodes = cluster.on_nodes("[ ! -e /sys/fs/bpf/culvert ] || find /sys/fs/bpf/culvert -mindepth 1")?;
    let left = nodes.into_iter().filter(|(_, left)| !left.trim().is_empty());
    Ok(left.map(|(node, left)| format!("still pinned on {node}: {left}")).collect())
}

/// Culvert's programs in this machine's kernel, which is that of the nodes, too. None where nobody can tell.
pub(super) struct Programs(Option<BTreeSet<u64>>);

/// What the names of its programs begin with (`culvert_abi::names::programs`).
const PREFIX: &str = "culvert_";

impl Programs {
    /// Those that are loaded now.
    pub(super) fn now() -> Self {
        let listed = list();
        if let Err(error) = &listed {
            say(&format!("programs in the kernel cannot be listed, so only pins are looked at: {error:#}"));
        }
        Self(listed.ok())
    }

    /// Those that are loaded and were not before. A program goes a moment after its last link.
    pub(super) fn added_since(&self) -> anyhow::Result<Vec<String>> {
        let Some(before) = &self.0 else { return Ok(Vec::new()) };
        Ok(list()?.difference(before).map(|id| format!("program {id} is still loaded")).collect())
    }
}

fn list() -> anyhow::Result<BTreeSet<u64>> {
    let bpftool = places::command("bpftool").context("bpftool is not installed")?;
    let output = Command::new(bpftool)
        .args(["--json", "prog", "show"])
        .stdin(Stdio::null())
        .output()
        .context("bpftool cannot be started")?;
    if !output.status.success() {
        bail!("bpftool fails: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(ids(&serde_json::from_slice(&output.stdout).context("bpftool writes no JSON")?))
}

fn ids(programs: &Value) -> BTreeSet<u64> {
    let programs = programs.as_array().into_iter().flatten();
    let own =
        programs.filter(|program| program["name"].as_str().is_some_and(|name| name.starts_with(PREFIX)));
    own.filter_map(|program| program["id"].as_u64()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn programs_of_others_are_not_looked_at() {
        let programs = json!([
            { "id": 3, "type": "cgroup_device", "name": "sd_devices" },
            { "id": 4, "type": "cgroup_sock_addr", "name": "culvert_connect" },
            { "id": 5, "type": "cgroup_skb" },
        ]);
        assert_eq!(ids(&programs), BTreeSet::from([4]));
    }
}
