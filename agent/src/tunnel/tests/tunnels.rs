//! How streams share tunnels.

use std::{
    collections::HashSet,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use culvert_policy::Reason;

use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::fixture::{Mesh, abort, echo, id, ping, soon};
use crate::{
    cluster::Verdict,
    identity::{Authority, Clock, Identities},
};

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
async fn new_streams_show_the_new_certificate_and_old_ones_go_on() {
    let clock = Arc::new(Ahead::default());
    let authority = Authority::in_memory("cluster.local").unwrap();
    let identities = Identities::with_clock(authority, Duration::from_hours(1), clock.clone(), || 0.0);
    let address = |last| Ipv4Addr::new(127, 0, 0, last).into();
    let mesh = Mesh::with(address(2), address(3), &identities.clone(), identities);
    let (mut old_client, mut old_server) = mesh.pair().await;
    clock.0.store(31 * 60, Ordering::Relaxed);
    mesh.identities.renew_due(clock.now());
    let (mut new_client, mut new_server) = mesh.pair().await;
    assert_eq!(tunnels(&mesh), 2);
    ping(&mut old_client, &mut old_server).await;
    ping(&mut new_client, &mut new_server).await;
}

#[tokio::test]
async fn an_expired_certificate_opens_no_stream_on_a_tunnel_that_is_there() {
    let clock = Arc::new(Ahead::default());
    let authority = Authority::in_memory("cluster.local").unwrap();
    let identities = Identities::with_clock(authority, Duration::from_hours(1), clock.clone(), || 0.0);
    let address = |last| Ipv4Addr::new(127, 0, 0, last).into();
    let mesh = Mesh::with(address(2), address(3), &identities.clone(), identities);
    let (mut client, mut server) = mesh.pair().await;
    clock.0.store(2 * 60 * 60, Ordering::Relaxed);
    let (_listener, app) = mesh.app().await;
    mesh.refuses(Verdict::Hbone(id("httpbin")), app).await;
    assert_eq!(soon(mesh.client.line()).await.reason, Reason::NoCertificate);
    ping(&mut client, &mut server).await;
}

/// A clock that is ahead by some seconds.
#[derive(Debug, Default)]
struct Ahead(AtomicU64);

impl Clock for Ahead {
    fn now(&self) -> SystemTime {
        SystemTime::now() + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
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

#[tokio::test]
async fn short_connections_come_and_go_on_one_tunnel() {
    let mesh = Mesh::new();
    let (listener, address) = mesh.app().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo(stream));
        }
    });
    for round in 0..3000 {
        let mut client = mesh.connect(address).await;
        soon(client.write_all(&[7; 64])).await.unwrap();
        let mut answer = [0; 64];
        let read = soon(client.read_exact(&mut answer)).await;
        assert!(read.is_ok(), "round {round}: {read:?}, {:?}", mesh.client.line().await);
    }
    assert_eq!(tunnels(&mesh), 1);
}
