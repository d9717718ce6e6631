//! The first bytes of a connection, looked at without taking them: is it the mesh's TLS, TLS of the application's own, or
//! neither?

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::{io, time::Duration};

use rustix::net::{RecvFlags, recv};
use rustls::server::Acceptor;
use tokio::{io::Interest, net::TcpStream, time::timeout};

use crate::identity::ALPN_SIDECAR;

/// What a client begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// A `ClientHello` that offers `istio`.
    Mesh,
    /// TLS that does not: the application is to terminate it.
    OwnTls,
    /// Neither, or nothing for a while: many protocols have the server speak first.
    Plain,
}

/// Looks at what the client sends, until that tells.
pub(super) async fn look(stream: TcpStream) -> io::Result<(Opening, TcpStream)> {
    let mut seen = vec![0; LARGEST];
    let look = stream.async_io(Interest::READABLE, || peek(&stream, &mut seen));
    match timeout(PATIENCE, look).await {
        Ok(opening) => Ok((opening?, stream)),
        // Registered anew, as what was looked at is no longer told to be there.
        Err(_) => Ok((Opening::Plain, TcpStream::from_std(stream.into_std()?)?)),
    }
}

/// Longer than a `ClientHello` takes that is lost three times, and shorter than what people call broken.
const PATIENCE: Duration = Duration::from_secs(3);
/// A record's header, and as much as a record may hold (RFC 8446, section 5.1).
const LARGEST: usize = HEADER + 16_384;
const HEADER: usize = 5;

/// `WouldBlock` has the caller wait for more.
fn peek(stream: &TcpStream, seen: &mut [u8]) -> io::Result<Opening> {
    let (length, _) = recv(stream, &mut *seen, RecvFlags::PEEK)?;
    match classify(&seen[..length]) {
        Some(opening) => Ok(opening),
        None if length == 0 => Ok(Opening::Plain),
        None => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// None: it takes more bytes to tell. Whole records are waited for, and one is looked at once: a client that sends a byte
/// at a time costs no more than another. A `ClientHello` of several records is not a sidecar's.
fn classify(bytes: &[u8]) -> Option<Opening> {
    let ([] | [HANDSHAKE] | [HANDSHAKE, MAJOR, ..]) = bytes else { return Some(Opening::Plain) };
    let [_, _, _, high, low, ..] = bytes else { return None };
    let record = HEADER + usize::from(u16::from_be_bytes([*high, *low]));
    match bytes.get(..record) {
        Some(record) => Some(hello(record)),
        None => (record > LARGEST).then_some(Opening::Plain),
    }
}

/// Content type and major version of a record (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;
const MAJOR: u8 = 3;

fn hello(mut record: &[u8]) -> Opening {
    let mut acceptor = Acceptor::default();
    let accepted = acceptor.read_tls(&mut record).ok().and_then(|_| acceptor.accept().ok().flatten());
    let offers = accepted.as_ref().and_then(|accepted| {
        let mut offered = accepted.client_hello().alpn()?;
        Some(offered.any(|protocol| protocol == ALPN_SIDECAR))
    });
    match (accepted.is_some(), offers) {
        (true, Some(true)) => Opening::Mesh,
        _ => Opening::OwnTls,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustls::ClientConnection;

    use super::*;
    use crate::{
        identity::server_name,
        tunnel::tests::fixture::{id, identities},
    };

    /// What a sidecar's client sends first, or an agent's.
    fn client_hello(sidecar: bool) -> Vec<u8> {
        let workload = identities().workload(&id("sleep"));
        let to = id("httpbin");
        let config = if sidecar { workload.sidecar_connector(&to) } else { workload.hbone_connector(&to) };
        let mut client = ClientConnection::new(config, server_name()).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        hello
    }

    #[test]
    fn only_a_hello_that_offers_istio_is_the_meshs() {
        assert_eq!(classify(&client_hello(true)), Some(Opening::Mesh));
        assert_eq!(classify(&client_hello(false)), Some(Opening::OwnTls));
    }

    #[test]
    fn a_hello_is_waited_for_to_its_last_byte() {
        let hello = client_hello(true);
        for length in 0..hello.len() {
            assert_eq!(classify(&hello[..length]), None, "{length}");
        }
    }

    #[test]
    fn what_is_no_tls_is_known_by_its_first_bytes() {
        for plain in ["G", "GET / HTTP/1.1", "\u{16}G", "SSH-2.0", "\u{16}\u{3}\u{1}\u{7f}\u{7f}"] {
            assert_eq!(classify(plain.as_bytes()), Some(Opening::Plain), "{plain:?}");
        }
        assert_eq!(classify(b"\x16\x03\x01\x00\x03abc"), Some(Opening::OwnTls));
    }

    proptest! {
        #[test]
        fn more_bytes_never_change_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..64), tls in any::<bool>()) {
            let mut bytes = bytes;
            if tls {
                bytes.splice(0..0, [HANDSHAKE, MAJOR, 1, 0]);
            }
            let answers: Vec<_> = (0..=bytes.len()).filter_map(|length| classify(&bytes[..length])).collect();
            prop_assert!(answers.iter().all(|answer| *answer == answers[0]), "{:?}", answers);
        }
    }
}
