//! Envoy in a pod: a peer of the mesh that is not ours.

mod config;

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
    ops::Deref,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::{Value, json};

pub use config::{Config, Peer, Tls};

use crate::{DEADLINE, Daemon, Pod, pod::random_uuid};

/// An Envoy that runs; dropped, it is killed. Its log is printed if the test panics.
pub struct Envoy<'p> {
    daemon: Daemon,
    pod: &'p Pod,
}

impl<'p> Envoy<'p> {
    /// Where Envoy is, if it was installed: `cargo xtask setup` does that.
    pub fn binary() -> Option<PathBuf> {
        let given = env::var_os("CULVERT_ENVOY").map(PathBuf::from).filter(|file| file.is_file());
        given.or_else(beside)
    }

    /// Starts one in a pod, with its static resources (Envoy's `bootstrap.proto`), and waits until it listens.
    pub fn start(pod: &'p Pod, static_resources: &Value) -> anyhow::Result<Self> {
        let binary = Self::binary().context("Envoy is missing: `cargo xtask setup` installs it")?;
        let name = pod.name().replace('/', ".");
        let file = pod.run().directory().join(format!("{name}.{}.json", random_uuid()?));
        let admin =
            json!({ "address": { "socket_address": { "address": ADMIN.ip(), "port_value": ADMIN.port() } } });
        fs::write(&file, json!({ "admin": admin, "static_resources": static_resources }).to_string())?;
        let mut command = pod.command(binary);
        command.arg("--config-path").arg(file);
        // One worker keeps one tunnel to each peer; without hot restart, several Envoys share a machine.
        command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]);
        let envoy = Self { daemon: Daemon::start(pod.run(), "Envoy", &name, command)?, pod };
        envoy.wait_until("listener_manager.workers_started", |started| started == 1)?;
        Ok(envoy)
    }

    /// Waits until a counter or gauge of its own is as wanted.
    pub fn wait_until(&self, statistic: &str, wanted: impl Fn(u64) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let found = self.statistic(statistic);
            match found {
                Ok(Some(value)) if wanted(value) => return Ok(()),
                _ if Instant::now() < deadline => thread::sleep(BETWEEN_LOOKS),
                _ => bail!("Envoy's {statistic} did not come to what is wanted: {found:?}"),
            }
        }
    }

    /// The value of a counter or gauge; none while there is no such thing.
    pub fn statistic(&self, name: &str) -> anyhow::Result<Option<u64>> {
        let answer = self.ask(&format!("/stats?usedonly&filter=^{}$", name.replace('.', "%5C.")))?;
        let value = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        Ok(value.map(str::parse).transpose()?)
    }

    fn ask(&self, path: &str) -> anyhow::Result<String> {
        let mut stream = self.pod.connect(ADMIN)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 15000);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

impl Deref for Envoy<'_> {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

/// Below the directory that this executable was built in.
fn beside() -> Option<PathBuf> {
    let executable = env::current_exe().ok()?;
    let mut files = executable.ancestors().map(|directory| directory.join(ENVOY));
    files.find(|file| file.is_file())
}

/// Where Envoy lies below the target directory: where its Python package has it.
pub const ENVOY: &str = "tools/envoy/envoy/_bin/envoy";
