use super::*;
use crate::{
    Mode, ModeSetting, PeerAuthenticationSpec,
    testing::{labels, meta},
};
use Mode::{Disable, Permissive, Strict};
use proptest::prelude::*;

const ROOT: &str = "istio-system";
const UNSET: ModeSetting = ModeSetting::Unset;

const fn set(mode: Mode) -> ModeSetting {
    ModeSetting::Set(mode)
}

fn policy(created: i64, namespace: &str, name: &str, mode: ModeSetting) -> PeerAuthentication {
    let spec = PeerAuthenticationSpec { mode, ..Default::default() };
    PeerAuthentication::new(meta(Some(created), namespace, name), spec).unwrap()
}

fn workload(
    created: i64,
    name: &str,
    mode: ModeSetting,
    ports: &[(&str, ModeSetting)],
) -> PeerAuthentication {
    let ports =
        (!ports.is_empty()).then(|| ports.iter().map(|(port, mode)| ((*port).to_owned(), *mode)).collect());
    let spec = PeerAuthenticationSpec { selector: labels(&[("app", "httpbin")]), mode, ports };
    PeerAuthentication::new(meta(Some(created), "full", name), spec).unwrap()
}

/// The modes of ports 80, 81 and 82 of the workload `app: httpbin` in `full`.
fn modes(policies: &[PeerAuthentication]) -> [Mode; 3] {
    let mut all = PeerAuthentications::new(ROOT);
    policies.iter().cloned().for_each(|policy| all.insert(policy));
    let modes = all.port_modes("full", &labels(&[("app", "httpbin")]));
    [80, 81, 82].map(|port| modes.mode(port))
}

#[test]
fn the_narrowest_scope_that_is_set_wins() {
    let mesh = |mode| policy(1, ROOT, "mesh", mode);
    let namespace = |mode| policy(1, "full", "namespace", mode);
    let pod = |mode| workload(1, "workload", mode, &[]);
    for (policies, expected) in [
        (vec![], Permissive),
        (vec![mesh(UNSET)], Permissive),
        (vec![mesh(set(Strict))], Strict),
        (vec![mesh(set(Strict)), namespace(UNSET)], Strict),
        (vec![mesh(set(Strict)), namespace(set(Disable))], Disable),
        (vec![mesh(set(Strict)), namespace(UNSET), pod(UNSET)], Strict),
        (vec![mesh(set(Strict)), namespace(set(Disable)), pod(UNSET)], Disable),
        (vec![mesh(set(Strict)), namespace(set(Disable)), pod(set(Permissive))], Permissive),
        (vec![policy(1, "other", "namespace", set(Strict))], Permissive),
    ] {
        assert_eq!(modes(&policies), [expected; 3], "{policies:?}");
    }
}

#[test]
fn of_one_scope_the_oldest_wins_whole() {
    for (policies, expected) in [
        (vec![policy(2, "full", "a", set(Strict)), policy(1, "full", "b", set(Disable))], Disable),
        (vec![policy(1, "full", "a", set(Strict)), policy(1, "full", "b", set(Disable))], Strict),
        (vec![policy(1, "full", "a", UNSET), policy(2, "full", "b", set(Strict))], Permissive),
        (vec![workload(2, "a", set(Strict), &[]), workload(1, "b", set(Disable), &[])], Disable),
    ] {
        assert_eq!(modes(&policies), [expected; 3], "{policies:?}");
    }
}

#[test]
fn ports_count_only_in_the_policy_that_wins() {
    let ports = [("80", set(Disable)), ("81", UNSET)];
    let strict = policy(1, "full", "namespace", set(Strict));
    for (policies, expected) in [
        (vec![workload(1, "a", set(Strict), &ports)], [Disable, Strict, Strict]),
        (vec![strict.clone(), workload(1, "a", UNSET, &ports)], [Disable, Strict, Strict]),
        (vec![workload(1, "a", UNSET, &[("80", set(Strict))])], [Strict, Permissive, Permissive]),
        (vec![workload(1, "a", set(Strict), &[]), workload(2, "b", UNSET, &ports)], [Strict, Strict, Strict]),
    ] {
        assert_eq!(modes(&policies), expected, "{policies:?}");
    }
}

#[test]
fn a_selector_in_the_root_namespace_is_ignored() {
    let mut all = PeerAuthentications::new("full");
    all.insert(workload(1, "a", set(Strict), &[]));
    assert_eq!(all.port_modes("full", &labels(&[("app", "httpbin")])), PortModes::default());
    assert_eq!(all.port_modes("other", &labels(&[("app", "httpbin")])), PortModes::default());
}

