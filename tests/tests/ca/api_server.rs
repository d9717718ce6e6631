//! The API server goes away, or says no.

use culvert_testbed::apiserver::{Failure, Target};
use tonic::Code;

use crate::{
    caller::{Ask, Caller, id},
    cluster::{CONFIG_MAP, Cluster, SECRET, SYSTEM, eventually},
};

#[tokio::test]
async fn while_the_api_server_is_away_callers_are_told_to_come_back() {
    let cluster = Cluster::new();
    let ca = cluster.serve().await;
    let caller = Caller::new(&cluster, ca.address).await;
    let ask = Ask::for_pod(&cluster.agent(1), &id("full", "sleep"));
    cluster.api.go_away().unwrap();
    caller.ask(&ask).await.refused(Code::Unavailable, "the API server cannot be asked");
    cluster.api.come_back().unwrap();
    caller.ask(&ask).await.certificates();
    cluster.api.fail_next(1, "pods", Failure::InternalError);
    let other = Ask::for_pod(&cluster.agent(2), &id("full", "httpbin"));
    caller.ask(&other).await.refused(Code::Unavailable, "the API server cannot be asked");
    caller.ask(&other).await.certificates();
}

#[tokio::test]
async fn it_waits_for_an_api_server_and_serves_then() {
    let cluster = Cluster::new();
    cluster.api.fail_next(5, Target::everything(), Failure::Unavailable);
    let ca = cluster.serve().await;
    let caller = Caller::new(&cluster, ca.address).await;
    caller.ask(&Ask::for_pod(&cluster.agent(1), &id("full", "sleep"))).await.certificates();
}

#[tokio::test]
async fn roots_that_are_deleted_are_put_back() {
    let cluster = Cluster::new();
    let _ca = cluster.serve().await;
    let (secret, roots) = (cluster.secret(), cluster.roots());
    cluster.api.delete("secrets", SYSTEM, SECRET).unwrap();
    cluster.api.delete("configmaps", SYSTEM, CONFIG_MAP).unwrap();
    eventually("both are back", async || {
        cluster.api.get("secrets", SYSTEM, SECRET).and(cluster.api.get("configmaps", SYSTEM, CONFIG_MAP))
    })
    .await;
    assert_eq!((cluster.secret(), cluster.roots()), (secret, roots));
}

#[tokio::test]
async fn a_bundle_that_was_tampered_with_is_put_right() {
    let cluster = Cluster::new();
    let _ca = cluster.serve().await;
    let roots = cluster.roots();
    cluster
        .api
        .edit("configmaps", SYSTEM, CONFIG_MAP, |it| it["data"]["root-cert.pem"] = "none".into())
        .unwrap();
    eventually("the roots are published", async || (cluster.roots() == roots).then_some(())).await;
}
