//! The nine bytes before each frame's payload (RFC 9113, section 4.1).

use crate::StreamId;

/// Bytes of a frame's header.
pub(crate) const HEADER: usize = 9;

/// What a client sends first (section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Header {
    pub(crate) length: usize,
    pub(crate) kind: Kind,
    flags: u8,
    pub(crate) id: StreamId,
}

impl Header {
    pub(crate) const fn new(length: usize, kind: Kind, flags: u8, id: StreamId) -> Self {
        Self { length, kind, flags, id }
    }

    pub(crate) const fn parse(bytes: [u8; HEADER]) -> Self {
        let [l2, l1, l0, kind, flags, i3, i2, i1, i0] = bytes;
        Self {
            length: u32::from_be_bytes([0, l2, l1, l0]) as usize,
            kind: Kind::from_wire(kind),
            flags,
            id: StreamId(u32::from_be_bytes([i3, i2, i1, i0]) & StreamId::MAX.0),
        }
    }

    pub(crate) fn to_wire(self) -> [u8; HEADER] {
        let [.., l2, l1, l0] = self.length.to_be_bytes();
        let [i3, i2, i1, i0] = self.id.0.to_be_bytes();
        [l2, l1, l0, self.kind as u8, self.flags, i3, i2, i1, i0]
    }

    pub(crate) const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Where the flags stand in a header.
pub(crate) const FLAGS: usize = 4;
pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
pub(crate) const PADDED: u8 = 0x8;
pub(crate) const PRIORITY: u8 = 0x20;

/// A type of frame (section 6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Data = 0x0,
    Headers = 0x1,
    Priority = 0x2,
    Reset = 0x3,
    Settings = 0x4,
    PushPromise = 0x5,
    Ping = 0x6,
    GoAway = 0x7,
    WindowUpdate = 0x8,
    Continuation = 0x9,
    Unknown = 0xff,
}

impl Kind {
    const fn from_wire(kind: u8) -> Self {
        match kind {
            0x0 => Self::Data,
            0x1 => Self::Headers,
            0x2 => Self::Priority,
            0x3 => Self::Reset,
            0x4 => Self::Settings,
            0x5 => Self::PushPromise,
            0x6 => Self::Ping,
            0x7 => Self::GoAway,
            0x8 => Self::WindowUpdate,
            0x9 => Self::Continuation,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_wire() {
        let header = Header::new(0x01_0203, Kind::Continuation, END_HEADERS, StreamId(0x0102_0304));
        assert_eq!(header.to_wire(), [1, 2, 3, 9, 4, 1, 2, 3, 4]);
        assert_eq!(Header::parse(header.to_wire()), header);
    }

    #[test]
    fn the_reserved_bit_is_ignored() {
        assert_eq!(Header::parse([0, 0, 0, 0, 0, 0x80, 0, 0, 1]).id, StreamId(1));
    }
}
