//! How the kernel is asked over `netlink(7)`, and how it answers.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::{
    io::{self, Read as _},
    time::Duration,
};

use socket2::Socket;

/// The kernel answers at once; this only bounds a defect.
const PATIENCE: Duration = Duration::from_secs(1);
/// More than the kernel puts into one datagram of a list, and more than into the answer to an order.
const LISTED: usize = 64 * 1024;
const ANSWERED: usize = 1024;

/// A netlink socket.
pub(crate) struct Netlink(Socket);

impl Netlink {
    /// Asks by this socket.
    pub(crate) fn new(socket: Socket) -> io::Result<Self> {
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(socket))
    }

    /// Asks for a list, and hands on its messages: the kind and the body of each.
    pub(crate) fn list(
        &self,
        kind: u16,
        request: &[u8],
        each: impl FnMut(u16, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.ask(kind, FLAG_REQUEST | FLAG_DUMP, request, &mut vec![0; LISTED], each)
    }

    /// Has the kernel do something.
    pub(crate) fn act(&self, kind: u16, request: &[u8]) -> io::Result<()> {
        self.ask(kind, FLAG_REQUEST | FLAG_ACK, request, &mut [0; ANSWERED], |_, _| Ok(()))
    }

    fn ask(
        &self,
        kind: u16,
        flags: u16,
        request: &[u8],
        datagram: &mut [u8],
        mut each: impl FnMut(u16, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.0.send(&message(kind, flags, request))?;
        loop {
            let length = (&self.0).read(datagram)?;
            if take_messages(&datagram[..length], &mut each)? {
                return Ok(());
            }
        }
    }
}

/// Reads the messages of a datagram; true after the last one of the answer.
fn take_messages(mut rest: &[u8], each: &mut impl FnMut(u16, &[u8]) -> io::Result<()>) -> io::Result<bool> {
    while !rest.is_empty() {
        let length = usize::try_from(u32_at(rest, 0)?).map_err(io::Error::other)?;
        let body = rest.get(HEADER..length).ok_or_else(truncated)?;
        match u16_at(rest, 4)? {
            DONE => return Ok(true),
            ERROR => return acknowledged(body).map(|()| true),
            kind => each(kind, body)?,
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// `struct nlmsgerr` begins with a negative error number; 0 is success.
fn acknowledged(body: &[u8]) -> io::Result<()> {
    match u32_at(body, 0)?.cast_signed() {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error.wrapping_neg())),
    }
}

/// `struct nlmsghdr` and what follows it.
fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).expect("some bytes");
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.resize(HEADER, 0);
    message.extend(body);
    message
}

/// `struct nlattr` and its value, which has to be a whole number of words.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(ATTRIBUTE + value.len()).expect("some bytes");
    let mut attribute = length.to_ne_bytes().to_vec();
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute
}

/// The value of the first attribute of a kind.
pub(crate) fn value_of(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    Attributes(attributes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// Attributes by their kind, as far as they are whole.
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.0, 0).ok()?);
        let kind = u16_at(self.0, 2).ok()? & TYPE_MASK;
        let value = self.0.get(ATTRIBUTE..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// A number in the machine's order.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> io::Result<u32> {
    bytes.get(at..at + 4).and_then(|it| it.try_into().ok()).map(u32::from_ne_bytes).ok_or_else(truncated)
}

fn u16_at(bytes: &[u8], at: usize) -> io::Result<u16> {
    bytes.get(at..at + 2).and_then(|it| it.try_into().ok()).map(u16::from_ne_bytes).ok_or_else(truncated)
}

/// The kernel has said less than it began to.
pub(crate) fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is cut short")
}

/// Sizes of `struct nlmsghdr` and `struct nlattr`, and numbers, of `linux/netlink.h`.
const HEADER: usize = 16;
const ATTRIBUTE: usize = 4;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const FLAG_REQUEST: u16 = 1;
const FLAG_ACK: u16 = 4;
const FLAG_DUMP: u16 = 0x300;
const TYPE_MASK: u16 = 0x3fff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_cut_short_is_an_error() {
        let whole = message(20, 0, &[0; 8]);
        let mut take = |_: u16, body: &[u8]| if body.len() == 8 { Ok(()) } else { Err(truncated()) };
        assert!(!take_messages(&whole, &mut take).expect("it is whole"));
        for length in 1..whole.len() {
            assert!(take_messages(&whole[..length], &mut take).is_err(), "{length}");
        }
        let mut zero = whole;
        zero[..4].fill(0);
        assert!(take_messages(&zero, &mut take).is_err(), "a length of zero would never end");
    }

    #[test]
    fn attributes_come_back_as_far_as_they_are_whole() {
        let (one, two) = (attribute(1, b"word"), attribute(2, &attribute(3, b"wordword")));
        let both = [one.as_slice(), &two].concat();
        let found: Vec<_> = Attributes(&both).collect();
        assert_eq!(found, [(1, b"word".as_slice()), (2, &two[ATTRIBUTE..])]);
        assert_eq!(Attributes(found[1].1).collect::<Vec<_>>(), [(3, b"wordword".as_slice())]);
        assert_eq!(value_of(&both, 2), Some(&two[ATTRIBUTE..]));
        assert_eq!(value_of(&both, 3), None, "it is inside of another");
        assert_eq!(Attributes(&both[..both.len() - 1]).count(), 1);
        assert_eq!(Attributes(&[0; 8]).count(), 0, "a length of zero would never end");
    }
}
