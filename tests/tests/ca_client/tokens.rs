//! Clocks that do not agree about an agent's token.

use culvert::identity::Workload;

use crate::cluster::{Agent, Cluster, HOUR, exchange, ready};

const MINUTE: i64 = 60;

/// The agent's first try with a token that the API server does not accept yet, or any more. The authority must not have
/// seen it before: who was known a moment ago still is.
async fn refused(cluster: &Cluster, agent: &Agent, workload: &Workload) {
    cluster.advance(HOUR);
    agent.wake();
    let error = agent.error().await;
    assert!(error.contains("Unauthenticated") && error.contains("does not accept the token"), "{error}");
    exchange(workload, workload).await.expect("the certificate that there is still holds");
}

/// Another try, by the agent's own clock.
async fn accepted(cluster: &Cluster, agent: &Agent, workload: &Workload) {
    cluster.advance(HOUR / 10);
    agent.renewed(workload).await;
    assert_eq!(agent.identities.report()[0].error, None);
}

#[tokio::test]
async fn a_token_that_has_ended_by_the_api_servers_clock_is_read_anew() {
    let cluster = Cluster::start().await;
    let agent = cluster.agent(1);
    let sleep = agent.workload("sleep");
    ready(&sleep).await;
    cluster.mount_token(1);
    cluster.api.set_clock_ahead(90 * MINUTE);
    refused(&cluster, &agent, &sleep).await;
    cluster.mount_token(1);
    accepted(&cluster, &agent, &sleep).await;
}

#[tokio::test]
async fn a_token_that_is_not_valid_yet_is_tried_again_when_it_is() {
    let cluster = Cluster::start().await;
    let agent = cluster.agent(1);
    let sleep = agent.workload("sleep");
    ready(&sleep).await;
    // One server of the API issued it, another whose clock is late reviews it.
    cluster.mount_token(1);
    cluster.api.set_clock_ahead(-10 * MINUTE);
    refused(&cluster, &agent, &sleep).await;
    cluster.api.set_clock_ahead(0);
    accepted(&cluster, &agent, &sleep).await;
}
