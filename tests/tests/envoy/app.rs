//! Both ends of a connection as applications have them, and what they do with it.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use culvert_testbed::Place;
use socket2::SockRef;

/// Connects to an address from somewhere, and takes what arrives at a listener: both applications' ends.
pub(crate) fn connect(from: &Place, to: SocketAddr, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = from.connect(to).expect("somebody listens");
    let (server, _) = listener.accept().expect("the connection arrives");
    (client, server)
}

/// A question and an answer.
pub(crate) fn round_trip(client: &mut TcpStream, server: &mut TcpStream) {
    carry(client, server, QUESTION);
    carry(server, client, ANSWER);
}

/// What applications say to each other, and what nobody else may read.
pub(crate) const QUESTION: &[u8] = b"a question that nobody else may read";
pub(crate) const ANSWER: &[u8] = b"an answer that nobody else may read";

pub(crate) fn carry(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).unwrap();
    let mut received = vec![0; bytes.len()];
    to.read_exact(&mut received).unwrap();
    assert_eq!(received, bytes);
}

/// Says that nothing more comes, and waits until the other side has heard it.
pub(crate) fn finish(from: &TcpStream, to: &mut TcpStream) {
    from.shutdown(Shutdown::Write).unwrap();
    assert_eq!(to.read(&mut [0]).unwrap(), 0, "more than the end came");
}

/// As an application does that aborts, or ends with bytes unread.
pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// Waits for something else than bytes; none if the stream came to its end as if nothing had happened.
pub(crate) fn failure(stream: &mut TcpStream) -> Option<ErrorKind> {
    std::io::copy(stream, &mut std::io::sink()).err().map(|error| error.kind())
}

/// Sends that many blocks in both directions at once, and checks each byte.
pub(crate) fn transfer(client: &TcpStream, server: &TcpStream, blocks: u64) {
    thread::scope(|scope| {
        for (from, to) in [(client, server), (server, client)] {
            scope.spawn(move || send(from, blocks));
            scope.spawn(move || expect(to, blocks));
        }
    });
}

/// Bytes of which no two parts are alike, with the block's number in front: what is lost, moved or repeated shows.
struct Block {
    bytes: Vec<u8>,
    number: u64,
}

impl Block {
    fn first() -> Self {
        let words = (0..BLOCK / 8).map(|index| index.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17));
        Self { bytes: words.flat_map(u64::to_le_bytes).collect(), number: 0 }
    }

    fn next(&mut self) -> &[u8] {
        self.number += 1;
        self.bytes[..8].copy_from_slice(&self.number.to_le_bytes());
        &self.bytes
    }
}

/// In bytes.
pub(crate) const BLOCK: u64 = 1 << 16;

pub(crate) fn send(mut stream: &TcpStream, blocks: u64) {
    let mut block = Block::first();
    (0..blocks).for_each(|_| stream.write_all(block.next()).unwrap());
}

pub(crate) fn expect(mut stream: &TcpStream, blocks: u64) {
    let mut block = Block::first();
    let mut received = vec![0; block.bytes.len()];
    for number in 0..blocks {
        stream.read_exact(&mut received).unwrap();
        assert!(received == block.next(), "block {number} is not what was sent");
    }
}
