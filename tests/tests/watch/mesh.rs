//! The mesh's settings in Istio's `ConfigMap`.

use culvert::cluster::{Overrides, Settings, Subject, TlsVersion};
use culvert_testbed::apiserver::ApiServer;
use serde_json::{Value, json};

use crate::common::{Followed, options};

fn config(namespace: &str, mesh: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": "istio"},
        "data": {"mesh": mesh, "meshNetworks": "networks: {}"},
    })
}

fn settings(it: &Followed) -> Settings {
    (**it.cluster.read().settings()).clone()
}

#[tokio::test]
async fn settings_follow_the_config_map() {
    let it = Followed::synced(ApiServer::start().unwrap()).await;
    assert_eq!(settings(&it), Settings::default());

    let mesh = "enableAutoMtls: false\ntrustDomain: example.org\nmeshMTLS: {minProtocolVersion: TLSV1_3}\n";
    it.server.apply(&config("istio-system", mesh)).unwrap();
    it.wait("new trust domain", |it| settings(it).trust_domain == "example.org").await;
    assert!(!settings(&it).auto_mtls);
    assert_eq!(settings(&it).min_tls, TlsVersion::Tls13);

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
