//! How to look around in what is left running.

use std::path::Path;

use culvert_testbed::Place;

use super::{
    call::url,
    stage::{Agents, Client, Namespace, Stage},
};
use crate::{
    places,
    step::{Steps, say},
};

/// Tells where everything is and waits for Ctrl-C, with which it all goes.
pub(super) fn until_interrupted(steps: &Steps, stage: &Stage) -> anyhow::Result<()> {
    say("\nstill running, until Ctrl-C");
    for client in &stage.clients {
        show_client(stage, client)?;
    }
    show_servers(stage);
    show_cluster(stage, stage.agents()?);
    steps.wait_for_interrupt()
}

fn show_client(stage: &Stage, client: &Client) -> anyhow::Result<()> {
    say(&format!("\n{}: enter it, and ask from inside", client.pod.name()));
    say(&format!("  {}", entrance(&client.pod, "bash")));
    for namespace in [Namespace::Full, Namespace::Partial, Namespace::Legacy] {
        let url = url(stage.service(namespace)?);
        say(&format!("  curl --include {url:<21} # httpbin.{}", namespace.as_str()));
    }
    Ok(())
}

fn show_servers(stage: &Stage) {
    say("\nthe servers' pods");
    for server in &stage.servers {
        let enrolled = if server.enrolled { "enrolled" } else { "not enrolled" };
        say(&format!("  {:<20} {:<13} {}", server.pod.name(), enrolled, entrance(&server.pod, "bash")));
    }
}

fn show_cluster(stage: &Stage, agents: &Agents) {
    let [clients, servers] = stage.nodes();
    let manifests = stage.machine.manifests();
    say("\nthe cluster: change it, and the agents follow");
    say(&format!("  ls {}", manifests.display()));
    say(&format!("  edit {}", manifests.join("policy.yaml").display()));
    say("\nwhat the agents log");
    for agent in agents.both() {
        say(&format!("  tail -f {}", agent.log_file().display()));
    }
    say("\nthe wire between the nodes");
    say(&format!("  {}", entrance(clients, "tcpdump -A -i any 'host not 127.0.0.1'")));
    say(&format!("  {}", entrance(servers, "bash")));
}

/// A command that runs something in a namespace and its cgroup, where the kernel's programs see it.
fn entrance(place: &Place, command: &str) -> String {
    let netns = Path::new("/run/netns").join(place.netns());
    let pod = places::binary("culvert-pod");
    format!("{} enter {} {} {command}", pod.display(), netns.display(), place.cgroup().display())
}
