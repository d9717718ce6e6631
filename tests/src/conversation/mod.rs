//! Connections of which each application knows by their number what to say, what to hear, and how to end.

mod client;
mod many;
mod server;

use std::{io, sync::LazyLock, time::Duration};

use socket2::SockRef;
use tokio::net::TcpStream;

pub use many::{Held, hold};

use crate::pattern;

/// What both applications of a connection do.
///
/// The client says the connection's number first, and so does the server once it has heard it.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Which one it is.
    pub number: u32,
    /// What the client says after that, in bytes.
    pub up: usize,
    /// What the server says after that, in bytes.
    pub down: usize,
    /// What comes of it.
    pub end: End,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In each direction once all is said, in the server's after it has heard the client's end.
    Regular,
    /// The client aborts in the midst of what it says, after it has heard of the server.
    ClientAborts,
    /// The client aborts before the server need have heard anything.
    ClientAbortsAtOnce,
    /// The server aborts in the midst of what it hears.
    ServerAborts,
}

/// How the server's application hears of a client's abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// By a RST.
    IsTold,
    /// By a RST, or as if the client had said all: who carries it makes no difference.
    MayLookLikeAnEnd,
}

impl Plan {
    /// The same for the same number, of which there are 2¹⁹.
    pub fn new(number: u32) -> Self {
        let random = number.wrapping_add(1).wrapping_mul(2_654_435_761).rotate_left(13);
        let end = match random % 9 {
            0 | 1 => End::ServerAborts,
            2 => End::ClientAborts,
            3 => End::ClientAbortsAtOnce,
            _ => End::Regular,
        };
        Self { number, up: length(random.rotate_left(5)), down: length(random.rotate_left(19)), end }
    }

    /// What the client says after the number.
    fn question(self) -> &'static [u8] {
        bytes(2 * self.number, self.up)
    }

    /// What the server says after the number.
    fn answer(self) -> &'static [u8] {
        bytes(2 * self.number + 1, self.down)
    }

    /// All that the server says.
    fn whole_answer(self) -> Vec<u8> {
        [&self.number.to_le_bytes(), self.answer()].concat()
    }

    /// What each side sends in a connection that ends regularly, in bytes: the client and the server.
    pub const fn sizes(self) -> (u64, u64) {
        let number = size_of::<u32>();
        ((number + self.up) as u64, (number + self.down) as u64)
    }
}

/// In bytes; sometimes none.
fn length(random: u32) -> usize {
    if random.is_multiple_of(10) { 0 } else { random as usize % MOST }
}

const MOST: usize = 150_000;

/// Bytes that tell one direction of a connection from all others: each begins somewhere else in the same ones.
fn bytes(direction: u32, length: usize) -> &'static [u8] {
    // An odd factor, so that no two begin at the same place.
    let start = direction as usize * 509 % PLACES;
    &BYTES[start..start + length]
}

const PLACES: usize = 1 << 20;

static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| pattern((PLACES + MOST) as u64));

/// As an application does that aborts, or ends with bytes unread.
fn abort(stream: TcpStream) -> io::Result<()> {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    drop(stream);
    Ok(())
}

/// Whether it is what an application sees of a RST.
fn is_abort(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// Whether reading or writing told of a RST: the kernel tells whoever asks first, and nobody after that.
fn is_either_aborted(said: &io::Result<()>, heard: &io::Result<()>) -> bool {
    [said, heard].iter().any(|end| end.as_ref().is_err_and(is_abort))
}
