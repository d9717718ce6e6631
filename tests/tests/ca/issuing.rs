//! Who gets a certificate, and what is in it.

use std::time::Duration;

use culvert_testbed::apiserver::{TokenSpec, Verb};
use rcgen::{DnType, KeyPair, PublicKeyData, SanType};
use tonic::Code;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use crate::{
    caller::{Ask, Caller, csr, id, uri},
    cluster::{AUDIENCE, Cluster, SYSTEM, agent_token},
};

const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn an_agent_gets_the_identity_of_a_pod_on_its_node() {
    let cluster = Cluster::new();
    let ca = cluster.serve().await;
    let caller = Caller::new(&cluster, ca.address).await;
    for (agent, account) in [(1, "sleep"), (2, "httpbin")] {
        let answer = caller.ask(&Ask::for_pod(&cluster.agent(agent), &id("full", account))).await;
        answer.verify(&cluster.roots(), cluster.now()).unwrap();
        let chain = answer.certificates();
        assert_eq!(chain.len(), 2, "the leaf, and the root");
        let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
        let names = &leaf.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert_eq!(names[..], [GeneralName::URI(&id("full", account))]);
        let (_, root) = X509Certificate::from_der(&chain[1]).unwrap();
        assert!(root.is_ca() && leaf.issuer() == root.subject());
    }
    assert!(cluster.api.refused().is_empty(), "{:?}", cluster.api.refused());
}

#[tokio::test]
async fn the_certificate_takes_the_key_of_the_request_and_nothing_else() {
    let cluster = Cluster::new();
    let ca = cluster.serve().await;
    let key = KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "kubernetes-admin");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.subject_alt_names =
        vec![SanType::DnsName("kubernetes.default.svc".try_into().unwrap()), uri(&id("full", "sleep"))];
    let greedy = params.serialize_request(&key).unwrap().pem().unwrap();
    let ask = Ask { csr: greedy, ..Ask::for_pod(&cluster.agent(1), &id("full", "sleep")) };
    let answer = Caller::new(&cluster, ca.address).await.ask(&ask).await;
    let chain = answer.certificates();
    let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
    assert_eq!(leaf.public_key().raw, key.subject_public_key_info());
    assert_eq!(leaf.subject().iter().count(), 0);
    assert!(!leaf.is_ca());
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(names.critical);
    assert_eq!(names.value.general_names[..], [GeneralName::URI(&id("full", "sleep"))]);
    let usage = leaf.key_usage().unwrap().unwrap().value;
    assert_eq!(usage.flags, 1, "digitalSignature is bit 0");
}

#[tokio::test]
async fn another_service_account_gets_its_own_identity() {
    let cluster = Cluster::new();
    let ca = cluster.serve().await;
    let caller = Caller::new(&cluster, ca.address).await;
    let token = cluster.token(&TokenSpec::new("full", "gateway").audience(AUDIENCE));
    let own = id("full", "gateway");
    for ask in [Ask::for_itself(&token, &own), Ask::for_pod(&token, &own)] {
        caller.ask(&ask).await.verify(&cluster.roots(), cluster.now()).unwrap();
    }
    let other = caller.ask(&Ask::for_pod(&token, &id("full", "sleep"))).await;
    other.refused(Code::PermissionDenied, "full/gateway may ask for its own identity only");
}

#[tokio::test]
async fn the_node_comes_from_the_agents_pod_where_tokens_do_not_name_it() {
    let cluster = Cluster::new();
    cluster.api.name_nodes_of_tokens(false);
    let ca = cluster.serve().await;
    let caller = Caller::new(&cluster, ca.address).await;
    let token = cluster.agent(1);
    caller.ask(&Ask::for_pod(&token, &id("full", "sleep"))).await.certificates();
    let other = caller.ask(&Ask::for_pod(&token, &id("full", "httpbin"))).await;
    other.refused(Code::PermissionDenied, "runs on node node-1");
    let unbound = cluster.token(&agent_token());
    let answer = caller.ask(&Ask::for_pod(&unbound, &id("full", "sleep"))).await;
    answer.refused(Code::PermissionDenied, "does not say which node");
}

