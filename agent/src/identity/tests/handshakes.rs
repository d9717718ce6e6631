//! What two workloads of one mesh agree on.

use std::{io, time::Duration};

use culvert_policy::Reason;
use rustls::{CipherSuite, HandshakeKind, NamedGroup, ProtocolVersion};

use super::mesh::{DAY, Pair, TRUST_DOMAIN, id};
use crate::identity::{Authority, Identities, VerifiedPeer, tls_detail, tls_fault, tls_reason};

fn identities() -> Identities {
    Identities::new(Authority::in_memory(TRUST_DOMAIN).unwrap(), DAY)
}

fn sleep_to_httpbin(identities: &Identities) -> Pair {
    let client = identities.ready_workload(&id("sleep"));
    let server = identities.ready_workload(&id("httpbin"));
    Pair::connect(client.hbone_connector(server.id()), server.hbone_acceptor())
}

#[test]
fn each_side_knows_the_other() {
    let mut pair = sleep_to_httpbin(&identities());
    assert_eq!(pair.peers(), (Ok(id("httpbin")), Ok(id("sleep"))));
    pair.assert_carries_both_ways();
}

#[test]
fn the_key_exchange_is_post_quantum() {
    let pair = sleep_to_httpbin(&identities());
    for end in [&pair.client, &pair.server] {
        let group = end.connection.negotiated_key_exchange_group().unwrap();
        assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
        assert_eq!(end.connection.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        let suite = end.connection.negotiated_cipher_suite().unwrap();
        assert_eq!(suite.suite(), CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert_eq!(end.connection.alpn_protocol(), Some(&b"h2"[..]));
    }
}

#[test]
fn nothing_is_resumed() {
    let identities = identities();
    let client = identities.ready_workload(&id("sleep"));
    let server = identities.ready_workload(&id("httpbin"));
    let connector = client.hbone_connector(server.id());
    for _ in 0..2 {
        let pair = Pair::connect(connector.clone(), server.hbone_acceptor());
        assert_eq!(pair.server.connection.handshake_kind(), Some(HandshakeKind::Full));
    }
}

#[test]
fn the_first_flight_names_nobody() {
    let identities = identities();
    let client = identities.ready_workload(&id("sleep"));
    let connector = client.hbone_connector(&id("httpbin"));
    let mut pair = Pair::unconnected(connector, client.hbone_acceptor());
    let mut hello = Vec::new();
    pair.client.connection.write_tls(&mut hello).unwrap();
    assert!(!hello.windows(7).any(|window| window == b"httpbin"));
    let mut acceptor = rustls::server::Acceptor::default();
    acceptor.read_tls(&mut &hello[..]).unwrap();
    let accepted = acceptor.accept().ok().flatten().unwrap();
    assert_eq!(accepted.client_hello().server_name(), None);
}

#[test]
fn sidecars_and_tunnels_do_not_mix() {
    let identities = identities();
    let client = identities.ready_workload(&id("sleep"));
    let server = identities.ready_workload(&id("httpbin"));
    let pair = Pair::connect(client.sidecar_connector(server.id()), server.hbone_acceptor());
    assert_eq!(pair.peers(), (Err(Reason::HandshakeFailed), Err(Reason::HandshakeFailed)));
}

#[test]
fn what_is_not_tls_ends_the_handshake() {
    let server = identities().ready_workload(&id("httpbin"));
    let plaintext = b"GET / HTTP/1.1\r\n\r\n".to_vec();
    let endless_record = [&[22, 3, 1, 0xff, 0xff][..], &vec![0; 1 << 16]].concat();
    let endless_hello =
        [&[22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff][..], &[22, 3, 1, 0x40, 0], &[0; 1 << 14]].concat();
    for bytes in [plaintext, endless_record, endless_hello] {
        let mut connection = rustls::ServerConnection::new(server.hbone_acceptor()).unwrap();
        let mut unread = &bytes[..];
        let fault = loop {
            assert_ne!(connection.read_tls(&mut unread).unwrap(), 0, "all of it was taken");
            if let Err(error) = connection.process_new_packets() {
                break io::Error::other(error);
            }
        };
        assert_eq!(tls_fault(&fault), Some(Reason::HandshakeFailed));
    }
}

#[test]
fn a_handshake_may_come_byte_by_byte() {
    let identities = identities();
    let workload = identities.ready_workload(&id("httpbin"));
    let mut pair = Pair::unconnected(workload.hbone_connector(workload.id()), workload.hbone_acceptor());
    let mut hello = Vec::new();
    pair.client.connection.write_tls(&mut hello).unwrap();
    for byte in hello {
        pair.server.connection.read_tls(&mut &[byte][..]).unwrap();
        pair.server.connection.process_new_packets().unwrap();
    }
    pair.pump();
    assert_eq!(pair.peers(), (Ok(id("httpbin")), Ok(id("httpbin"))));
}

#[test]
fn an_unfinished_handshake_proves_nobody() {
    let identities = identities();
    let client = identities.ready_workload(&id("sleep"));
    let connection =
        rustls::ClientConnection::new(client.hbone_connector(&id("httpbin")), crate::identity::server_name())
            .unwrap();
    assert_eq!(VerifiedPeer::of_server(&connection), Err(Reason::HandshakeFailed));
}

#[test]
fn a_fault_is_found_inside_other_errors() {
    let alert = rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA);
    let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, alert));
    assert_eq!(tls_reason(&wrapped), Reason::RefusedByPeer);
    assert_eq!(tls_detail(&wrapped), "received fatal alert: UnknownCA");
}

#[test]
fn an_error_of_the_wire_is_no_fault_of_tls() {
    let reset = io::Error::from(io::ErrorKind::ConnectionReset);
    assert_eq!(tls_fault(&reset), None);
    assert_eq!(tls_reason(&reset), Reason::HandshakeFailed);
    assert_eq!(tls_fault(&io::ErrorKind::TimedOut.into()), Some(Reason::Timeout));
}

#[test]
fn nothing_printed_holds_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::in_dir(dir.path(), TRUST_DOMAIN).unwrap();
    let of_authority = format!("{authority:?}");
    let identities = Identities::new(authority, Duration::from_hours(1));
    let workload = identities.ready_workload(&id("sleep"));
    let configs = (workload.hbone_connector(&id("httpbin")), workload.hbone_acceptor());
    let printed =
        format!("{of_authority} {identities:?} {workload:?} {:?} {configs:?}", workload.certificate());
    assert!(!printed.contains("PRIVATE"));
    // A key printed as bytes would be a list of numbers; nothing here has one of even 16.
    assert!(
        !printed
            .split(['[', ']'])
            .any(|list| list.split(", ").filter(|n| n.parse::<u8>().is_ok()).count() >= 16)
    );
}
