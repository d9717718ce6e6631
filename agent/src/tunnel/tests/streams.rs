//! What applications see of each other.

use std::net::Ipv6Addr;

use culvert_policy::{Reason, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};

use super::fixture::{Mesh, abort, echo, gist, id, ping, pod, reset, soon};
use crate::observe::Direction::{Inbound, Outbound};

#[tokio::test]
async fn a_round_trip_is_recorded_at_both_ends() {
    let mesh = Mesh::new();
    let (mut client, mut server) = mesh.pair().await;
    let origin = server.local_addr().unwrap();
    let source = client.local_addr().unwrap();
    let announced = mesh.server.world.clients.lock().unwrap()[&server.peer_addr().unwrap()];
    assert_eq!(announced, source);
    soon(client.write_all(b"question")).await.unwrap();
    let mut question = [0; 8];
    soon(server.read_exact(&mut question)).await.unwrap();
    soon(server.write_all(b"answer")).await.unwrap();
    drop(server);
    let mut answer = String::new();
    soon(client.read_to_string(&mut answer)).await.unwrap();
    drop(client);
    assert_eq!((&question, answer.as_str()), (b"question", "answer"));

    let line = mesh.client.line().await;
    assert_eq!(gist(&line), (Outbound, "ok", Reason::PeerHbone));
    assert_eq!((line.source, line.destination, line.endpoint), (source, Some(origin), Some(origin)));
    assert_eq!((line.pod, line.peer_pod), (pod("sleep"), Some(pod("httpbin"))));
    assert_eq!((line.transport, line.peer_identity), (Some(Transport::Hbone), Some(id("httpbin"))));
    assert_eq!((line.bytes_sent, line.bytes_received), (8, 6));

    let line = mesh.server.line().await;
    assert_eq!(gist(&line), (Inbound, "ok", Reason::PeerHbone));
    assert_eq!((line.source, line.destination, line.endpoint), (source, Some(origin), None));
    assert_eq!((line.pod, line.peer_pod), (pod("httpbin"), Some(pod("sleep"))));
    assert_eq!((line.transport, line.peer_identity), (Some(Transport::Hbone), Some(id("sleep"))));
    assert_eq!((line.bytes_sent, line.bytes_received), (6, 8));

    assert!(mesh.server.world.clients.lock().unwrap().is_empty(), "the client is withdrawn");
    mesh.client.no_more_lines().await;
    mesh.server.no_more_lines().await;
}