#[tokio::test]
async fn a_pod_that_has_just_come_is_found_and_one_that_has_ended_is_not() {
    let cluster = Cluster::new();
    let ca = cluster.serve().await;
    let caller = Caller::new(&cluster, ca.address).await;
    let ask = Ask::for_pod(&cluster.agent(1), &id("full", "late"));
    caller.ask(&ask).await.refused(Code::PermissionDenied, "no pod with identity");
    cluster.run("full", "late", "late", "node-1");
    caller.ask(&ask).await.certificates();
    for (pod, phase) in [("job-1", "Succeeded"), ("job-2", "Failed")] {
        cluster.end("full", pod, pod, "node-1", phase);
        let ended = caller.ask(&Ask::for_pod(&cluster.agent(1), &id("full", pod))).await;
        ended.refused(Code::PermissionDenied, "no pod with identity");
    }
}

#[tokio::test]
async fn many_identities_of_one_node_are_answered_by_few_questions() {
    let cluster = Cluster::new();
    for number in 0..50 {
        let name = format!("app-{number}");
        cluster.run("full", &name, &name, "node-1");
    }
    let ca = cluster.serve().await;
    let caller = Caller::new(&cluster, ca.address).await;
    let token = cluster.agent(1);
    let asks: Vec<_> =
        (0..50).map(|number| Ask::for_pod(&token, &id("full", &format!("app-{number}")))).collect();
    caller.ask(&asks[0]).await.certificates();
    for answer in futures::future::join_all(asks.iter().map(|ask| caller.ask(ask))).await {
        answer.certificates();
    }
    let count = |resource: &str, verb: Verb| {
        let requests = cluster.api.requests();
        requests.iter().filter(|request| request.resource == resource && request.verb == verb).count()
    };
    assert_eq!(count("tokenreviews", Verb::Create), 1);
    assert!(count("pods", Verb::List) < 10, "{} lists", count("pods", Verb::List));
}

#[tokio::test]
async fn a_certificate_lives_as_long_as_was_asked_for_within_bounds() {
    let cluster = Cluster::new();
    let ca = cluster.serve().await;
    let caller = Caller::new(&cluster, ca.address).await;
    let ask = Ask::for_pod(&cluster.agent(1), &id("full", "sleep"));
    let cases = [
        (60, Duration::from_mins(1)),
        (0, DAY),
        (-1, DAY),
        (i64::MIN, DAY),
        (i64::MAX, DAY),
        (365 * 86400, DAY),
    ];
    for (seconds, expected) in cases {
        let answer = caller.ask(&Ask { seconds, ..ask.clone() }).await;
        let lifetime = answer.lifetime(&cluster.clock);
        assert!(expected.abs_diff(lifetime) < Duration::from_secs(2), "{seconds}: {lifetime:?}");
    }
}

#[tokio::test]
async fn several_audiences_may_be_served() {
    let cluster = Cluster::new();
    let audiences = vec![AUDIENCE.to_owned(), "istio-ca".to_owned()];
    let ca = cluster.start(culvert::ca::CaOptions { audiences, ..cluster.options() }).await.unwrap();
    let token = cluster.token(&TokenSpec::new(SYSTEM, "ztunnel").audience("istio-ca"));
    let caller = Caller::new(&cluster, ca.address).await;
    let answer = caller.ask(&Ask::for_itself(&token, &id(SYSTEM, "ztunnel"))).await;
    answer.certificates();
    let csr = csr(&KeyPair::generate().unwrap(), vec![uri(&id(SYSTEM, "other"))]);
    let other = caller.ask(&Ask { csr, ..Ask::for_itself(&token, "") }).await;
    other.refused(Code::InvalidArgument, "expected the URI");
}
