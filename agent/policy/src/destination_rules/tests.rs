use super::*;
use crate::{
    ClientFiles, ClientTls, ExportTo, Origination, Subset, TrafficPolicy,
    testing::{labels, meta},
};
use ClientTls::{Disable, IstioMutual, Mutual, Simple};
use proptest::prelude::*;

const ROOT: &str = "istio-system";
const HOST: &str = "httpbin.full.svc.cluster.local";

fn policy(tls: Option<ClientTls>, ports: &[(u16, Option<ClientTls>)]) -> TrafficPolicy {
    let ports = ports.iter().map(|(port, tls)| (*port, tls.map(settings)));
    TrafficPolicy { tls: tls.map(settings), ports: ports.collect() }
}

fn settings(mode: ClientTls) -> TlsSettings {
    let files = || ClientFiles { certificate: "c.pem".into(), private_key: "k.pem".into() };
    let originate = |client| TlsSettings::Originate(Origination { client, ..Origination::default() }.into());
    match mode {
        Disable => TlsSettings::Disable,
        Simple => originate(None),
        Mutual => originate(Some(files())),
        IstioMutual => TlsSettings::IstioMutual,
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
    Subset { name: version.to_owned(), labels: labels(&[("version", version)]), policy }
}

fn collect<'a>(rules: impl IntoIterator<Item = &'a DestinationRule>) -> DestinationRules {
    let mut all = DestinationRules::new(ROOT);
    rules.into_iter().cloned().for_each(|rule| all.insert(rule));
    all
}

/// What the rules say of port 80 of `httpbin` in `full`, to a client in `client`.
fn tls(rules: &[DestinationRule], client: &str) -> Option<ClientTls> {
    collect(rules).for_host(client, HOST, "full").demand(80, &Labels::new()).map(|demand| demand.tls.mode())
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
    for (rule, expected) in [(star, Disable), (suffix, Simple), (longer, Mutual), (exact, IstioMutual)] {
        rules.push(rule);
        assert_eq!(tls(&rules, "full"), Some(expected));
    }
}

#[test]
fn a_rule_is_for_those_that_it_is_exported_to() {
    let mut hidden = rule("full", "a", "httpbin", Some(Mutual));
    hidden.export_to = ExportTo::parse(&[".".to_owned()], "full");
    let rules = [hidden, rule("full", "b", "*", Some(Disable)), rule(ROOT, "c", "*", Some(Simple))];
    assert_eq!(tls(&rules, "full"), Some(Mutual));
    assert_eq!(tls(&rules, "other"), Some(Disable));
    assert_eq!(tls(&rules[..1], "other"), None);
}

#[test]
fn a_rule_without_tls_changes_nothing() {
    let balancing = rule("full", "a", "httpbin", None);
    assert_eq!(tls(std::slice::from_ref(&balancing), "full"), None);
    assert_eq!(tls(&[balancing, rule(ROOT, "b", "*", Some(IstioMutual))], "full"), Some(IstioMutual));
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
        subset("port", policy(None, &[(80, Some(IstioMutual))])),
    ];
    let rules = collect(&[subsets]);
    for (version, expected) in [
        ("none", [Some(Simple), None, Some(Disable)]),
        ("plain", [Some(Simple), None, Some(Disable)]),
        ("whole", [Some(Mutual), Some(Mutual), Some(Mutual)]),
        ("ports", [Some(IstioMutual), None, Some(Mutual)]),
        ("port", [Some(IstioMutual), None, Some(Disable)]),
    ] {
        let found = rules.for_host("full", HOST, "full");
        let demand = |port| found.demand(port, &labels(&[("version", version)]));
        let seen = [80, 81, 82].map(|port| demand(port).map(|demand| demand.tls.mode()));
        assert_eq!(seen, expected, "{version}");
    }
}

#[test]
fn rules_for_one_host_are_taken_together() {
    let mut older = rule("full", "a", "httpbin", None);
    older.subsets = vec![subset("new", policy(Some(IstioMutual), &[]))];
    let mut newer = rule("full", "b", "httpbin", Some(Disable));
    newer.subsets = vec![subset("new", policy(Some(Simple), &[])), subset("old", policy(Some(Mutual), &[]))];
    let rules = collect(&[newer, older]);
    let found = rules.for_host("full", HOST, "full");
    for (version, expected) in [("new", IstioMutual), ("old", Mutual), ("none", Disable)] {
        let demand = found.demand(80, &labels(&[("version", version)])).unwrap();
        assert_eq!(demand.tls.mode(), expected, "{version}");
    }
}

#[test]
fn the_rule_that_demands_is_named_with_its_subset_and_port() {
    let mut rule = rule("full", "a", "httpbin", Some(Disable));
    rule.subsets = vec![subset("new", policy(Some(Simple), &[(80, Some(Mutual))]))];
    let rules = collect(&[rule.clone()]);
    let found = rules.for_host("full", HOST, "full");
    for (version, port, tls, subset, of_port) in [
        ("new", 80, Mutual, Some("new"), Some(80)),
        ("new", 81, Simple, Some("new"), None),
        ("old", 80, Disable, None, None),
    ] {
        let expected = Demand { tls: &settings(tls), rule: &rule.meta, subset, port: of_port };
        assert_eq!(found.demand(port, &labels(&[("version", version)])), Some(expected), "{version} {port}");
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
    (0..3i64, prop_oneof!["full", "other", ROOT], "[a-c]", host, tls, any::<bool>()).prop_map(
        |(created, namespace, name, host, tls, private)| {
            let mut rule = rule(&namespace, &name, &host, tls);
            rule.meta.created = Some(created);
            if private {
                rule.export_to = ExportTo::parse(&[".".to_owned()], &namespace);
            }
            rule
        },
    )
}

/// One rule per name, as an API server keeps them.
fn any_rules() -> impl Strategy<Value = Vec<DestinationRule>> {
    proptest::collection::vec(any_rule(), 0..8).prop_map(|rules| {
        let key = |rule: &DestinationRule| (rule.meta.namespace.clone(), rule.meta.name.clone());
        rules.into_iter().map(|rule| (key(&rule), rule)).collect::<BTreeMap<_, _>>().into_values().collect()
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
