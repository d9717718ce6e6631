//! Services and `ServiceEntry`s alike: what clients call by a name or an address of its own.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use culvert_policy::{HostPattern, HostRules, Labels, Meta};

use super::{
    Index,
    aliases::Called,
    model::{EntryPort, NamespacedName, Service, ServiceEntry, ServicePort},
};

/// The namespaces of the clients: all that a choice depends on.
pub(super) type Namespaces = BTreeSet<Arc<str>>;

/// A Service or a `ServiceEntry`, by name. Of several at one address a Service comes first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum HostRef {
    Service(NamespacedName),
    Entry(NamespacedName),
}

/// A Service or a `ServiceEntry`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Host<'a> {
    Service(&'a Service),
    Entry(&'a ServiceEntry),
}

/// A port of a host.
#[derive(Clone, Copy, Debug)]
pub(super) enum Door<'a> {
    Service(&'a Service, &'a ServicePort),
    Entry(&'a ServiceEntry, &'a EntryPort),
}

/// What clients of a namespace are told of a host.
#[derive(Debug)]
pub(super) struct View<'a> {
    /// For each of its names that has any, in the order of the names.
    rules: Vec<(HostName<'a>, HostRules<'a>)>,
    external: bool,
}

/// A name that rules are for.
#[derive(Clone, Copy, Debug)]
pub(super) enum HostName<'a> {
    Service(&'a Service),
    Entry(&'a ServiceEntry, &'a Arc<str>),
}

impl<'a> Host<'a> {
    pub(super) fn meta(self) -> &'a Meta {
        match self {
            Self::Service(service) => &service.meta,
            Self::Entry(entry) => &entry.meta,
        }
    }

    /// The addresses that are its own.
    pub(super) fn addresses(self) -> &'a [IpAddr] {
        match self {
            Self::Service(service) => &service.addresses,
            Self::Entry(entry) => &entry.addresses,
        }
    }

    pub(super) fn doors(self) -> Vec<Door<'a>> {
        match self {
            Self::Service(service) => service.ports.iter().map(|port| Door::Service(service, port)).collect(),
            Self::Entry(entry) => entry.ports.iter().map(|port| Door::Entry(entry, port)).collect(),
        }
    }

    pub(super) fn door(self, number: u16) -> Option<Door<'a>> {
        self.doors().into_iter().find(|door| door.number() == number)
    }

    const fn is_external(self) -> bool {
        match self {
            Self::Service(_) => false,
            Self::Entry(entry) => entry.external,
        }
    }

    fn is_known_in(self, client_namespace: &str) -> bool {
        match self {
            Self::Service(_) => true,
            Self::Entry(entry) => entry.export_to.includes(client_namespace),
        }
    }
}

impl<'a> Door<'a> {
    pub(super) const fn host(self) -> Host<'a> {
        match self {
            Self::Service(service, _) => Host::Service(service),
            Self::Entry(entry, _) => Host::Entry(entry),
        }
    }

    /// The port that clients call.
    pub(super) const fn number(self) -> u16 {
        match self {
            Self::Service(_, port) => port.number,
            Self::Entry(_, port) => port.port.number,
        }
    }
}

impl<'a> View<'a> {
    /// What it says of a port of the host, at an endpoint with these labels. Of several names the first with a rule
    /// that decides counts.
    pub(super) fn called(&self, door: Door<'a>, labels: &Labels) -> Called<'a> {
        let mut told = self.rules.iter();
        let told = told.find_map(|(name, rules)| Some((*name, rules.demand(door.number(), labels)?)));
        Called {
            demand: told.map(|(_, demand)| demand),
            name: told.map(|(name, _)| name),
            external: self.external.then(|| door.host().meta()),
        }
    }
}

impl Index {
    pub(super) fn host(&self, reference: &HostRef) -> Option<Host<'_>> {
        match reference {
            HostRef::Service(it) => {
                self.files.services.get(&it.namespace, &it.name).map(|it| Host::Service(it))
            }
            HostRef::Entry(it) => {
                self.files.service_entries.get(&it.namespace, &it.name).map(|it| Host::Entry(it))
            }
        }
    }

    pub(super) fn hosts(&self) -> impl Iterator<Item = HostRef> {
        let services = self.files.services.iter().map(|it| HostRef::Service((&it.meta).into()));
        services.chain(self.files.service_entries.iter().map(|it| HostRef::Entry((&it.meta).into())))
    }

    /// The hosts that a rule for `pattern` may be for.
    pub(super) fn hosts_called(&self, pattern: &HostPattern) -> Vec<HostRef> {
        let services: Vec<HostRef> = match pattern {
            HostPattern::Exact(name) => self.service_called(name).into_iter().collect(),
            HostPattern::Suffix(_) => {
                let named = self.files.services.iter().filter(|it| pattern.matches(&self.service_name(it)));
                named.map(|it| HostRef::Service((&it.meta).into())).collect()
            }
        };
        let entries = self.files.service_entries.iter();
        let entries = entries.filter(|entry| entry.hosts.iter().any(|host| pattern.matches(host)));
        services.into_iter().chain(entries.map(|it| HostRef::Entry((&it.meta).into()))).collect()
    }

    fn service_called(&self, name: &str) -> Option<HostRef> {
        let name = name.strip_suffix(&*self.settings.cluster_domain)?.strip_suffix(".svc.")?;
        let (name, namespace) = name.split_once('.')?;
        let service = self.files.services.get(namespace, name)?;
        Some(HostRef::Service((&service.meta).into()))
    }

    /// The name as clients call it.
    pub(super) fn host_name(&self, name: HostName<'_>) -> Arc<str> {
        match name {
            HostName::Service(service) => self.service_name(service).into(),
            HostName::Entry(_, name) => Arc::clone(name),
        }
    }

    fn service_name(&self, service: &Service) -> String {
        service.host(&self.settings.cluster_domain)
    }

    /// What clients of a namespace are told of a host; none where they do not know it.
    pub(super) fn view<'a>(&'a self, client_namespace: &str, host: Host<'a>) -> Option<View<'a>> {
        if !host.is_known_in(client_namespace) {
            return None;
        }
        let namespace = &host.meta().namespace;
        let of = |name: &str| self.files.rules.for_host(client_namespace, name, namespace);
        let mut rules: Vec<(HostName<'a>, HostRules<'a>)> = match host {
            Host::Service(_) if self.files.rules.is_empty() => Vec::new(),
            Host::Service(service) => vec![(HostName::Service(service), of(&self.service_name(service)))],
            Host::Entry(entry) => {
                entry.hosts.iter().map(|name| (HostName::Entry(entry, name), of(name))).collect()
            }
        };
        rules.retain(|(_, rules)| !rules.is_empty());
        Some(View { rules, external: host.is_external() })
    }

    /// What clients of these namespaces are told, each answer without rules once.
    pub(super) fn views<'a>(&'a self, clients: &Namespaces, host: Host<'a>) -> Vec<View<'a>> {
        let mut views: Vec<_> = clients.iter().filter_map(|namespace| self.view(namespace, host)).collect();
        let mut seen_without_rules = false;
        views.retain(|view| !view.rules.is_empty() || !std::mem::replace(&mut seen_without_rules, true));
        views
    }
}
