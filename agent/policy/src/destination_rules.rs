//! All `DestinationRule`s of a mesh, and which of them is for a client and a host.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{ClientTls, DestinationRule, HostPattern, Labels, Meta, host};

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
/// Several rules for one host in one namespace are one: the oldest that sets TLS for the host, and the subsets of
/// them all (Istio, `pilot/pkg/model/destination_rule.go`, `mergeDestinationRule`).
#[derive(Clone, Debug, Default)]
pub struct HostRules<'a> {
    rules: Vec<&'a DestinationRule>,
}

impl DestinationRules {
    /// None yet; rules in `root_namespace` are for clients of each namespace.
    pub fn new(root_namespace: &str) -> Self {
        Self {
            root_namespace: root_namespace.into(),
            namespaces: HashMap::new(),
        }
    }

    /// Adds a rule, or replaces the one of that name. A rule that sets no TLS is as good as none.
    pub fn insert(&mut self, rule: DestinationRule) {
        self.remove(&rule.meta.namespace, &rule.meta.name);
        if rule.sets_tls() {
            self.namespaces
                .entry(rule.meta.namespace.clone())
                .or_default()
                .insert(rule);
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

    /// The rules for connections from `client_namespace` to `host`, a Service of `service_namespace`: of the first
    /// of the client's, the Service's and the root namespace that has any, those with the most specific host.
    pub fn for_host(&self, client_namespace: &str, host: &str, service_namespace: &str) -> HostRules<'_> {
        let namespaces = [client_namespace, service_namespace, &self.root_namespace];
        let found = namespaces
            .into_iter()
            .filter_map(|namespace| self.namespaces.get(namespace));
        found
            .filter_map(|rules| rules.most_specific(host, client_namespace))
            .next()
            .unwrap_or_default()
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
        candidates
            .map(|rules| visible(rules, client_namespace))
            .find(|visible| !visible.is_empty())
    }
}

fn visible<'a>(rules: &'a BTreeMap<Meta, DestinationRule>, client_namespace: &str) -> HostRules<'a> {
    HostRules {
        rules: rules
            .values()
            .filter(|rule| rule.export_to.includes(client_namespace))
            .collect(),
    }
}

