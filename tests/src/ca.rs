//! `culvert ca`, on a node.

use std::{
    net::SocketAddr,
    ops::{Deref, DerefMut},
    path::PathBuf,
    sync::Arc,
};

use crate::{Daemon, Family, Node, process::culvert, run::Run};

/// The flags of an authority.
#[derive(Clone, Debug)]
pub struct CaOptions {
    kubeconfig: PathBuf,
    flags: Vec<(String, String)>,
}

impl CaOptions {
    /// One that asks the API server of a kubeconfig.
    pub fn new(kubeconfig: PathBuf) -> Self {
        Self { kubeconfig, flags: Vec::new() }
    }

    /// Sets a flag, such as `max-lifetime` to `1h`.
    #[must_use]
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.flags.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A running authority; dropped, it is killed. Its log is printed if the test panics.
pub struct Ca {
    daemon: Daemon,
}

impl Ca {
    /// Where the authority of a node listens, whether it runs or not.
    pub fn address(node: &Node) -> SocketAddr {
        SocketAddr::new(node.ip(Family::V4), PORT)
    }

    pub(crate) fn start(run: &Arc<Run>, node: &Node, options: &CaOptions) -> anyhow::Result<Self> {
        let address = Self::address(node);
        let mut command = node.command(culvert());
        command.args(["ca", "--log-format=json"]);
        command.arg(format!("--listen={address}")).arg(format!("--dns-name={}", address.ip()));
        command.arg("--kubeconfig").arg(&options.kubeconfig);
        command.args(options.flags.iter().map(|(name, value)| format!("--{name}={value}")));
        Ok(Self { daemon: Daemon::start(run, "ca", node.name(), command)? })
    }

    /// Waits until it has roots, has published them, and listens.
    pub fn wait_ready(&self) -> anyhow::Result<()> {
        self.wait_for(|line| line["message"] == "certificate authority serves").map(drop)
    }
}

const PORT: u16 = 15012;

impl Deref for Ca {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

impl DerefMut for Ca {
    fn deref_mut(&mut self) -> &mut Daemon {
        &mut self.daemon
    }
}
