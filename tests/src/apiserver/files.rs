//! The files by which clients find the server.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde_json::json;

use super::ApiServer;

impl ApiServer {
    /// Writes `kubeconfig`, `ca.crt` and `token` into a directory of their own, for a client of the server at
    /// `address`; returns the path of the first. The token may be replaced in its file.
    pub fn kubeconfig(&self, directory: &Path, address: SocketAddr, token: &str) -> anyhow::Result<PathBuf> {
        write(directory, "ca.crt", &self.authority.pem())?;
        write(directory, "token", token)?;
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": "test",
                "cluster": {
                    "server": format!("https://{address}"),
                    "certificate-authority": directory.join("ca.crt"),
                },
            }],
            "users": [{ "name": "test", "user": { "tokenFile": directory.join("token") } }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
            "current-context": "test",
        });
        write(directory, "kubeconfig", &config.to_string())
    }

    /// Writes what a container finds in `/var/run/secrets/kubernetes.io/serviceaccount`.
    pub fn in_cluster_files(&self, directory: &Path, namespace: &str, token: &str) -> anyhow::Result<()> {
        write(directory, "ca.crt", &self.authority.pem())?;
        write(directory, "token", token)?;
        write(directory, "namespace", namespace).map(drop)
    }

    /// The certificate of the server's authority, in PEM.
    pub fn ca_pem(&self) -> String {
        self.authority.pem()
    }
}

fn write(directory: &Path, name: &str, content: &str) -> anyhow::Result<PathBuf> {
    let path = directory.join(name);
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(&path, content))
        .with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(path)
}
