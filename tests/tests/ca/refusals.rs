//! Who and what is refused, and how.

use std::time::Duration;

use culvert_testbed::apiserver::TokenSpec;
use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256};
use tonic::Code;

use crate::{
    caller::{Ask, Caller, csr, id, uri},
    cluster::{AUDIENCE, Cluster, SYSTEM, agent_token},
};

#[tokio::test]
async fn an_agent_gets_no_identity_of_another_node() {
    let cluster = Cluster::new();
    let ca = cluster.serve().await;
    let caller = Caller::new(&cluster, ca.address).await;
    let token = cluster.agent(1);
    for other in [id("full", "httpbin"), id("kube-system", "default"), id("elsewhere", "sleep")] {
        let answer = caller.ask(&Ask::for_pod(&token, &other)).await;
        answer.refused(Code::PermissionDenied, &format!("no pod with identity {other} runs on node node-1"));
    }
    let foreign = "spiffe://elsewhere.example/ns/full/sa/sleep";
    let answer = caller.ask(&Ask::for_pod(&token, foreign)).await;
    answer.refused(Code::PermissionDenied, "expected an identity of trust domain cluster.local");
}

#[tokio::test]
async fn only_a_token_for_this_authority_counts() {
    let cluster = Cluster::new();
    let ca = cluster.serve().await;
    let caller = Caller::new(&cluster, ca.address).await;
    let agent = agent_token().bound_to("agent-1");
    let bad = [
        ("garbage", "garbage".to_owned()),
        ("for the API server", cluster.token(&TokenSpec::new(SYSTEM, "culvert-agent").bound_to("agent-1"))),
        ("for somebody else", cluster.token(&agent.clone().audience("vault"))),
        ("expired", cluster.token(&agent.clone().lifetime(Duration::ZERO))),
    ];
    for (what, token) in bad {
        let answer = caller.ask(&Ask::for_pod(&token, &id("full", "sleep"))).await;
        assert_eq!(answer.code, Code::Unauthenticated, "{what}: {}", answer.message);
        assert!(!answer.message.contains(&token), "{what}: the token is repeated");
    }
    let none = Ask { token: None, ..Ask::for_pod("", &id("full", "sleep")) };
    caller.ask(&none).await.refused(Code::Unauthenticated, "authorization: Bearer");
    let admin = Ask::for_pod(&cluster.api.admin_token(), &id("full", "sleep"));
    caller.ask(&admin).await.refused(Code::PermissionDenied, "expected the token of a service account");
}

#[tokio::test]
async fn a_token_counts_by_the_api_servers_clock() {
    let cluster = Cluster::new();
    let ca = cluster.serve().await;
    let caller = Caller::new(&cluster, ca.address).await;
    let ten_minutes = agent_token().bound_to("agent-1").lifetime(Duration::from_mins(10));
    let (first, second) = (cluster.token(&ten_minutes), cluster.token(&ten_minutes));
    // The authority's own clock is wrong, which is no reason to refuse.
    cluster.clock.advance(Duration::from_hours(1));
    caller.ask(&Ask::for_pod(&first, &id("full", "sleep"))).await.certificates();
    cluster.api.set_clock_ahead(11 * 60);
    let answer = caller.ask(&Ask::for_pod(&second, &id("full", "sleep"))).await;
    answer.refused(Code::Unauthenticated, "does not accept the token");
}

#[tokio::test]
async fn a_token_ends_with_its_pod() {
    let cluster = Cluster::new();
    let ca = cluster.serve().await;
    let caller = Caller::new(&cluster, ca.address).await;
    let token = cluster.agent(1);
    cluster.api.delete("pods", SYSTEM, "agent-1").unwrap();
    cluster.run(SYSTEM, "agent-1", "culvert-agent", "node-1");
    let answer = caller.ask(&Ask::for_pod(&token, &id("full", "sleep"))).await;
    answer.refused(Code::Unauthenticated, "does not accept the token");
}

#[tokio::test]
async fn a_request_that_cannot_be_signed_says_why() {
    let cluster = Cluster::new();
    let ca = cluster.serve().await;
    let caller = Caller::new(&cluster, ca.address).await;
    let sleep = id("full", "sleep");
    let ask = Ask::for_pod(&cluster.agent(1), &sleep);
    let p256 = KeyPair::generate().unwrap();
    let keyed = |algorithm| csr(&KeyPair::generate_for(algorithm).unwrap(), vec![uri(&sleep)]);
    let long = format!("{}{}", "-".repeat(20_000), ask.csr);
    let cases = [
        (String::new(), "expected one CERTIFICATE REQUEST in PEM"),
        (ask.csr.replace("REQUEST", "WISH"), "expected one CERTIFICATE REQUEST in PEM"),
        (csr(&p256, vec![]), "expected exactly one URI among the names, found 0"),
        (csr(&p256, vec![uri(&sleep), uri(&sleep)]), "expected exactly one URI among the names, found 2"),
        (csr(&p256, vec![uri(&id("full", "httpbin"))]), "expected the URI"),
        (keyed(&PKCS_ECDSA_P384_SHA384), "expected an ECDSA P-256 key"),
        (keyed(&PKCS_RSA_SHA256), "expected an ECDSA P-256 key"),
        (long, "expected a request of at most 16384 bytes"),
    ];
    for (csr, why) in cases {
        caller.ask(&Ask { csr, ..ask.clone() }).await.refused(Code::InvalidArgument, why);
    }
    let nobody = Ask { impersonating: Some("sleep".to_owned()), ..ask.clone() };
    caller.ask(&nobody).await.refused(Code::InvalidArgument, "ImpersonatedIdentity");
    caller.ask(&ask).await.certificates();
}

#[tokio::test]
async fn what_is_no_message_of_the_protocol_harms_nobody() {
    let cluster = Cluster::new();
    let ca = cluster.serve().await;
    let caller = Caller::new(&cluster, ca.address).await;
    let token = cluster.agent(1);
    let garbage = caller.send(Some(&token), vec![0xff; 100]).await;
    assert_ne!(garbage.code, Code::Ok);
    let megabyte = Ask { csr: "A".repeat(1 << 20), ..Ask::for_pod(&token, &id("full", "sleep")) };
    let huge = caller.ask(&megabyte).await;
    assert_eq!(huge.code, Code::OutOfRange, "{}", huge.message);
    let again = Caller::new(&cluster, ca.address).await;
    again.ask(&Ask::for_pod(&token, &id("full", "sleep"))).await.certificates();
}

#[tokio::test]
async fn an_agents_name_in_another_namespace_is_no_agents() {
    let cluster = Cluster::new();
    let ca = cluster.serve().await;
    let caller = Caller::new(&cluster, ca.address).await;
    let impostor = TokenSpec::new("full", "culvert-agent").audience(AUDIENCE);
    cluster.run("full", "impostor", "culvert-agent", "node-1");
    let token = cluster.token(&impostor.bound_to("impostor"));
    let answer = caller.ask(&Ask::for_pod(&token, &id("full", "sleep"))).await;
    answer.refused(Code::PermissionDenied, "full/culvert-agent may ask for its own identity only");
}
