//! Against rustls' own record layer as the other side.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::*;
use crate::{
    identity::server_name,
    tunnel::{
        arena::AT_ONCE,
        tests::fixture::{id, identities, soon},
    },
};

/// A client of ours, and a server of rustls' own.
async fn connected() -> (Session, TlsStream<TcpStream>) {
    let identities = identities();
    let (tcp, peer) = wire().await;
    let server = TlsAcceptor::from(identities.ready_workload(&id("httpbin")).hbone_acceptor());
    let config = identities.ready_workload(&id("sleep")).hbone_connector(&id("httpbin"));
    let (session, server) = soon(async { tokio::join!(connect(config, tcp), server.accept(peer)) }).await;
    (session.map_err(|failure| failure.detail).unwrap(), server.unwrap().into())
}

/// The other way round.
pub(in crate::tunnel) async fn accepted() -> (Session, TlsStream<TcpStream>) {
    let identities = identities();
    let (tcp, peer) = wire().await;
    let config = identities.ready_workload(&id("httpbin")).hbone_acceptor();
    let client = TlsConnector::from(identities.ready_workload(&id("sleep")).hbone_connector(&id("httpbin")));
    let within = std::time::Duration::from_secs(10);
    let (session, client) =
        soon(async { tokio::join!(accept(config, tcp, within), client.connect(server_name(), peer)) }).await;
    (session.map_err(|failure| failure.detail).unwrap(), client.unwrap().into())
}

async fn wire() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

impl Session {
    async fn say(&mut self, data: &[u8]) {
        let mut sealed = Buffer::default();
        self.records.seal(data, &mut sealed).unwrap();
        self.tcp.write_all(sealed.filled()).await.unwrap();
    }

    /// Data of so many bytes, however many records it comes in.
    async fn hear(&mut self, bytes: usize) -> Result<Vec<u8>, Error> {
        let mut heard = Vec::new();
        while heard.len() < bytes {
            let mut record = self.record().await;
            match self.records.open(&mut record)? {
                Content::Data(data) => heard.extend_from_slice(data),
                Content::Nothing => {}
                Content::End => break,
            }
        }
        Ok(heard)
    }

    async fn record(&mut self) -> Vec<u8> {
        loop {
            if let Some(length) =
                length(&self.arrived).unwrap().filter(|length| *length <= self.arrived.len())
            {
                return self.arrived.drain(..length).collect();
            }
            assert_ne!(soon(self.tcp.read_buf(&mut self.arrived)).await.unwrap(), 0);
        }
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0u32..).flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes()).take(length).collect()
}

async fn converse((mut ours, mut theirs): (Session, TlsStream<TcpStream>)) {
    for length in [1, PLAIN - 1, PLAIN, PLAIN + 1, 5 * PLAIN + 7] {
        let data = pattern(length);
        let mut heard = vec![0; length];
        let ((), read) = soon(async { tokio::join!(ours.say(&data), theirs.read_exact(&mut heard)) }).await;
        read.unwrap();
        assert!(heard == data, "{length} bytes from us");
        let (written, heard) = soon(async { tokio::join!(theirs.write_all(&data), ours.hear(length)) }).await;
        written.unwrap();
        assert!(heard.unwrap() == data, "{length} bytes from them");
    }
}

#[tokio::test]
async fn what_is_sealed_is_opened_by_both_sides() {
    converse(connected().await).await;
    converse(accepted().await).await;
}

#[tokio::test]
async fn what_is_sent_at_once_fits_two_packets() {
    const FRAME: usize = 9;
    let (mut ours, _) = connected().await;
    let mut sealed = Buffer::default();
    ours.records.seal(&vec![0; AT_ONCE + FRAME], &mut sealed).unwrap();
    for mtu in [1450, 1500, 8950, 9000, 9001] {
        // What addresses, ports, numbers and timestamps take of a segment, and what headers leave of 64 KiB.
        let segment = mtu - 52;
        let packet = 65_215 / segment * segment;
        assert_eq!(sealed.len().div_ceil(packet), 2, "{mtu}");
    }
}

#[tokio::test]
async fn keys_change_when_the_peer_changes_its_own_and_asks_for_ours() {
    for _ in 0..3 {
        let (ours, mut theirs) = accepted().await;
        refresh(&mut theirs);
        converse((ours, theirs)).await;
        let (ours, mut theirs) = connected().await;
        refresh(&mut theirs);
        converse((ours, theirs)).await;
    }
}

pub(in crate::tunnel) fn refresh(stream: &mut TlsStream<TcpStream>) {
    match stream {
        TlsStream::Client(stream) => stream.get_mut().1.refresh_traffic_keys().unwrap(),
        TlsStream::Server(stream) => stream.get_mut().1.refresh_traffic_keys().unwrap(),
    }
}

#[tokio::test]
async fn a_record_that_was_touched_is_not_opened() {
    let (mut ours, mut theirs) = connected().await;
    soon(theirs.write_all(b"secret")).await.unwrap();
    let mut record = ours.record().await;
    *record.last_mut().unwrap() ^= 1;
    assert_eq!(ours.records.open(&mut record), Err(Error::DecryptError));
}

#[tokio::test]
async fn a_record_that_comes_twice_is_not_opened() {
    let (mut ours, mut theirs) = connected().await;
    soon(theirs.write_all(b"secret")).await.unwrap();
    let mut record = ours.record().await;
    let mut again = record.clone();
    assert_eq!(ours.records.open(&mut record), Ok(Content::Data(b"secret")));
    assert_eq!(ours.records.open(&mut again), Err(Error::DecryptError));
}

#[tokio::test]
async fn an_end_is_told_from_an_alert() {
    let (mut ours, mut theirs) = connected().await;
    soon(theirs.shutdown()).await.unwrap();
    let mut record = ours.record().await;
    assert_eq!(ours.records.open(&mut record), Ok(Content::End));

    let (mut ours, mut theirs) = accepted().await;
    let mut sealed = Buffer::default();
    ours.records.complain(&Error::DecryptError, &mut sealed).unwrap();
    soon(ours.tcp.write_all(sealed.filled())).await.unwrap();
    let heard = soon(theirs.read(&mut [0; 8])).await.unwrap_err();
    assert!(heard.to_string().contains("BadRecordMac"), "{heard}");
}

#[tokio::test]
async fn records_without_data_are_not_listened_to_for_ever() {
    let (mut ours, mut theirs) = accepted().await;
    for _ in 0..=CHATTER {
        refresh(&mut theirs);
        soon(theirs.flush()).await.unwrap();
    }
    let error = soon(ours.hear(1)).await.unwrap_err();
    assert_eq!(error, PeerMisbehaved::TooManyEmptyFragments.into());
}

#[test]
fn a_record_longer_than_any_is_known_by_its_header() {
    assert_eq!(length(&[DATA, 3, 3, 0x41, 0x01]), Err(Error::PeerSentOversizedRecord));
    assert_eq!(length(&[DATA, 3, 3, 0x41, 0x00]), Ok(Some(HEADER + MOST)));
    assert_eq!(length(&[DATA, 3, 3, 0x41]), Ok(None));
}
