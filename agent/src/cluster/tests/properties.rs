//! What holds for each cluster.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::cluster::{
    Captured, Destination, Index, KernelVerdict, Kind, Object, ObjectKey, PeerChange, PeerTable, PodRef,
    Settings, SidecarChange, Verdict,
    testing::{
        at, destination_rule, namespace, object, peer_authentication, pod, service, service_entry, settings,
        slice, workload_entry,
    },
};

const ADDRESSES: [&str; 4] = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"];

/// One of them is a Service's, and one a pod's.
const ENTRY_VIPS: &[&[&str]] = &[&[], &["10.96.0.1"], &["10.97.0.1", "10.0.0.2"]];

fn any_object() -> impl Strategy<Value = Value> {
    let place = || prop_oneof!["one", "two", "istio-system"];
    let address = || proptest::sample::select(&ADDRESSES[..]);
    let mode = || proptest::sample::select(&["STRICT", "PERMISSIVE", "DISABLE", "UNSET"][..]);
    let tls = proptest::sample::select(&["DISABLE", "ISTIO_MUTUAL", "SIMPLE"][..]);
    let host = proptest::sample::select(
        &[
            "*",
            "s",
            "h",
            "s.one.svc.cluster.local",
            "*.one.svc.cluster.local",
            "e.example.com",
            "*.example.com",
        ][..],
    );
    let backends = proptest::collection::vec(address(), 0..3);
    let vip = proptest::sample::select(&["10.96.0.1", "10.96.0.2", "None"][..]);
    let port = proptest::sample::select(&["8080", "9090"][..]);
    let endpoints = proptest::collection::vec((address(), "|x"), 0..3);
    let entry_vip = proptest::sample::select(ENTRY_VIPS);
    prop_oneof![
        2 => (place(), "[a-c]", address(), any::<bool>()).prop_map(|(ns, name, ip, on)| pod(&ns, &name, ip, on)),
        1 => (place(), any::<bool>()).prop_map(|(name, on)| {
            namespace(&name, &if on { json!({"culvert.io/capture": "enabled"}) } else { json!({}) })
        }),
        2 => (place(), "[sh]", vip).prop_map(|(ns, name, vip)| service(&ns, &name, vip)),
        2 => (place(), "[sh]", backends).prop_map(|(ns, name, backends)| slice(&ns, &name, &backends)),
        1 => (place(), "[es]", address(), "|x", any::<bool>()).prop_map(|(ns, name, ip, account, as_h)| {
            let mut entry = workload_entry(&ns, &name, ip, &account);
            entry["spec"]["ports"] = if as_h { json!({"http": 9090}) } else { json!({}) };
            entry
        }),
        2 => (place(), "[es]", entry_vip, endpoints, 0..4, any::<bool>(), "\\*|\\.").prop_map(
            |(ns, name, vips, endpoints, form, external, export)| {
                let listed = endpoints.iter().map(|(ip, account)| json!({"address": ip, "serviceAccount": account}));
                let mut entry = service_entry(&ns, &name, vips, &json!(listed.collect::<Vec<_>>()));
                entry["spec"]["location"] = json!(if external { "MESH_EXTERNAL" } else { "MESH_INTERNAL" });
                entry["spec"]["exportTo"] = json!([export]);
                if form > 1 {
                    entry["spec"]["endpoints"] = json!([]);
                    entry["spec"]["workloadSelector"] = json!({"labels": {"app": if form == 2 { "a" } else { "e" }}});
                } else if form == 1 {
                    entry["spec"]["resolution"] = json!("NONE");
                }
                entry
            },
        ),
        1 => (place(), host, tls).prop_map(|(ns, host, mode)| destination_rule(&ns, host, mode)),
        1 => (place(), mode()).prop_map(|(ns, mode)| peer_authentication(&ns, &json!({"mtls": {"mode": mode}}))),
        1 => (place(), "[a-c]", mode(), port, mode()).prop_map(|(ns, app, mode, port, port_mode)| {
            let (selector, ports) = (json!({"matchLabels": {"app": app}}), json!({port: {"mode": port_mode}}));
            peer_authentication(&ns, &json!({"selector": selector, "mtls": {"mode": mode}, "portLevelMtls": ports}))
        }),
    ]
}

