//! How serving ends.

use std::{io::ErrorKind, time::Duration};

use culvert_policy::Reason;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::fixture::{Mesh, gist, ping, pod, reset, soon};
use crate::{
    observe::Direction::{Inbound, Outbound},
    tunnel::Drained,
};

const LONG: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_drain_lets_a_stream_finish() {
    let mesh = Mesh::new();
    let (mut client, mut server) = mesh.pair().await;
    ping(&mut client, &mut server).await;
    let Mesh { client: sleep, server: httpbin, hbone, .. } = mesh;
    let drain = tokio::spawn(httpbin.workers.drain(LONG));
    soon(async {
        // Until the listener is gone.
        while TcpStream::connect(hbone).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    ping(&mut client, &mut server).await;
    // The tunnel still stands, but takes no more streams.
    sleep.refuses(server.local_addr().unwrap()).await;
    assert_eq!(sleep.line().await.reason, Reason::PeerUnreachable);
    assert!(!drain.is_finished());
    soon(client.write_all(b"last words")).await.unwrap();
    soon(client.shutdown()).await.unwrap();
    let mut words = String::new();
    soon(server.read_to_string(&mut words)).await.unwrap();
    drop(server);
    assert_eq!(words, "last words");
    assert_eq!(soon(drain).await.unwrap(), Drained { cut: 0 });
    assert_eq!(soon(client.read(&mut [0; 1])).await.unwrap(), 0);
    assert_eq!(soon(sleep.line()).await.outcome.as_str(), "ok");
}

#[tokio::test]
async fn a_drain_cuts_what_is_left_at_the_deadline() {
    let mesh = Mesh::new();
    let (mut client, mut server) = mesh.pair().await;
    ping(&mut client, &mut server).await;
    let Mesh { client: sleep, server: httpbin, .. } = mesh;
    assert_eq!(soon(httpbin.workers.drain(Duration::ZERO)).await, Drained { cut: 1 });
    reset(&mut client).await;
    reset(&mut server).await;
    drop(sleep);
}

#[tokio::test]
async fn a_drain_of_the_client_cuts_its_own() {
    let mesh = Mesh::new();
    let (mut client, mut server) = mesh.pair().await;
    ping(&mut client, &mut server).await;
    let Mesh { client: sleep, server: httpbin, .. } = mesh;
    assert_eq!(soon(sleep.workers.drain(Duration::ZERO)).await, Drained { cut: 1 });
    reset(&mut client).await;
    reset(&mut server).await;
    drop(httpbin);
}

#[tokio::test]
async fn a_pod_that_is_removed_is_cut_off() {
    let mesh = Mesh::new();
    let (mut client, mut server) = mesh.pair().await;
    ping(&mut client, &mut server).await;
    soon(mesh.server.workers.remove(&pod("httpbin"))).await;
    reset(&mut client).await;
    reset(&mut server).await;
    let line = mesh.server.line().await;
    assert_eq!(gist(&line), (Inbound, "failed", Reason::ShuttingDown));
    assert_eq!((line.bytes_sent, line.bytes_received), (4, 4));
    assert_eq!(mesh.client.line().await.direction, Outbound);
    let gone = soon(TcpStream::connect(mesh.hbone)).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::ConnectionRefused);
    mesh.server.no_more_lines().await;
}
