//! What one caller, or a stranger, cannot take from the others.

use std::time::Duration;

use culvert::ca::CaOptions;
use futures::future::join_all;
use tokio::net::TcpStream;
use tonic::Code;

use crate::{
    caller::{Ask, Caller, id, tls},
    cluster::{Cluster, eventually},
};

const SLEEP: (u32, &str) = (1, "sleep");
const HTTPBIN: (u32, &str) = (2, "httpbin");

fn ask(cluster: &Cluster, (agent, account): (u32, &str)) -> Ask {
    Ask::for_pod(&cluster.agent(agent), &id("full", account))
}

#[tokio::test]
async fn a_caller_that_asks_too_often_is_told_when_to_come_back() {
    let cluster = Cluster::new();
    let refill = Duration::from_hours(1);
    let ca = cluster.start(CaOptions { burst: 3, refill, ..cluster.options() }).await.unwrap();
    let caller = Caller::new(&cluster, ca.address).await;
    let busy = ask(&cluster, SLEEP);
    for _ in 0..3 {
        caller.ask(&busy).await.certificates();
    }
    let refused = caller.ask(&busy).await;
    refused.refused(Code::ResourceExhausted, "too many requests");
    let pushback = Duration::from_millis(refused.pushback.unwrap());
    assert!(pushback <= refill && pushback > refill / 2, "{pushback:?}");
    let another_token_of_the_same = ask(&cluster, SLEEP);
    caller.ask(&another_token_of_the_same).await.refused(Code::ResourceExhausted, "too many requests");
    caller.ask(&ask(&cluster, HTTPBIN)).await.certificates();
}

#[tokio::test]
async fn bad_tokens_are_not_tried_for_ever() {
    let cluster = Cluster::new();
    let ca = cluster.serve().await;
    let caller = Caller::new(&cluster, ca.address).await;
    let known = ask(&cluster, SLEEP);
    caller.ask(&known).await.certificates();
    let guesses: Vec<_> =
        (0..200).map(|number| Ask::for_pod(&format!("guess-{number}"), &id("full", "sleep"))).collect();
    let answers = join_all(guesses.iter().map(|guess| caller.ask(guess))).await;
    let limited = answers.iter().filter(|answer| answer.code == Code::ResourceExhausted).count();
    assert!(answers.iter().all(|answer| answer.chain.is_empty()));
    assert!(limited > 100, "only {limited} of {} guesses were limited", answers.len());
    let reviews = cluster.api.requests().iter().filter(|it| it.resource == "tokenreviews").count();
    assert!(reviews < 100, "{reviews} reviews");
    caller.ask(&known).await.certificates();
}

#[tokio::test]
async fn strangers_who_say_nothing_block_nobody() {
    let cluster = Cluster::new();
    let ca = cluster.serve().await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(ca.address).await.unwrap());
    }
    let mut handshaken = Vec::new();
    for _ in 0..20 {
        handshaken.push(tls(&cluster, ca.address).await.unwrap());
    }
    let caller = Caller::new(&cluster, ca.address).await;
    caller.ask(&ask(&cluster, SLEEP)).await.certificates();
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_no_more() {
    let cluster = Cluster::new();
    let ca = cluster.serve().await;
    let mut connections = Vec::new();
    for _ in 0..64 {
        connections.push(tls(&cluster, ca.address).await.unwrap());
    }
    tls(&cluster, ca.address).await.unwrap_err();
    connections.pop();
    eventually("a place is free", async || tls(&cluster, ca.address).await.ok()).await;
}

#[tokio::test]
async fn it_ends_when_told_to_and_open_requests_end_first() {
    let cluster = Cluster::new();
    let ca = cluster.serve().await;
    let address = ca.address;
    let caller = Caller::new(&cluster, address).await;
    let mark = cluster.api.mark();
    let hold = cluster.api.hold("tokenreviews");
    let ask = ask(&cluster, SLEEP);
    let open = caller.ask(&ask);
    let end = async {
        cluster.api.requested(mark, |request| request.resource == "tokenreviews").await.unwrap();
        let stopping = ca.stop();
        drop(hold);
        stopping.await;
    };
    let (answer, ()) = tokio::join!(open, end);
    answer.certificates();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}
