//! What those can do who have proven nothing yet.

use std::time::Duration;

use culvert_policy::Reason;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{
    super::{enrolled::HANDSHAKES, records},
    fixture::{Mesh, gist, id, identities, many_files, ping, soon},
};
use crate::observe::Direction::Inbound;

#[tokio::test]
async fn plaintext_at_the_tunnels_port_is_refused() {
    let mesh = Mesh::new();
    let mut stranger = TcpStream::connect(mesh.hbone).await.unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    // An alert, or a reset.
    let _ = soon(stranger.read_to_end(&mut Vec::new())).await;
    let line = mesh.server.line().await;
    assert_eq!(gist(&line), (Inbound, "failed", Reason::HandshakeFailed));
    assert_eq!(line.source, stranger.local_addr().unwrap_or(line.source));
}

#[tokio::test]
async fn a_handshake_without_end_ends_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (tcp, _) = listener.accept().await.unwrap();
    let workload = identities().ready_workload(&id("httpbin"));
    let secured = soon(records::accept(workload.hbone_acceptor(), tcp, Duration::from_millis(1))).await;
    assert_eq!(secured.err().map(|failure| failure.reason), Some(Reason::Timeout));
}

#[tokio::test]
async fn a_crowd_of_strangers_leaves_open_streams_alone() {
    many_files();
    let mesh = Mesh::new();
    let (mut client, mut server) = mesh.pair().await;
    ping(&mut client, &mut server).await;
    let mut crowd = Vec::new();
    while crowd.len() < HANDSHAKES {
        crowd.push(soon(TcpStream::connect(mesh.hbone)).await.unwrap());
    }
    let mut late = soon(TcpStream::connect(mesh.hbone)).await.unwrap();
    assert_eq!(soon(late.read(&mut [0; 1])).await.unwrap(), 0);
    assert_eq!(gist(&mesh.server.line().await), (Inbound, "failed", Reason::OutOfResources));
    ping(&mut client, &mut server).await;

    crowd.clear();
    assert_eq!(mesh.server.line().await.direction, Inbound);
    let tunnel = super::raw::Tunnel::open(&mesh).await;
    drop(tunnel);
}