impl HostRules<'_> {
    /// Whether there is no rule at all.
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What they say of a port of the Service, at an endpoint with these labels: the subset's port, then the subset,
    /// the rule's port, the rule. Of several subsets with the endpoint in them the first that sets TLS counts.
    pub fn tls(&self, service_port: u16, labels: &Labels) -> Option<ClientTls> {
        match self.subset_tls(service_port, labels) {
            Some(decided) => decided,
            None => self
                .rules
                .iter()
                .find(|rule| rule.policy.sets_tls())?
                .policy
                .at(service_port),
        }
    }

    fn subset_tls(&self, service_port: u16, labels: &Labels) -> Option<Option<ClientTls>> {
        let subsets = self
            .rules
            .iter()
            .flat_map(|rule| &rule.subsets)
            .filter(|subset| subset.has(labels));
        subsets.map(|subset| &subset.policy).find_map(|policy| {
            let port = policy.port_entry(service_port);
            port.or_else(|| policy.tls.map(Some))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ExportTo, Subset, TrafficPolicy,
        testing::{labels, meta},
    };
    use ClientTls::{Disable, IstioMutual, Mutual, Simple};
    use proptest::prelude::*;

    const ROOT: &str = "istio-system";
    const HOST: &str = "httpbin.full.svc.cluster.local";

    fn policy(tls: Option<ClientTls>, ports: &[(u16, Option<ClientTls>)]) -> TrafficPolicy {
        TrafficPolicy {
            tls,
            ports: ports.iter().copied().collect(),
        }
    }

    fn rule(namespace: &str, name: &str, host: &str, tls: Option<ClientTls>) -> DestinationRule {
        DestinationRule {
            meta: meta(Some(1), namespace, name),
            host: HostPattern::parse(host, namespace, "cluster.local").unwrap(),
            export_to: ExportTo::All,
            policy: policy(tls, &[]),
            subsets: Vec::new(),
        }
    }

    fn subset(version: &str, policy: TrafficPolicy) -> Subset {
        Subset {
            name: version.to_owned(),
            labels: labels(&[("version", version)]),
            policy,
        }
    }

    fn collect<'a>(rules: impl IntoIterator<Item = &'a DestinationRule>) -> DestinationRules {
        let mut all = DestinationRules::new(ROOT);
        rules.into_iter().cloned().for_each(|rule| all.insert(rule));
        all
    }

    /// What the rules say of port 80 of `httpbin` in `full`, to a client in `client`.
    fn tls(rules: &[DestinationRule], client: &str) -> Option<ClientTls> {
        collect(rules)
            .for_host(client, HOST, "full")
            .tls(80, &Labels::new())
    }

    #[test]
    fn the_clients_namespace_comes_first_then_the_services_then_the_root() {
        let root = rule(ROOT, "r", "*", Some(Disable));
        let service = rule("full", "r", "httpbin", Some(Simple));
        let client = rule("other", "r", "*.local", Some(Mutual));
        for (rules, expected) in [
            (vec![root.clone()], Some(Disable)),
            (vec![root.clone(), service.clone()], Some(Simple)),
            (vec![root, service, client], Some(Mutual)),
            (vec![rule("third", "r", "*", Some(Mutual))], None),
        ] {
            assert_eq!(tls(&rules, "other"), expected, "{rules:?}");
        }
    }

    #[test]
    fn the_most_specific_host_wins() {
        let star = rule("full", "a", "*", Some(Disable));
        let suffix = rule("full", "b", "*.svc.cluster.local", Some(Simple));
        let longer = rule("full", "c", "*.full.svc.cluster.local", Some(Mutual));
        let exact = rule("full", "d", "httpbin", Some(IstioMutual));
        let stranger = rule("full", "e", "*.example.com", Some(IstioMutual));
        let mut rules = vec![stranger];
        assert_eq!(tls(&rules, "full"), None);
        for (rule, expected) in [
            (star, Disable),
            (suffix, Simple),
            (longer, Mutual),
            (exact, IstioMutual),
        ] {
            rules.push(rule);
            assert_eq!(tls(&rules, "full"), Some(expected));
        }
    }

    #[test]
    fn a_rule_is_for_those_that_it_is_exported_to() {
        let mut hidden = rule("full", "a", "httpbin", Some(Mutual));
        hidden.export_to = ExportTo::parse(&[".".to_owned()], "full");
        let rules = [
            hidden,
            rule("full", "b", "*", Some(Disable)),
            rule(ROOT, "c", "*", Some(Simple)),
        ];
        assert_eq!(tls(&rules, "full"), Some(Mutual));
        assert_eq!(tls(&rules, "other"), Some(Disable));
        assert_eq!(tls(&rules[..1], "other"), None);
    }

    #[test]
    fn a_rule_without_tls_changes_nothing() {
        let balancing = rule("full", "a", "httpbin", None);
        assert_eq!(tls(&[balancing.clone()], "full"), None);
        assert_eq!(
            tls(&[balancing, rule(ROOT, "b", "*", Some(IstioMutual))], "full"),
            Some(IstioMutual)
        );
    }

    #[test]
    fn the_narrowest_setting_wins() {
        let wide = policy(Some(Disable), &[(80, Some(Simple)), (81, None)]);
        let both = policy(Some(Mutual), &[(80, Some(IstioMutual)), (81, None)]);
        let mut subsets = rule("full", "a", "httpbin", None);
        subsets.policy = wide;
        subsets.subsets = vec![
            subset("plain", TrafficPolicy::default()),
            subset("whole", policy(Some(Mutual), &[])),
            subset("ports", both),
        ];
        let rules = collect(&[subsets]);
        for (version, expected) in [
            ("none", [Some(Simple), None, Some(Disable)]),
            ("plain", [Some(Simple), None, Some(Disable)]),
            ("whole", [Some(Mutual), Some(Mutual), Some(Mutual)]),
            ("ports", [Some(IstioMutual), None, Some(Mutual)]),
        ] {
            let found = rules.for_host("full", HOST, "full");
            let seen = [80, 81, 82].map(|port| found.tls(port, &labels(&[("version", version)])));
            assert_eq!(seen, expected, "{version}");
        }
    }

    #[test]
    fn rules_for_one_host_are_taken_together() {
        let mut older = rule("full", "a", "httpbin", None);
        older.subsets = vec![subset("new", policy(Some(IstioMutual), &[]))];
        let mut newer = rule("full", "b", "httpbin", Some(Disable));
        newer.subsets = vec![
            subset("new", policy(Some(Simple), &[])),
            subset("old", policy(Some(Mutual), &[])),
        ];
        let rules = collect(&[newer, older]);
        let found = rules.for_host("full", HOST, "full");
        for (version, expected) in [("new", IstioMutual), ("old", Mutual), ("none", Disable)] {
            assert_eq!(
                found.tls(80, &labels(&[("version", version)])),
                Some(expected),
                "{version}"
            );
        }
    }

    #[test]
    fn a_replaced_rule_leaves_nothing_behind() {
        let mut rules = collect(&[rule("full", "a", "httpbin", Some(Disable))]);
        rules.insert(rule("full", "a", "*", Some(Simple)));
        assert_eq!(rules, collect(&[rule("full", "a", "*", Some(Simple))]));
        rules.insert(rule("full", "a", "*", None));
        assert_eq!(rules, collect(&[]));
    }

    fn any_rule() -> impl Strategy<Value = DestinationRule> {
        let tls = prop_oneof![Just(None), Just(Some(Disable)), Just(Some(IstioMutual))];
        let host = prop_oneof!["httpbin", Just("*".to_owned()), Just("*.local".to_owned())];
        (
            0..3i64,
            prop_oneof!["full", "other", ROOT],
            "[a-c]",
            host,
            tls,
            any::<bool>(),
        )
            .prop_map(|(created, namespace, name, host, tls, private)| {
                let mut rule = rule(&namespace, &name, &host, tls);
                rule.meta.created = Some(created);
                if private {
                    rule.export_to = ExportTo::parse(&[".".to_owned()], &namespace);
                }
                rule
            })
    }

    /// One rule per name, as an API server keeps them.
    fn any_rules() -> impl Strategy<Value = Vec<DestinationRule>> {
        proptest::collection::vec(any_rule(), 0..8).prop_map(|rules| {
            let key = |rule: &DestinationRule| (rule.meta.namespace.clone(), rule.meta.name.clone());
            rules
                .into_iter()
                .map(|rule| (key(&rule), rule))
                .collect::<BTreeMap<_, _>>()
                .into_values()
                .collect()
        })
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_does_not_matter(
            (one, other) in any_rules().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle()))
        ) {
            prop_assert_eq!(collect(&one), collect(&other));
            for client in ["full", "other", ROOT] {
                prop_assert_eq!(tls(&one, client), tls(&other, client));
            }
        }

        #[test]
        fn removing_undoes_adding(before in any_rules(), added in any_rules()) {
            let new = |rule: &&DestinationRule| {
                !before.iter().any(|old| old.meta.is_named(&rule.meta.namespace, &rule.meta.name))
            };
            let mut all = collect(before.iter().chain(added.iter().filter(new)));
            for rule in added.iter().filter(new) {
                all.remove(&rule.meta.namespace, &rule.meta.name);
            }
            prop_assert_eq!(all, collect(&before));
        }
    }
}
