//! Settings that change while the index is in use.

use serde_json::json;

use crate::cluster::{
    Index, Settings,
    testing::{at, destination_rule, index, named, object, peer_authentication, pod, settings},
};

#[test]
fn new_settings_hold_for_the_objects_that_are_there() {
    let objects = [
        pod("ns", "client", "10.0.0.1", true),
        pod("ns", "server", "10.0.0.2", true),
        peer_authentication("mesh", &json!({"mtls": {"mode": "DISABLE"}})),
        destination_rule("mesh", "*.cluster.local", "ISTIO_MUTUAL"),
    ];
    let changed = Settings {
        root_namespace: "mesh".to_owned(),
        trust_domain: "example.org".to_owned(),
        auto_mtls: false,
        ..settings()
    };
    let mut fresh = Index::new(changed.clone());
    for value in &objects {
        fresh.apply(object(value));
    }
    let mut followed = index(&objects);
    let route = |index: &Index| index.route(&named("ns/client"), at("10.0.0.2:80"), 0);
    assert_ne!(route(&followed), route(&fresh));

    let before = followed.revision();
    followed.set_settings(changed.clone());
    assert_eq!(route(&followed), route(&fresh));
    assert_eq!(followed.files, fresh.files);
    assert!(followed.revision() > before, "those who wait have to hear of it");

    let told = followed.revision();
    followed.set_settings(changed);
    assert_eq!(followed.revision(), told, "nothing changed");
}