#[test]
fn a_selector_is_for_its_own_namespace_and_labels() {
    let mut all = PeerAuthentications::new(ROOT);
    all.insert(workload(1, "a", set(Strict), &[]));
    assert_eq!(all.port_modes("other", &labels(&[("app", "httpbin")])).default, Permissive);
    assert_eq!(all.port_modes("full", &labels(&[("app", "sleep")])).default, Permissive);
}

#[test]
fn a_replaced_policy_leaves_nothing_behind() {
    let older = policy(1, "full", "a", set(Strict));
    let newer = policy(2, "full", "a", set(Disable));
    assert_eq!(modes(&[older, newer]), [Disable; 3]);
}

#[test]
fn the_policy_that_sets_the_mode_is_named() {
    let [mesh, namespace] = [(ROOT, "mesh", set(Disable)), ("full", "namespace", UNSET)]
        .map(|(of, name, mode)| policy(1, of, name, mode));
    let pods = workload(1, "workload", set(Strict), &[("80", set(Permissive)), ("81", UNSET)]);
    let (app, other) = (labels(&[("app", "httpbin")]), labels(&[]));
    let all = collect(&[mesh, namespace, pods]);
    for (of, labels, port, expected) in [
        ("full", &app, Some(80), Some((Permissive, Scope::Port, "workload"))),
        ("full", &app, Some(81), Some((Strict, Scope::Workload, "workload"))),
        ("full", &app, None, Some((Strict, Scope::Workload, "workload"))),
        ("full", &other, Some(80), Some((Disable, Scope::Mesh, "mesh"))),
        (ROOT, &app, Some(80), Some((Disable, Scope::Mesh, "mesh"))),
    ] {
        let ruling = all.ruling(of, labels, port);
        let named = ruling.source.map(|(scope, meta)| (ruling.mode, scope, &*meta.name));
        assert_eq!(named, expected, "{of} {labels:?} {port:?}");
    }
    assert_eq!(collect(&[]).ruling("full", &app, Some(80)), Ruling { mode: Permissive, source: None });
}

fn any_policy() -> impl Strategy<Value = PeerAuthentication> {
    let mode = prop_oneof![Just(UNSET), Just(set(Strict)), Just(set(Permissive)), Just(set(Disable))];
    let ports = proptest::collection::btree_map("8[0-2]", mode.clone(), 1..3);
    let selected = (any::<bool>(), proptest::option::of(ports));
    let meta = (0..3i64, prop_oneof!["full", ROOT], "[a-d]");
    (meta, mode, selected).prop_map(|((created, namespace, name), mode, (selected, ports))| {
        let selector = if selected { labels(&[("app", "httpbin")]) } else { Labels::new() };
        let spec = PeerAuthenticationSpec { selector, mode, ports: ports.filter(|_| selected) };
        PeerAuthentication::new(meta_of(created, &namespace, &name), spec).unwrap()
    })
}

fn meta_of(created: i64, namespace: &str, name: &str) -> Meta {
    meta(Some(created), namespace, name)
}

/// One policy per name, as an API server keeps them.
fn any_policies() -> impl Strategy<Value = Vec<PeerAuthentication>> {
    proptest::collection::vec(any_policy(), 0..8).prop_map(|policies| {
        let key = |policy: &PeerAuthentication| (policy.meta().namespace.clone(), policy.meta().name.clone());
        let named: BTreeMap<_, _> = policies.into_iter().map(|policy| (key(&policy), policy)).collect();
        named.into_values().collect()
    })
}

fn collect<'a>(policies: impl IntoIterator<Item = &'a PeerAuthentication>) -> PeerAuthentications {
    let mut all = PeerAuthentications::new(ROOT);
    policies.into_iter().cloned().for_each(|policy| all.insert(policy));
    all
}

proptest! {
    #[test]
    fn the_order_of_arrival_does_not_matter(policies in any_policies().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle()))) {
        let (one, other) = policies;
        prop_assert_eq!(modes(&one), modes(&other));
        prop_assert_eq!(collect(&one), collect(&other));
    }

    #[test]
    fn removing_undoes_adding(before in any_policies(), added in any_policies()) {
        let taken = |policy: &&PeerAuthentication| !before.iter().any(|old| old.meta().is_named(&policy.meta().namespace, &policy.meta().name));
        let mut all = collect(before.iter().chain(added.iter().filter(taken)));
        for policy in added.iter().filter(taken) {
            all.remove(&policy.meta().namespace, &policy.meta().name);
        }
        prop_assert_eq!(all, collect(&before));
    }
}
