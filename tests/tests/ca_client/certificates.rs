//! Pods of two nodes, whose agents have their certificates from one authority.

use crate::cluster::{Cluster, HOUR, eventually, exchange, ready};

#[tokio::test]
async fn pods_of_two_nodes_know_each_other() {
    let cluster = Cluster::start().await;
    let (one, two) = (cluster.agent(1), cluster.agent(2));
    let (sleep, httpbin) = (one.workload("sleep"), two.workload("httpbin"));
    ready(&sleep).await;
    ready(&httpbin).await;
    exchange(&sleep, &httpbin).await.unwrap();
    exchange(&httpbin, &sleep).await.unwrap();
}

#[tokio::test]
async fn a_pod_gets_its_certificate_when_it_comes_to_the_node_and_not_before() {
    let cluster = Cluster::start().await;
    let agent = cluster.agent(1);
    let late = agent.workload("httpbin");
    let error = agent.error().await;
    assert!(error.contains("refused a certificate for spiffe://cluster.local/ns/full/sa/httpbin"), "{error}");
    assert!(late.certificate().is_none());
    cluster.run("httpbin-2", "httpbin", "node-1");
    cluster.advance(HOUR / 10);
    agent.wake();
    ready(&late).await;
    assert_eq!(agent.identities.report()[0].error, None);
}

#[tokio::test]
async fn certificates_serve_while_the_authority_is_away() {
    let mut cluster = Cluster::start().await;
    let agent = cluster.agent(1);
    let sleep = agent.workload("sleep");
    ready(&sleep).await;
    cluster.end_authority().await;
    cluster.run("new", "new", "node-1");
    let new = agent.workload("new");
    let error = eventually("an outage", || agent.identities.report().remove(0).error).await;
    assert!(error.starts_with("cannot reach the certificate authority at 127.0.0.1:"), "{error}");
    assert!(new.valid_certificate().is_none());
    exchange(&sleep, &sleep).await.unwrap();
    cluster.restart_authority().await;
    cluster.advance(HOUR / 10);
    agent.wake();
    ready(&new).await;
    exchange(&sleep, &new).await.unwrap();
}
