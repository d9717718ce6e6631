//! What is not carried, and what both ends write down about it.

use std::{net::SocketAddr, sync::atomic::Ordering};

use culvert_policy::Reason;
use http::{Method, StatusCode};

use super::{
    fixture::{Mesh, gist, id, identities, ping, reset, soon},
    raw,
};
use crate::{
    cluster::Verdict,
    observe::Direction::{Inbound, Outbound},
};

#[tokio::test]
async fn a_connection_that_the_kernel_did_not_send_is_reset() {
    let mesh = Mesh::new();
    mesh.client.refuses_strangers().await;
    assert_eq!(gist(&mesh.client.line().await), (Outbound, "refused", Reason::NoOrigin));
}

#[tokio::test]
async fn a_refusal_by_the_rules_is_a_reset() {
    let mesh = Mesh::new();
    let (_listener, address) = mesh.app().await;
    mesh.refuses(Verdict::Refuse, address).await;
    assert_eq!(mesh.client.line().await.outcome.as_str(), "refused");
}

#[tokio::test]
async fn a_server_that_is_somebody_else_gets_no_byte() {
    let mesh = Mesh::new();
    let (listener, address) = mesh.app().await;
    mesh.refuses(Verdict::Hbone(id("reviews")), address).await;
    let line = mesh.client.line().await;
    assert_eq!(gist(&line), (Outbound, "refused", Reason::WrongIdentity));
    assert_eq!(line.bytes_sent, 0);
    assert_eq!(gist(&mesh.server.line().await), (Inbound, "refused", Reason::RefusedByPeer));
    drop(listener);
}

#[tokio::test]
async fn a_client_whose_certificate_is_refused_says_so() {
    let mesh = Mesh::new();
    let foreign = identities().ready_workload(&id("sleep"));
    assert_eq!(raw::refusal(&mesh, &foreign).await, Reason::RefusedByPeer);
    assert_eq!(gist(&mesh.server.line().await), (Inbound, "refused", Reason::ForeignCa));
}

#[tokio::test]
async fn authorities_that_do_not_know_each_other_carry_nothing() {
    let mesh = Mesh::with([127, 0, 0, 2].into(), [127, 0, 0, 3].into(), &identities(), identities());
    let (_listener, address) = mesh.app().await;
    mesh.refuses(Verdict::Hbone(id("httpbin")), address).await;
    assert_eq!(gist(&mesh.client.line().await), (Outbound, "refused", Reason::ForeignCa));
    assert_eq!(gist(&mesh.server.line().await), (Inbound, "refused", Reason::RefusedByPeer));
}

#[tokio::test]
async fn an_unreachable_peer_is_never_spoken_to_in_plaintext() {
    let mesh = Mesh::new();
    let somewhere: SocketAddr = "127.0.0.4:80".parse().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.4:0").await.unwrap();
    let address = SocketAddr::new(somewhere.ip(), listener.local_addr().unwrap().port());
    mesh.refuses(Verdict::Hbone(id("httpbin")), address).await;
    assert_eq!(gist(&mesh.client.line().await), (Outbound, "failed", Reason::PeerUnreachable));
}

#[tokio::test]
async fn an_application_that_does_not_listen_is_told_from_a_broken_tunnel() {
    let mesh = Mesh::new();
    let (listener, address) = mesh.app().await;
    drop(listener);
    mesh.refuses(Verdict::Hbone(id("httpbin")), address).await;
    assert_eq!(gist(&mesh.client.line().await), (Outbound, "failed", Reason::PeerAppUnreachable));
    assert_eq!(gist(&mesh.server.line().await), (Inbound, "failed", Reason::AppUnreachable));
}

#[tokio::test]
async fn a_denied_port_is_refused_at_both_ends() {
    let mesh = Mesh::new();
    mesh.server.world.admit(Err(Reason::ModeDisable));
    let (_listener, address) = mesh.app().await;
    mesh.refuses(Verdict::Hbone(id("httpbin")), address).await;
    assert_eq!(gist(&mesh.client.line().await), (Outbound, "refused", Reason::PeerDenied));
    assert_eq!(gist(&mesh.server.line().await), (Inbound, "refused", Reason::ModeDisable));
    assert_eq!(mesh.server.world.announced.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn only_applications_of_the_pod_are_targets() {
    let mesh = Mesh::new();
    let (_listener, app) = mesh.app().await;
    let tunnel = raw::Tunnel::open(&mesh).await;
    let own = mesh.hbone.to_string();
    for (method, target, status, reason) in [
        (Method::CONNECT, "127.0.0.4:80", StatusCode::SERVICE_UNAVAILABLE, Reason::TargetForbidden),
        (Method::CONNECT, "[::1]:80", StatusCode::SERVICE_UNAVAILABLE, Reason::TargetForbidden),
        (Method::CONNECT, "[::ffff:127.0.0.1]:80", StatusCode::SERVICE_UNAVAILABLE, Reason::TargetForbidden),
        (Method::CONNECT, own.as_str(), StatusCode::SERVICE_UNAVAILABLE, Reason::TargetForbidden),
        (Method::CONNECT, "10.0.0.1:80", StatusCode::BAD_REQUEST, Reason::TargetNotThisPod),
        (Method::CONNECT, "0.0.0.0:80", StatusCode::BAD_REQUEST, Reason::TargetNotThisPod),
        (Method::CONNECT, "httpbin.full:80", StatusCode::BAD_REQUEST, Reason::BadRequest),
        (Method::CONNECT, "127.0.0.3", StatusCode::BAD_REQUEST, Reason::BadRequest),
        (Method::GET, "http://127.0.0.3:80/", StatusCode::BAD_REQUEST, Reason::BadRequest),
    ] {
        assert_eq!(tunnel.ask(method, target, None).await, status, "{target}");
        assert_eq!(gist(&mesh.server.line().await), (Inbound, "refused", reason), "{target}");
    }
    assert_eq!(tunnel.ask(Method::CONNECT, &app.to_string(), None).await, StatusCode::OK);
}

#[tokio::test]
async fn a_client_cannot_pass_for_another_pod() {
    let mesh = Mesh::new();
    let (_listener, app) = mesh.app().await;
    let tunnel = raw::Tunnel::open(&mesh).await;
    let mut streams = Vec::new();
    for (claim, believed) in
        [("127.0.0.9:77", tunnel.local), ("127.0.0.2:77", "127.0.0.2:77".parse().unwrap())]
    {
        let forwarded = format!("for=\"{claim}\"");
        streams.push(tunnel.stream(&app.to_string(), &forwarded).await);
        let clients = mesh.server.world.clients.lock().unwrap();
        assert!(clients.values().any(|client| *client == believed), "{claim} became {clients:?}");
    }
}

#[tokio::test]
async fn an_open_stream_ends_when_policy_forbids_it() {
    let mesh = Mesh::new();
    let (mut client, mut server) = mesh.pair().await;
    ping(&mut client, &mut server).await;
    mesh.server.world.admit(Ok(Reason::PeerHbone));
    ping(&mut client, &mut server).await;
    mesh.server.world.admit(Err(Reason::ModeDisable));
    soon(reset(&mut client)).await;
    reset(&mut server).await;
    let line = mesh.server.line().await;
    assert_eq!(gist(&line), (Inbound, "refused", Reason::ModeDisable));
    assert_eq!((line.bytes_sent, line.bytes_received), (8, 8));
}
