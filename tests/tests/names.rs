//! Applications see the addresses that they would see without an agent.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
};

use culvert_testbed::{Agent, DEADLINE, Family, Pair, Pod, PodSpec, ServiceSpec, SocketSpec};
use rustix::{
    event::{PollFd, PollFlags, poll},
    net::connect_unspec,
};
use serde_json::Value;
use socket2::Socket;

#[test]
fn a_connection_has_the_names_of_its_ends() {
    let pair = Pair::start().unwrap();
    for family in Family::ALL {
        for dual in [false, true] {
            let (asked, listener) = listen(&pair.server, family, dual);
            let client = pair.client.connect(asked).unwrap();
            let source = are_named(&client, &listener, asked, pair.client.ip(family));
            drop(client);
            was_recorded(&pair, source, asked, asked);
        }
    }
}

#[test]
fn a_mapped_address_stays_mapped() {
    let pair = Pair::start().unwrap();
    let bound = pair.client.address(Family::V4, 4321);
    for (bind, dual) in [(None, false), (None, true), (Some(bound), true)] {
        let (asked, listener) = listen(&pair.server, Family::V4, dual);
        let client = pair
            .client
            .connect_as(asked, SocketSpec { bind, mapped: true, ..SocketSpec::default() })
            .unwrap();
        let own = mapped(pair.client.ip(Family::V4));
        let source = are_named(&client, &listener, SocketAddr::new(mapped(asked.ip()), asked.port()), own);
        assert!(bind.is_none_or(|bound| source == bound), "{source}");
        drop(client);
        was_recorded(&pair, source, asked, asked);
    }
}

#[test]
fn a_bound_socket_has_the_name_of_the_pod() {
    let pair = Pair::start().unwrap();
    for family in Family::ALL {
        let own = pair.client.ip(family);
        for (bind, port) in [(own, 4322), (own, 0), (loopback(family), 4323), (loopback(family), 0)] {
            let (asked, listener) = listen(&pair.server, family, false);
            let bind = Some(SocketAddr::new(bind, port));
            let client = pair.client.connect_as(asked, SocketSpec { bind, ..SocketSpec::default() }).unwrap();
            let source = are_named(&client, &listener, asked, own);
            assert!(port == 0 || source.port() == port, "{source}");
            drop(client);
            was_recorded(&pair, source, asked, asked);
        }
    }
}

#[test]
fn a_service_is_named_by_its_own_address() {
    let mut pair = Pair::prepare().unwrap();
    let service = ServiceSpec::new("full", "httpbin", ("app", "httpbin")).port(8000, 80);
    let service = pair.machine.service(service).unwrap();
    pair.start_agents().unwrap();
    for family in Family::ALL {
        let (endpoint, listener) = listen(&pair.server, family, false);
        let asked = service.address(family, 8000);
        let client = pair.client.connect(asked).unwrap();
        let source = are_named(&client, &listener, asked, pair.client.ip(family));
        drop(client);
        was_recorded(&pair, source, asked, endpoint);
    }
}

#[test]
fn a_socket_that_does_not_wait_is_named_before_it_is_connected() {
    let pair = Pair::start().unwrap();
    for family in Family::ALL {
        let (asked, listener) = listen(&pair.server, family, false);
        let client = pair.client.start_connect(asked, SocketSpec::default()).unwrap();
        let own = client.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(own.ip(), pair.client.ip(family));
        let source = are_named(&finish(client), &listener, asked, own.ip());
        assert_eq!(source, own);
        was_recorded(&pair, source, asked, asked);
    }
}

#[test]
fn a_socket_that_is_used_again_names_its_new_peer() {
    let mut pair = Pair::prepare().unwrap();
    let plain = pair.machine.pod(&pair.b, PodSpec::new("legacy", "httpbin")).unwrap();
    pair.start_agents().unwrap();
    for family in Family::ALL {
        let own = pair.client.ip(family);
        let nobody = pair.server.address(family, 99);
        let (captured, tunnelled) = listen(&pair.server, family, false);
        let (passed, direct) = listen(&plain, family, false);

        let socket = pair.client.start_connect(nobody, SocketSpec::default()).unwrap();
        connect_unspec(&socket).unwrap();
        socket.set_nonblocking(false).unwrap();
        let refused = socket.connect(&plain.address(family, 99).into()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "of a peer that is not enrolled");
        let socket = again(socket, captured);
        let source = are_named(&socket, &tunnelled, captured, own);

        connect_unspec(&socket).unwrap();
        let socket = again(socket.into(), passed);
        are_named(&socket, &direct, passed, own);

        connect_unspec(&socket).unwrap();
        let mut socket = again(socket.into(), nobody);
        assert_eq!(socket.peer_addr().map_or(nobody, |peer| peer), nobody);
        assert_eq!(socket.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);

        connect_unspec(&socket).unwrap();
        let socket = again(socket.into(), captured);
        let last = are_named(&socket, &tunnelled, captured, own);
        drop(socket);
        was_recorded(&pair, source, captured, captured);
        was_recorded(&pair, last, captured, captured);
    }
}

