//! The mesh's settings in Istio's `ConfigMap`.

use culvert::cluster::{Overrides, Settings, Subject, TlsVersion};
use culvert_testbed::apiserver::{ApiServer, Verb};
use serde_json::{Value, json};

use crate::common::{Followed, options, query};

fn config(namespace: &str, mesh: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": "istio"},
        "data": {"mesh": mesh, "meshNetworks": "networks: {}"},
    })
}

fn settings(it: &Followed) -> Settings {
    (**it.cluster.read().settings()).clone()
}

const MESH: &str = "
defaultConfig: { discoveryAddress: 'istiod.istio-system.svc:15012' }
enableAutoMtls: false
trustDomain: example.org
trustDomainAliases: [old.example.org]
rootNamespace: mesh
meshMTLS: { minProtocolVersion: TLSV1_3 }
";

#[tokio::test]
async fn settings_follow_the_config_map() {
    let it = Followed::synced(ApiServer::start().unwrap()).await;
    assert_eq!(settings(&it), Settings::default());

    it.server.apply(&config("istio-system", MESH)).unwrap();
    let expected = Settings {
        root_namespace: "mesh".to_owned(),
        trust_domain: "example.org".to_owned(),
        trust_domain_aliases: vec!["old.example.org".to_owned()],
        auto_mtls: false,
        min_tls: TlsVersion::Tls13,
        ..Settings::default()
    };
    it.wait("new settings", |it| settings(it) != Settings::default()).await;
    assert_eq!(settings(&it), expected);

    it.server.apply(&config("istio-system", "trustDomain: [")).unwrap();
    it.wait_for_problems(1).await;
    assert_eq!(settings(&it).trust_domain, "example.org");
    let problem = &it.cluster.problems()[0];
    assert_eq!(problem.subject, Some(Subject::MeshConfig { namespace: "istio-system".to_owned() }));

    it.server.apply(&config("istio-system", "trustDomain: example.com")).unwrap();
    it.wait("mended trust domain", |it| settings(it).trust_domain == "example.com").await;
    it.wait_for_problems(0).await;
    assert!(settings(&it).auto_mtls, "no longer written");

    it.server.delete("configmaps", "istio-system", "istio").unwrap();
    it.wait("defaults", |it| settings(it) == Settings::default()).await;
}

#[tokio::test]
async fn of_all_config_maps_only_istios_is_asked_for() {
    let server = ApiServer::start().unwrap();
    let mut other = config("istio-system", "trustDomain: other.example");
    other["metadata"]["name"] = "istio-canary".into();
    server.apply(&other).unwrap();
    server.apply(&config("default", "trustDomain: stranger.example")).unwrap();
    let it = Followed::synced(server).await;
    it.wait_for_watch("configmaps").await;
    for verb in [Verb::List, Verb::Watch] {
        let requests = it.requests(0, "configmaps", verb);
        assert!(!requests.is_empty());
        for request in requests {
            assert_eq!(request.namespace, "istio-system");
            assert_eq!(query(&request, "fieldSelector"), Some("metadata.name%3Distio"));
        }
    }
    assert_eq!(settings(&it), Settings::default());
}

#[tokio::test]
async fn flags_win_and_say_where_the_config_map_stands() {
    let mut flagged = options();
    flagged.overrides = Overrides {
        root_namespace: Some("mesh".to_owned()),
        trust_domain: Some("flag.example".to_owned()),
        ..Overrides::default()
    };
    let server = ApiServer::start().unwrap();
    server.apply(&config("istio-system", "enableAutoMtls: true\ntrustDomainAliases: [wrong]")).unwrap();
    let mesh = "enableAutoMtls: false\ntrustDomain: mesh.example\nrootNamespace: elsewhere";
    server.apply(&config("mesh", mesh)).unwrap();
    let it = Followed::begin(server, flagged).await;
    it.wait_until_synced().await;
    let expected = Settings {
        root_namespace: "mesh".to_owned(),
        trust_domain: "flag.example".to_owned(),
        auto_mtls: false,
        ..Settings::default()
    };
    assert_eq!(settings(&it), expected);
}
