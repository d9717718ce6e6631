//! Why nothing can be told of a destination.

use std::net::IpAddr;

use super::PodRef;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswerable {
    /// There is no such pod.
    #[error("there is no pod {0}: expected NAMESPACE/NAME of a pod that the cluster has")]
    UnknownPod(PodRef),
    /// Nobody has the name.
    #[error(
        "nobody is called {host:?} by a client in namespace {namespace}: expected a Service, a pod of a headless \
         Service, a host of a ServiceEntry that is exported to the namespace, or an address"
    )]
    UnknownHost {
        /// The name.
        host: String,
        /// The client's namespace.
        namespace: String,
    },
    /// The port is missing, or there is no such one.
    #[error("{host} {}: expected one of its ports, {}", asked(*.port), list(.ports))]
    NoPort {
        /// The destination.
        host: String,
        /// What was asked for.
        port: Option<u16>,
        /// What there is.
        ports: Vec<u16>,
    },
    /// Only an address is known, and any port may be meant.
    #[error("{address} was asked for without a port: expected ADDRESS:PORT")]
    PortNeeded {
        /// The address.
        address: IpAddr,
    },
    /// The Service is another name for something else.
    #[error("{host} has no address of its own: ask for the name that it stands for")]
    Alias {
        /// The Service's name in full.
        host: String,
    },
}

impl Unanswerable {
    pub(super) fn no_port(host: String, port: Option<u16>, ports: impl IntoIterator<Item = u16>) -> Self {
        Self::NoPort { host, port, ports: ports.into_iter().collect() }
    }
}

fn asked(port: Option<u16>) -> String {
    port.map_or_else(|| "was asked for without a port".to_owned(), |port| format!("has no port {port}"))
}

fn list(ports: &[u16]) -> String {
    let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
    if ports.is_empty() { "of which it has none".to_owned() } else { ports.join(", ") }
}
