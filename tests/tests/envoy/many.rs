//! Many streams at once through one pair.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use culvert_testbed::{
    DEADLINE, Family, SocketSpec,
    envoy::{Config, Tls},
};
use serde_json::Value;
use socket2::Socket;

use crate::site::{APP, HBONE, PEER, Site, Way, eventually};

const MANY: usize = 1000;

#[test]
fn a_thousand_streams_at_once_reach_an_hbone_server() {
    let Some(site) = Site::start("a_thousand_streams_at_once_reach_an_hbone_server", Way::ToHbone.speaks())
    else {
        return;
    };
    let _envoy = site.envoy(&Way::ToHbone.config(&site));
    carry(Way::ToHbone, &site, MANY);
}

#[test]
fn a_thousand_streams_at_once_come_from_an_hbone_client() {
    let name = "a_thousand_streams_at_once_come_from_an_hbone_client";
    let Some(site) = Site::start(name, Way::FromHbone.speaks()) else { return };
    let _envoy = site.envoy(&Way::FromHbone.config(&site));
    carry(Way::FromHbone, &site, MANY);
}

#[test]
fn a_thousand_connections_at_once_go_to_a_sidecar_and_come_from_one() {
    for way in [Way::ToSidecar, Way::FromSidecar] {
        let name = "a_thousand_connections_at_once_go_to_a_sidecar_and_come_from_one";
        let Some(site) = Site::start(name, way.speaks()) else { return };
        let _envoy = site.envoy(&way.config(&site));
        carry(way, &site, MANY);
    }
}

/// A server may allow few streams on one connection, and says so only after the client's first ones are on their way.
#[test]
fn more_streams_than_one_tunnel_may_carry_get_tunnels_of_their_own() {
    let name = "more_streams_than_one_tunnel_may_carry_get_tunnels_of_their_own";
    let Some(site) = Site::start(name, Way::ToHbone.speaks()) else { return };
    let shown = site.mesh.certificate(PEER);
    let tls = Tls { shown: &shown, believed: &site.mesh, peer: Way::ToHbone.peer() };
    let config = Family::ALL.iter().fold(Config::default(), |config, &family| {
        let [hbone, app] = [HBONE, APP].map(|port| site.peer.address(family, port));
        config.hbone_server(hbone, &[app], Some(FEW), &tls)
    });
    let _envoy = site.envoy(&config);
    carry(Way::ToHbone, &site, 300);
}

/// Fewer than a client may take for granted before it is told.
const FEW: u32 = 20;

fn carry(way: Way, site: &Site, count: usize) {
    for family in Family::ALL {
        carry_over(family, way, site, count);
    }
}

/// Begins all connections at once, uses each while all are open, and ends them.
fn carry_over(family: Family, way: Way, site: &Site, count: usize) {
    let listener = way.listen(site, family);
    let (from, to) = way.client(site, family);
    let before = carried(way, site);
    let clients: Vec<_> =
        (0..count).map(|_| from.start_connect(to, SocketSpec::default()).unwrap()).collect();
    let mut servers: Vec<_> = (0..count).map(|_| listener.accept().expect("all of them arrive").0).collect();
    let mut clients: Vec<_> = clients.into_iter().map(blocking).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(&number.to_be_bytes()).unwrap();
    }
    servers.iter_mut().for_each(send_back);
    for (number, client) in clients.iter_mut().enumerate() {
        let mut answer = [0; size_of::<usize>()];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, number.to_be_bytes(), "it came from another stream");
    }
    drop((clients, servers));
    eventually("a record of each", || (carried(way, site) == before + count).then_some(()));
    let failed = site.agent.records().into_iter().find(|record| record["outcome"] != "ok");
    assert_eq!(failed, None);
}

fn blocking(socket: Socket) -> TcpStream {
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.into()
}

fn send_back(server: &mut TcpStream) {
    let mut question = [0; size_of::<usize>()];
    server.read_exact(&mut question).unwrap();
    server.write_all(&question).unwrap();
}

/// Connections that went well.
fn carried(way: Way, site: &Site) -> usize {
    let records = site.agent.records();
    let wanted = |record: &&Value| record["outcome"] == "ok" && record["transport"] == way.transport();
    records.iter().filter(wanted).count()
}
