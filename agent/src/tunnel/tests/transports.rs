//! The transports besides HBONE.

use culvert_policy::{Reason, Transport};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::fixture::{Mesh, abort, gist, id, ping, reset, soon};
use crate::{cluster::Verdict, identity::VerifiedPeer, observe::Direction::Outbound};

#[tokio::test]
async fn plaintext_goes_straight_to_the_endpoint() {
    let mesh = Mesh::new();
    let (listener, address) = mesh.app().await;
    let mut client = mesh.connect_by(Verdict::Plaintext, address).await;
    let (mut server, from) = soon(listener.accept()).await.unwrap();
    assert_eq!(from.ip(), client.local_addr().unwrap().ip());
    ping(&mut client, &mut server).await;
    soon(client.shutdown()).await.unwrap();
    soon(server.read_to_end(&mut Vec::new())).await.unwrap();
    drop(server);
    soon(client.read_to_end(&mut Vec::new())).await.unwrap();
    let line = mesh.client.line().await;
    assert_eq!((line.transport, line.bytes_sent, line.bytes_received), (Some(Transport::Plaintext), 4, 4));

    let client = mesh.connect_by(Verdict::Plaintext, address).await;
    let (mut server, _) = soon(listener.accept()).await.unwrap();
    abort(client);
    reset(&mut server).await;
}

/// A workload with a sidecar, `service_account` by name, accepts a connection.
async fn sidecar(mesh: &Mesh, listener: &TcpListener) -> std::io::Result<TlsStream<TcpStream>> {
    let workload = mesh.identities.ready_workload(&id("reviews"));
    let mut config = rustls::ServerConfig::clone(&workload.hbone_acceptor());
    config.alpn_protocols = vec![b"istio".to_vec()];
    let (tcp, _) = soon(listener.accept()).await.unwrap();
    soon(TlsAcceptor::from(std::sync::Arc::new(config)).accept(tcp)).await
}

#[tokio::test]
async fn a_sidecar_is_spoken_to_on_its_own_port() {
    let mesh = Mesh::new();
    let (listener, address) = mesh.app().await;
    let mut client = mesh.connect_by(Verdict::Sidecar(id("reviews")), address).await;
    let mut server = sidecar(&mesh, &listener).await.unwrap();
    assert_eq!(VerifiedPeer::of_client(server.get_ref().1).unwrap().id(), &id("sleep"));

    let (mut question, mut answer) = (String::new(), String::new());
    soon(client.write_all(b"question")).await.unwrap();
    soon(client.shutdown()).await.unwrap();
    soon(server.read_to_string(&mut question)).await.unwrap();
    soon(server.write_all(b"answer")).await.unwrap();
    soon(server.shutdown()).await.unwrap();
    soon(client.read_to_string(&mut answer)).await.unwrap();
    assert_eq!((question.as_str(), answer.as_str()), ("question", "answer"));

    let line = mesh.client.line().await;
    assert_eq!(gist(&line), (Outbound, "ok", Reason::PeerHbone));
    assert_eq!((line.transport, line.peer_identity), (Some(Transport::Sidecar), Some(id("reviews"))));
    assert_eq!((line.bytes_sent, line.bytes_received), (8, 6));
}

#[tokio::test]
async fn a_sidecar_that_is_somebody_else_gets_no_byte() {
    let mesh = Mesh::new();
    let (listener, address) = mesh.app().await;
    let impostor = sidecar(&mesh, &listener);
    let (accepted, ()) = tokio::join!(impostor, mesh.refuses(Verdict::Sidecar(id("ratings")), address));
    assert!(accepted.is_err());
    assert_eq!(gist(&mesh.client.line().await), (Outbound, "refused", Reason::WrongIdentity));
}

#[tokio::test]
async fn a_stream_of_a_sidecar_that_is_cut_short_is_a_reset() {
    let mesh = Mesh::new();
    let (listener, address) = mesh.app().await;
    let mut client = mesh.connect_by(Verdict::Sidecar(id("reviews")), address).await;
    let server = sidecar(&mesh, &listener).await.unwrap();
    // A FIN without a close_notify: anybody on the way can send it.
    let (tcp, _) = server.into_inner();
    drop(tcp);
    reset(&mut client).await;
}
