//! How streams share tunnels.

use std::collections::HashSet;

use futures::future::join_all;
use tokio::io::AsyncReadExt;

use super::fixture::{Mesh, abort, ping, soon};

/// How many tunnels lead to the pod: established connections of its HBONE port.
fn tunnels(mesh: &Mesh) -> usize {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let local = format!("{:08X}:{:04X}", u32::from_le_bytes([127, 0, 0, 3]), mesh.hbone.port());
    let established = |line: &&str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[1] == local && fields[3] == "01"
    };
    table.lines().skip(1).filter(established).count()
}

#[tokio::test]
async fn first_connections_at_once_share_one_tunnel() {
    let mesh = Mesh::new();
    let (listener, address) = mesh.app().await;
    let clients = join_all((0..50).map(|_| mesh.connect(address))).await;
    let mut servers = Vec::new();
    while servers.len() < clients.len() {
        servers.push(soon(listener.accept()).await.unwrap().0);
    }
    assert_eq!(tunnels(&mesh), 1);
    let peers: HashSet<_> = mesh.server.world.clients.lock().unwrap().values().copied().collect();
    let sources: HashSet<_> = clients.iter().map(|client| client.local_addr().unwrap()).collect();
    assert_eq!(peers, sources);
}

#[tokio::test]
async fn a_full_tunnel_gets_company() {
    const STREAMS: usize = 1100;
    let mesh = Mesh::new();
    let (listener, address) = mesh.app().await;
    let (mut clients, mut servers) = (Vec::new(), Vec::new());
    while clients.len() < STREAMS {
        clients.push(mesh.connect(address).await);
        servers.push(soon(listener.accept()).await.unwrap().0);
    }
    assert_eq!(tunnels(&mesh), 2);
    for (client, server) in clients.iter_mut().zip(&mut servers) {
        ping(client, server).await;
    }
}

#[tokio::test]
async fn a_tunnel_serves_again_when_its_streams_have_ended() {
    let mesh = Mesh::new();
    let (listener, address) = mesh.app().await;
    for round in 0..1500 {
        let mut client = mesh.connect(address).await;
        let mut server = soon(listener.accept()).await.unwrap().0;
        if round % 2 == 0 {
            abort(server);
            soon(client.read_to_end(&mut Vec::new())).await.unwrap_err();
        } else {
            abort(client);
            soon(server.read_to_end(&mut Vec::new())).await.unwrap_err();
        }
    }
    assert_eq!(tunnels(&mesh), 1);
}
