//! How to look around in what is left running.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use culvert_testbed::Place;

use super::{
    call::url,
    stage::{Agents, Client, Stage},
};
use crate::{
    places,
    step::{Steps, say},
    walkthrough::Namespace,
};

/// Tells where everything is and waits for Ctrl-C, with which it all goes.
pub(super) fn until_interrupted(steps: &Steps, stage: &Stage) -> anyhow::Result<()> {
    say("\nstill running, until Ctrl-C");
    for client in &stage.clients {
        show_client(stage, client)?;
    }
    show_servers(stage)?;
    show_cluster(stage, stage.agents()?);
    show_wire(stage)?;
    steps.wait_for_interrupt()
}

fn show_client(stage: &Stage, client: &Client) -> anyhow::Result<()> {
    let inside = entrance(stage, client.pod.name(), &client.pod)?.display().to_string();
    say(&format!("\nto be in the pod {}, or to ask from there:", client.pod.name()));
    say(&format!("  {inside} bash"));
    for namespace in Namespace::SERVERS {
        let (url, host) = (url(stage.service(namespace)?), namespace.as_str());
        say(&format!("  {inside} curl -sS --noproxy '*' {url}   # httpbin.{host}"));
    }
    Ok(())
}

fn show_servers(stage: &Stage) -> anyhow::Result<()> {
    say("\nto be in a server's pod:");
    for server in &stage.servers {
        let inside = entrance(stage, server.pod.name(), &server.pod)?;
        let enrolled = if server.enrolled { "enrolled" } else { "not enrolled" };
        say(&format!("  {} bash   # {enrolled}", inside.display()));
    }
    Ok(())
}

fn show_cluster(stage: &Stage, agents: &Agents) {
    say("\nthe cluster, and the policy in force; the agents follow what you change:");
    for name in ["cluster.yaml", "policy.yaml"] {
        say(&format!("  {}", stage.machine.manifests().join(name).display()));
    }
    say("\nwhat the agents of the clients' node and of the servers' node say:");
    for agent in agents.both() {
        say(&format!("  tail -f {}", agent.log_file().display()));
    }
}

fn show_wire(stage: &Stage) -> anyhow::Result<()> {
    let [node, _] = stage.nodes();
    let inside = entrance(stage, "node", node)?;
    say("\nwhat goes through the clients' node:");
    say(&format!("  {} tcpdump -A -n -i any tcp", inside.display()));
    Ok(())
}

/// A script that runs a command in a namespace and its cgroup, where the kernel's programs see it.
fn entrance(stage: &Stage, name: &str, place: &Place) -> anyhow::Result<PathBuf> {
    let script = stage.machine.directory().join(format!("in-{}", name.replace('/', "-")));
    let netns = Path::new("/run/netns").join(place.netns());
    let (pod, cgroup) = (places::binary("culvert-pod"), place.cgroup());
    let text = format!(
        "#!/bin/sh\nexec '{}' enter '{}' '{}' \"$@\"\n",
        pod.display(),
        netns.display(),
        cgroup.display()
    );
    fs::write(&script, text)?;
    fs::set_permissions(&script, PermissionsExt::from_mode(0o755))?;
    Ok(script)
}
