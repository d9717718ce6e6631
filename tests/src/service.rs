//! Services: a name and addresses in front of pods.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::Family;

/// What a Service is to be.
#[derive(Clone, Debug)]
pub struct ServiceSpec {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) selector: BTreeMap<String, String>,
    pub(crate) ports: Vec<ServicePort>,
    pub(crate) headless: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct ServicePort {
    pub(crate) port: u16,
    pub(crate) target: u16,
}

impl ServiceSpec {
    /// A Service for the pods of its namespace that carry a label.
    pub fn new(namespace: &str, name: &str, label: (&str, &str)) -> Self {
        let selector = BTreeMap::from([(label.0.to_owned(), label.1.to_owned())]);
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            selector,
            ports: Vec::new(),
            headless: false,
        }
    }

    /// Has a port, which leads to a container port.
    #[must_use]
    pub fn port(mut self, port: u16, target: u16) -> Self {
        self.ports.push(ServicePort { port, target });
        self
    }

    /// Has no address of its own.
    #[must_use]
    pub const fn headless(mut self) -> Self {
        self.headless = true;
        self
    }
}

/// A Service that was made.
#[derive(Clone, Debug)]
pub struct Service {
    pub(crate) spec: ServiceSpec,
    /// From one; the last part of its addresses.
    pub(crate) number: u8,
}

impl Service {
    /// Its cluster address, whether it uses it or is headless.
    pub fn ip(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => Ipv4Addr::new(10, 96, 0, self.number).into(),
            Family::V6 => Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, self.number.into()).into(),
        }
    }

    /// Its cluster address, with a port.
    pub fn address(&self, family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(family), port)
    }
}