#[test]
fn pods_that_are_not_enrolled_notice_nothing() {
    let mut pair = Pair::prepare().unwrap();
    let client = pair.machine.pod(&pair.a, PodSpec::new("legacy", "sleep")).unwrap();
    let server = pair.machine.pod(&pair.b, PodSpec::new("legacy", "httpbin")).unwrap();
    pair.start_agents().unwrap();
    for family in Family::ALL {
        for (client, server) in [(&client, &server), (&client, &pair.server), (&pair.client, &server)] {
            for dual in [false, true] {
                let (asked, listener) = listen(server, family, dual);
                let socket = client.connect(asked).unwrap();
                are_named(&socket, &listener, asked, client.ip(family));
            }
        }
        let refused = client.connect(pair.server.address(family, 99)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
    let records = pair.agents.iter().flat_map(Agent::records);
    assert_eq!(records.filter(|record| record["transport"] == "hbone").count(), 0);
}

#[test]
fn what_a_pod_says_to_itself_stays_there() {
    let mut pair = Pair::prepare().unwrap();
    pair.machine.apply("strict", STRICT).unwrap();
    pair.start_agents().unwrap();
    for family in Family::ALL {
        let (own, listener) = listen(&pair.server, family, false);
        let socket = pair.server.connect(own).unwrap();
        are_named(&socket, &listener, own, own.ip());

        let local = SocketAddr::new(loopback(family), 80);
        let listener = pair.server.listen(local).unwrap();
        let socket = pair.server.connect(local).unwrap();
        are_named(&socket, &listener, local, local.ip());

        let (asked, listener) = listen(&pair.server, family, true);
        let socket = pair.client.connect(asked).unwrap();
        let source = are_named(&socket, &listener, asked, pair.client.ip(family));
        drop(socket);
        was_recorded(&pair, source, asked, asked);
    }
    for agent in &pair.agents {
        assert_eq!(
            agent.records().len(),
            Family::ALL.len(),
            "only the connections between pods have records"
        );
    }
}

const STRICT: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { namespace: istio-system, name: default }
spec: { mtls: { mode: STRICT } }
";

/// A listener of the pod: for one family, or on `[::]` for both. With the address that it is reached by.
fn listen(pod: &Pod, family: Family, dual: bool) -> (SocketAddr, TcpListener) {
    let address = pod.address(family, if dual { 81 } else { 80 });
    let listener = if dual { pod.listen_dual(address.port()) } else { pod.listen(address) };
    (address, listener.unwrap())
}

/// Checks what a connected client and its server are told of each other, with traffic both ways, and closes the
/// server's end. Returns the client's address, not mapped.
fn are_named(mut client: &TcpStream, listener: &TcpListener, asked: SocketAddr, own: IpAddr) -> SocketAddr {
    let (mut server, shown) = listener.accept().unwrap();
    client.write_all(b"question").unwrap();
    server.read_exact(&mut [0; 8]).unwrap();
    server.write_all(b"answer").unwrap();
    client.read_exact(&mut [0; 6]).unwrap();

    let source = client.local_addr().unwrap();
    assert_eq!(source.ip(), own, "the client's getsockname");
    assert_eq!(client.peer_addr().unwrap(), asked, "the client's getpeername");
    assert_eq!(server.peer_addr().unwrap(), shown, "the server's getpeername");
    let source = canonical(source);
    let is_dual = listener.local_addr().unwrap().ip().is_unspecified();
    let expected = if is_dual { SocketAddr::new(mapped(source.ip()), source.port()) } else { source };
    assert_eq!(shown, expected, "what accept returned");
    source
}

/// Checks that either agent has one record of the connection, and that it says where it went.
fn was_recorded(pair: &Pair, source: SocketAddr, asked: SocketAddr, endpoint: SocketAddr) {
    let [outbound, inbound]: [Value; 2] = pair.records(source).unwrap().try_into().unwrap();
    assert_eq!(outbound["destination"], asked.to_string(), "{outbound}");
    assert_eq!(outbound["endpoint"], endpoint.to_string(), "{outbound}");
    assert_eq!(inbound["destination"], endpoint.to_string(), "{inbound}");
    assert_eq!((&outbound["pod"], &outbound["peer_pod"]), (&"full/sleep".into(), &"full/httpbin".into()));
    assert_eq!((&inbound["pod"], &inbound["peer_pod"]), (&"full/httpbin".into(), &"full/sleep".into()));
}

/// Connects a socket that was used before, and waits.
fn again(socket: Socket, to: SocketAddr) -> TcpStream {
    socket.set_nonblocking(false).unwrap();
    socket.set_write_timeout(Some(DEADLINE)).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

fn finish(socket: Socket) -> TcpStream {
    let patience = DEADLINE.try_into().unwrap();
    assert_ne!(poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&patience)).unwrap(), 0);
    assert!(socket.take_error().unwrap().is_none());
    socket.set_nonblocking(false).unwrap();
    socket.into()
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn mapped(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().into(),
        IpAddr::V6(_) => ip,
    }
}

fn loopback(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::LOCALHOST.into(),
        Family::V6 => Ipv6Addr::LOCALHOST.into(),
    }
}
