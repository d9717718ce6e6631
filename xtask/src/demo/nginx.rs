//! nginx from Debian, as a pod's application.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use culvert_testbed::{DEADLINE, Family, Node, Pod};

use crate::places;

/// The port that it listens on.
pub(super) const PORT: u16 = 8080;

/// The request header whose value comes back in the answer. nginx has it in `$http_x_marker`.
pub(super) const MARKER_HEADER: &str = "X-Marker";

/// A running nginx; dropped, it is killed.
pub(super) struct Nginx(Child);

impl Nginx {
    /// Starts it in a pod, with all its files below `directory`.
    pub(super) fn start(pod: &Pod, directory: &Path) -> anyhow::Result<Self> {
        fs::create_dir(directory)?;
        fs::write(directory.join("nginx.conf"), configuration(pod.name()))?;
        let program = places::command("nginx").context("nginx is not installed")?;
        let mut command = pod.command(program);
        command.arg("-p").arg(directory).args(["-c", "nginx.conf", "-e", "error.log"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn().context("nginx cannot be started")?))
    }

    /// Waits until it accepts connections, as a kubelet's probe would.
    pub(super) fn wait_ready(&mut self, node: &Node, pod: &Pod) -> anyhow::Result<()> {
        let deadline = Instant::now() + DEADLINE;
        while !accepts(node, pod.address(Family::V4, PORT)) {
            if let Some(status) = self.0.try_wait()? {
                bail!("nginx in {} ended ({status})", pod.name());
            }
            if Instant::now() > deadline {
                bail!("nginx in {} does not listen", pod.name());
            }
            thread::sleep(PROBE_INTERVAL);
        }
        Ok(())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have been killed with its pod.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const PROBE_INTERVAL: Duration = Duration::from_millis(10);

fn accepts(node: &Node, address: SocketAddr) -> bool {
    node.connect(address).is_ok()
}

/// Paths are relative to the prefix that nginx is started with.
fn configuration(pod: &str) -> String {
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {name};"))
        .join(" ");
    format!(
        "daemon off;\n\
         master_process off;\n\
         user root;\n\
         pid nginx.pid;\n\
         error_log error.log;\n\
         events {{}}\n\
         http {{\n\
         access_log off;\n\
         {temporary}\n\
         server {{\n\
         listen {PORT};\n\
         listen [::]:{PORT};\n\
         default_type text/plain;\n\
         location / {{ return 200 \"{pod} got $http_x_marker\\n\"; }}\n\
         }}\n\
         }}\n"
    )
}