/// One object per name, as an API server keeps them.
pub(super) fn any_cluster() -> impl Strategy<Value = Vec<Object>> {
    proptest::collection::vec(any_object(), 0..16).prop_map(|values| {
        let objects = values.iter().map(object);
        objects.map(|object| (object.key(), object)).collect::<BTreeMap<_, _>>().into_values().collect()
    })
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let captured = proptest::sample::select(&[Captured::ByWish, Captured::ByAnnotation][..]);
    (any::<bool>(), "one|istio-system", captured).prop_map(|(auto_mtls, root_namespace, captured)| Settings {
        root_namespace,
        auto_mtls,
        captured,
        ..settings()
    })
}

fn index(objects: &[Object]) -> Index {
    let mut index = Index::new(settings());
    objects.iter().cloned().for_each(|object| index.apply(object));
    index
}

fn kernel(index: &Index, client: &PodRef, origin: std::net::SocketAddr) -> KernelVerdict {
    let told = index.destinations(std::slice::from_ref(client));
    let entry = |port| told.get(&Destination { address: origin.ip(), port }).copied();
    entry(Some(origin.port())).or_else(|| entry(None)).unwrap_or(KernelVerdict::Pass)
}

/// Something that happens to an index, and to who asks it.
#[derive(Clone, Debug)]
enum Step {
    Apply(Box<Object>),
    Delete(usize),
    List(Kind, Vec<Object>),
    AutoMtls(bool),
    Root(&'static str),
    Captured(Captured),
    Clients(Vec<&'static str>),
    Look,
}

fn any_step() -> impl Strategy<Value = Step> {
    let kind = proptest::sample::select(Kind::ALL);
    let captured = proptest::sample::select(&[Captured::ByWish, Captured::ByAnnotation][..]);
    let clients = proptest::sample::subsequence(vec!["one", "two", "three"], 0..3);
    prop_oneof![
        12 => any_object().prop_map(|value| Step::Apply(Box::new(object(&value)))),
        6 => any::<usize>().prop_map(Step::Delete),
        1 => (kind, any_cluster()).prop_map(|(kind, objects)| {
            Step::List(kind, objects.into_iter().filter(|object| object.key().kind == kind).collect())
        }),
        1 => any::<bool>().prop_map(Step::AutoMtls),
        1 => prop_oneof!["istio-system", "one"].prop_map(|root| Step::Root(if root == "one" { "one" } else { "istio-system" })),
        1 => captured.prop_map(Step::Captured),
        1 => clients.prop_map(Step::Clients),
        8 => Just(Step::Look),
    ]
}

fn take(index: &mut Index, known: &mut Vec<ObjectKey>, step: Step) {
    let settings = (**index.settings()).clone();
    match step {
        Step::Apply(object) => {
            known.push(object.key());
            index.apply(*object);
        }
        Step::Delete(at) if !known.is_empty() => index.delete(&known.swap_remove(at % known.len())),
        Step::List(kind, objects) => {
            known.extend(objects.iter().map(Object::key));
            index.reset(kind, objects);
        }
        Step::AutoMtls(auto_mtls) => index.set_settings(Settings { auto_mtls, ..settings }),
        Step::Root(root) => index.set_settings(Settings { root_namespace: root.to_owned(), ..settings }),
        Step::Captured(captured) => index.set_settings(Settings { captured, ..settings }),
        Step::Delete(_) | Step::Clients(_) | Step::Look => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn a_peer_table_that_follows_says_what_one_that_starts_anew_does(
        before in any_cluster(), steps in proptest::collection::vec(any_step(), 0..40)
    ) {
        let mut index = index(&before);
        let mut known: Vec<_> = before.iter().map(Object::key).collect();
        let mut clients = vec![PodRef::new("one", "stranger")];
        let mut table = PeerTable::default();
        let (mut kernel, mut sidecars) = (BTreeMap::new(), BTreeSet::new());
        for step in steps.into_iter().chain([Step::Look]) {
            match step {
                Step::Look => {
                    for PeerChange { destination, verdict } in table.update(&index, &clients) {
                        match verdict {
                            Some(verdict) => drop(kernel.insert(destination, verdict)),
                            None => drop(kernel.remove(&destination)),
                        }
                    }
                    prop_assert_eq!(&kernel, &index.destinations(&clients));
                    prop_assert_eq!(table.len(), kernel.len());
                    for SidecarChange { address, is_sidecar } in table.sidecar_changes() {
                        let _ = if is_sidecar { sidecars.insert(address) } else { sidecars.remove(&address) };
                    }
                    let all = index.addresses().into_iter().filter(|address| index.is_sidecar(*address));
                    let expected: BTreeSet<_> = all.filter(|_| !clients.is_empty()).collect();
                    prop_assert_eq!(&sidecars, &expected);
                }
                Step::Clients(namespaces) => {
                    clients = namespaces.iter().map(|namespace| PodRef::new(namespace, "stranger")).collect();
                }
                step => take(&mut index, &mut known, step),
            }
        }
    }
}

proptest! {
    #[test]
    fn the_order_of_arrival_does_not_matter(
        (one, other) in any_cluster().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle()))
    ) {
        prop_assert_eq!(&index(&one).files, &index(&other).files);
    }

    #[test]
    fn deleting_undoes_applying(before in any_cluster(), added in any_cluster()) {
        let mut changed = index(&before);
        added.iter().cloned().for_each(|object| changed.apply(object));
        for object in &added {
            changed.delete(&object.key());
        }
        let kept: Vec<ObjectKey> = added.iter().map(Object::key).collect();
        let rest: Vec<_> = before.iter().filter(|object| !kept.contains(&object.key())).cloned().collect();
        prop_assert_eq!(&changed.files, &index(&rest).files);
    }

    #[test]
    fn it_does_not_matter_when_the_meshs_settings_arrive(
        objects in any_cluster(), settings in any_settings(), after in any::<prop::sample::Index>()
    ) {
        let mut first = Index::new(settings.clone());
        objects.iter().cloned().for_each(|object| first.apply(object));
        let (early, late) = objects.split_at(after.index(objects.len() + 1));
        let mut between = index(early);
        between.set_settings(settings);
        late.iter().cloned().for_each(|object| between.apply(object));
        prop_assert_eq!(&between.files, &first.files);
        let clients = [PodRef::new("one", "stranger")];
        prop_assert_eq!(between.destinations(&clients), first.destinations(&clients));
    }

    #[test]
    fn taking_settings_back_undoes_them(objects in any_cluster(), other in any_settings()) {
        let before = index(&objects);
        let mut changed = index(&objects);
        changed.set_settings(other);
        changed.set_settings(settings());
        prop_assert_eq!(&changed.files, &before.files);
        let clients = [PodRef::new("one", "stranger")];
        prop_assert_eq!(changed.destinations(&clients), before.destinations(&clients));
    }

    #[test]
    fn a_list_leaves_nothing_of_what_was_there(before in any_cluster(), after in any_cluster()) {
        let mut relisted = index(&before);
        for kind in Kind::ALL.iter().copied() {
            relisted.reset(kind, after.iter().filter(|object| object.key().kind == kind).cloned().collect());
        }
        prop_assert_eq!(&relisted.files, &index(&after).files);
    }

    #[test]
    fn an_object_that_says_what_was_known_changes_nothing(objects in any_cluster()) {
        let mut index = index(&objects);
        let revision = index.revision();
        objects.iter().cloned().for_each(|object| index.apply(object));
        prop_assert_eq!(index.revision(), revision);
    }

    #[test]
    fn what_the_kernel_passes_is_surely_plaintext(objects in any_cluster(), namespace in "one|two") {
        let index = index(&objects);
        let client = PodRef::new(&namespace, "stranger");
        let services = ["10.96.0.1:80", "10.96.0.2:80", "10.97.0.1:80", "10.0.0.2:80"].map(at);
        let pods = ADDRESSES.iter().flat_map(|ip| [8080, 9090, 80].map(|port| at(&format!("{ip}:{port}"))));
        for origin in pods.chain(services) {
            let passed = kernel(&index, &client, origin) == KernelVerdict::Pass;
            for turn in 0..3 {
                let route = index.route(&client, origin, turn);
                let nobody = route.reason == culvert_policy::Reason::NoEndpoint;
                if passed && !nobody {
                    prop_assert_eq!(&route.verdict, &Verdict::Plaintext, "{} {:?}", origin, route);
                } else if !services.contains(&origin) {
                    prop_assert_ne!(&route.verdict, &Verdict::Plaintext, "{} {:?}", origin, route);
                }
            }
        }
    }
}
