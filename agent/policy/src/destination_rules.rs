//! All `DestinationRule`s of a mesh, and which of them is for a client and a host.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{DestinationRule, HostPattern, Labels, Meta, TlsSettings, host};

/// The rules in force, by namespace and host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationRules {
    root_namespace: Arc<str>,
    namespaces: HashMap<Arc<str>, NamespaceRules>,
}

/// The rules of one namespace; those for one host in the order in which they win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct NamespaceRules {
    exact: HashMap<String, BTreeMap<Meta, DestinationRule>>,
    suffix: HashMap<String, BTreeMap<Meta, DestinationRule>>,
}

/// The rules that are for one client namespace and one host, the one that wins first. Empty where there is none.
///
/// Several rules for one host in one namespace are one: the subsets of them all, and what the oldest says of the host
/// (Istio, `pilot/pkg/model/destination_rule.go`, `mergeDestinationRule`).
#[derive(Clone, Debug, Default)]
pub struct HostRules<'a> {
    rules: Vec<&'a DestinationRule>,
}

/// What a rule demands of connections to an endpoint, and where it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand<'a> {
    /// What.
    pub tls: &'a TlsSettings,
    /// The rule.
    pub rule: &'a Meta,
    /// The subset of the rule that says it, by name; none is the rule as a whole.
    pub subset: Option<&'a str>,
    /// The port of the Service for which it is said; none is each port that is not listed.
    pub port: Option<u16>,
}

impl DestinationRules {
    /// None yet; rules in `root_namespace` are for clients of each namespace.
    pub fn new(root_namespace: &str) -> Self {
        Self { root_namespace: root_namespace.into(), namespaces: HashMap::new() }
    }

    /// Adds a rule, or replaces the one of that name. A rule that sets no TLS is as good as none.
    pub fn insert(&mut self, rule: DestinationRule) {
        self.remove(&rule.meta.namespace, &rule.meta.name);
        if rule.sets_tls() {
            self.namespaces.entry(rule.meta.namespace.clone()).or_default().insert(rule);
        }
    }

    /// Takes a rule away.
    pub fn remove(&mut self, namespace: &str, name: &str) {
        if let Some(rules) = self.namespaces.get_mut(namespace) {
            rules.retain(|meta| !meta.is_named(namespace, name));
            if rules.is_empty() {
                self.namespaces.remove(namespace);
            }
        }
    }

    /// Whether there is no rule that sets TLS.
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }

    /// The rules for connections from `client_namespace` to `host`, a Service of `service_namespace`: of the first
    /// of the client's, the Service's and the root namespace that has any, those with the most specific host.
    pub fn for_host(&self, client_namespace: &str, host: &str, service_namespace: &str) -> HostRules<'_> {
        let namespaces = [client_namespace, service_namespace, &self.root_namespace];
        let mut of_namespaces = namespaces.into_iter().filter_map(|namespace| self.namespaces.get(namespace));
        of_namespaces.find_map(|rules| rules.most_specific(host, client_namespace)).unwrap_or_default()
    }
}

impl NamespaceRules {
    fn insert(&mut self, rule: DestinationRule) {
        let (filed, key) = match &rule.host {
            HostPattern::Exact(host) => (&mut self.exact, host.clone()),
            HostPattern::Suffix(suffix) => (&mut self.suffix, suffix.clone()),
        };
        filed.entry(key).or_default().insert(rule.meta.clone(), rule);
    }

    fn retain(&mut self, keep: impl Fn(&Meta) -> bool) {
        for filed in [&mut self.exact, &mut self.suffix] {
            filed.retain(|_, rules| {
                rules.retain(|meta, _| keep(meta));
                !rules.is_empty()
            });
        }
    }

    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.suffix.is_empty()
    }

    fn most_specific(&self, host: &str, client_namespace: &str) -> Option<HostRules<'_>> {
        let suffixes = host::suffixes(host).filter_map(|suffix| self.suffix.get(suffix));
        let candidates = self.exact.get(host).into_iter().chain(suffixes);
        candidates.map(|rules| visible(rules, client_namespace)).find(|visible| !visible.is_empty())
    }
}

fn visible<'a>(rules: &'a BTreeMap<Meta, DestinationRule>, client_namespace: &str) -> HostRules<'a> {
    HostRules { rules: rules.values().filter(|rule| rule.export_to.includes(client_namespace)).collect() }
}

impl<'a> HostRules<'a> {
    /// Whether there is no rule at all.
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What they say of a port of the Service, at an endpoint with these labels: the subset's port, then the subset,
    /// the rule's port, the rule. Of several subsets with the endpoint in them the first that decides counts.
    pub fn demand(&self, service_port: u16, labels: &Labels) -> Option<Demand<'a>> {
        let of_subsets = self.rules.iter().flat_map(|rule| {
            let subsets = rule.subsets.iter().filter(|subset| subset.has(labels));
            subsets.map(|subset| (*rule, Some(&*subset.name), &subset.policy))
        });
        let of_rules = self.rules.iter().map(|rule| (*rule, None, &rule.policy));
        let mut policies = of_subsets.chain(of_rules);
        let (rule, subset, policy) = policies.find(|(.., policy)| policy.decides(service_port))?;
        Some(Demand {
            tls: policy.at(service_port)?,
            rule: &rule.meta,
            subset,
            port: policy.ports.contains_key(&service_port).then_some(service_port),
        })
    }
}

#[cfg(test)]
mod tests;