#[tokio::test]
async fn ipv6_is_no_different() {
    let mesh = Mesh::between(Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    let (mut client, mut server) = mesh.pair().await;
    ping(&mut client, &mut server).await;
    let announced = mesh.server.world.clients.lock().unwrap()[&server.peer_addr().unwrap()];
    assert_eq!(announced, client.local_addr().unwrap());
}

#[tokio::test]
async fn each_direction_ends_on_its_own() {
    let mesh = Mesh::new();
    let (mut client, mut server) = mesh.pair().await;
    soon(client.shutdown()).await.unwrap();
    assert_eq!(soon(server.read(&mut [0; 1])).await.unwrap(), 0);
    soon(server.write_all(b"still here")).await.unwrap();
    let mut buffer = [0; 10];
    soon(client.read_exact(&mut buffer)).await.unwrap();
    soon(server.shutdown()).await.unwrap();
    assert_eq!(soon(client.read(&mut [0; 1])).await.unwrap(), 0);

    let (mut client, mut server) = mesh.pair().await;
    soon(server.shutdown()).await.unwrap();
    assert_eq!(soon(client.read(&mut [0; 1])).await.unwrap(), 0);
    soon(client.write_all(b"still here")).await.unwrap();
    soon(server.read_exact(&mut buffer)).await.unwrap();
    assert_eq!(&buffer, b"still here");
}

#[tokio::test]
async fn the_server_may_speak_first() {
    let mesh = Mesh::new();
    let (mut client, mut server) = mesh.pair().await;
    soon(server.write_all(b"220 ready")).await.unwrap();
    let mut greeting = [0; 9];
    soon(client.read_exact(&mut greeting)).await.unwrap();
    assert_eq!(&greeting, b"220 ready");
}

#[tokio::test]
async fn a_reset_of_the_client_reaches_the_server() {
    let mesh = Mesh::new();
    let (mut client, mut server) = mesh.pair().await;
    ping(&mut client, &mut server).await;
    abort(client);
    reset(&mut server).await;
    assert_eq!(mesh.client.line().await.detail.as_deref(), Some("reset by the application"));
    assert_eq!(mesh.server.line().await.detail.as_deref(), Some("reset by the peer"));
}

#[tokio::test]
async fn a_reset_of_the_server_reaches_the_client() {
    let mesh = Mesh::new();
    let (mut client, mut server) = mesh.pair().await;
    ping(&mut client, &mut server).await;
    abort(server);
    reset(&mut client).await;
    assert_eq!(mesh.client.line().await.detail.as_deref(), Some("reset by the peer"));
    assert_eq!(mesh.server.line().await.detail.as_deref(), Some("reset by the application"));
}

#[tokio::test]
async fn a_reset_reaches_a_server_that_has_sent_all() {
    let mesh = Mesh::new();
    let (mut client, mut server) = mesh.pair().await;
    soon(server.shutdown()).await.unwrap();
    assert_eq!(soon(client.read(&mut [0; 1])).await.unwrap(), 0);
    abort(client);
    reset(&mut server).await;
}

#[tokio::test]
async fn a_reset_reaches_a_server_that_has_received_all() {
    let mesh = Mesh::new();
    let (mut client, mut server) = mesh.pair().await;
    soon(client.shutdown()).await.unwrap();
    assert_eq!(soon(server.read(&mut [0; 1])).await.unwrap(), 0);
    abort(client);
    soon(server.ready(Interest::ERROR)).await.unwrap();
}

/// A sequence that shows any byte that is lost, doubled or moved.
fn pattern(length: usize) -> Vec<u8> {
    (0u32..).flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes()).take(length).collect()
}

#[tokio::test]
async fn large_transfers_arrive_whole_in_both_directions_at_once() {
    const LENGTH: usize = 48 << 20;
    let mesh = Mesh::new();
    let (client, server) = mesh.pair().await;
    let (mut client_read, mut client_write) = client.into_split();
    let (mut server_read, mut server_write) = server.into_split();
    let data = pattern(LENGTH);
    let upload = async {
        client_write.write_all(&data).await.unwrap();
        client_write.shutdown().await.unwrap();
    };
    let download = async {
        server_write.write_all(&data).await.unwrap();
        server_write.shutdown().await.unwrap();
    };
    let (mut up, mut down) = (Vec::with_capacity(LENGTH), Vec::with_capacity(LENGTH));
    let arrivals =
        async { tokio::try_join!(server_read.read_to_end(&mut up), client_read.read_to_end(&mut down)) };
    let (.., arrived) = soon(async { tokio::join!(upload, download, arrivals) }).await;
    arrived.unwrap();
    assert!(up == data && down == data);
    let line = mesh.client.line().await;
    assert_eq!((line.bytes_sent, line.bytes_received), (LENGTH as u64, LENGTH as u64));
}

#[tokio::test]
async fn one_stalled_reader_does_not_hold_up_another_stream() {
    let mesh = Mesh::new();
    let stalled = [mesh.pair().await, mesh.pair().await];
    let (listener, address) = mesh.app().await;
    let flood = vec![7; 64 << 20];
    let [(down, mut down_server), (mut up, up_server)] = stalled;
    let floods = async { tokio::join!(down_server.write_all(&flood), up.write_all(&flood)) };
    let flowing = async {
        let mut client = mesh.connect(address).await;
        tokio::spawn(echo(soon(listener.accept()).await.unwrap().0));
        let data = pattern(16 << 20);
        let (mut read, mut write) = client.split();
        let mut back = Vec::new();
        let write = async {
            write.write_all(&data).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let ((), read) = soon(async { tokio::join!(write, read.read_to_end(&mut back)) }).await;
        read.unwrap();
        assert!(back == data);
    };
    tokio::select! {
        _ = floods => panic!("nobody reads what is sent"),
        () = flowing => {}
    }
    drop((down, up_server));
}
