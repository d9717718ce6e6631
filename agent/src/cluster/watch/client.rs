//! The way to the API server.

use std::path::{Path, PathBuf};

use http::{HeaderValue, header};
use kube::{
    Client, Config,
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

/// To be put before the directives of a log filter: the client logs each failed request as an error, however often
/// it is tried. What its callers make of a failure, they log themselves.
pub const LOG_DIRECTIVE: &str = "kube_client=off";

/// There is no way to the API server.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file is of no use.
    #[error("cannot use the kubeconfig {path}: {source}", path = .path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<KubeconfigError>,
    },
    /// No file was given, and this is no pod.
    #[error("this is no pod with a service account: {0}; outside of a cluster give a kubeconfig")]
    InCluster(#[source] Box<InClusterError>),
    /// The settings cannot be put to use.
    #[error("cannot make a client for the API server: {0}")]
    Client(#[source] Box<kube::Error>),
}

/// A client for the cluster that this kubeconfig names, or else for the one that this pod runs in. Files with tokens
/// are read again as they are renewed. Failed requests are not tried again behind the caller's back.
pub async fn client(kubeconfig: Option<&Path>) -> Result<Client, ClientError> {
    let mut config = match kubeconfig {
        Some(path) => from_file(path).await?,
        None => Config::incluster().map_err(|error| ClientError::InCluster(Box::new(error)))?,
    };
    config.default_retry = false;
    config.headers.push((header::USER_AGENT, HeaderValue::from_static(USER_AGENT)));
    Client::try_from(config).map_err(|error| ClientError::Client(Box::new(error)))
}

const USER_AGENT: &str = concat!("culvert/", env!("CARGO_PKG_VERSION"));

async fn from_file(path: &Path) -> Result<Config, ClientError> {
    let unusable = |error| ClientError::Kubeconfig { path: path.to_owned(), source: Box::new(error) };
    let kubeconfig = Kubeconfig::read_from(path).map_err(unusable)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(unusable)
}
