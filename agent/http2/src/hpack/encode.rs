//! What we send: names out of the static table where it has them, everything else as literals that nobody remembers.

use super::{
    integer,
    table::{self, STATIC},
};
use crate::Request;

/// Writes field blocks, each over the one before.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    block: Vec<u8>,
    started: bool,
}

impl Encoder {
    /// The fields of a CONNECT (RFC 9113, section 8.5).
    pub(crate) fn connect(&mut self, request: &Request<'_>) -> &[u8] {
        self.start();
        self.field(":method", "CONNECT");
        self.field(":authority", request.authority);
        for (name, value) in request.headers {
            self.field(name, value);
        }
        &self.block
    }

    /// The one field of an answer.
    pub(crate) fn status(&mut self, status: u16) -> &[u8] {
        self.start();
        let digits =
            [status / 100 % 10, status / 10 % 10, status % 10].map(|digit| b'0' + digit.to_le_bytes()[0]);
        let is_status = |(name, value): &(&str, &str)| *name == ":status" && value.as_bytes() == digits;
        match STATIC.iter().position(is_status) {
            Some(place) => integer::encode(place + 1, 7, INDEXED, &mut self.block),
            None => self.literal(":status", &digits),
        }
        &self.block
    }

    /// The first block says that no table is used. A peer that announces a smaller one than the protocol starts with may
    /// insist on that (RFC 9113, section 4.3.1).
    fn start(&mut self) {
        self.block.clear();
        if !std::mem::replace(&mut self.started, true) {
            self.block.push(NO_TABLE);
        }
    }

    fn field(&mut self, name: &str, value: &str) {
        self.literal(name, value.as_bytes());
    }

    /// Without indexing (RFC 7541, section 6.2.2).
    fn literal(&mut self, name: &str, value: &[u8]) {
        integer::encode(table::name(name).unwrap_or(0), 4, 0, &mut self.block);
        if table::name(name).is_none() {
            self.string(name.as_bytes());
        }
        self.string(value);
    }

    fn string(&mut self, bytes: &[u8]) {
        integer::encode(bytes.len(), 7, 0, &mut self.block);
        self.block.extend_from_slice(bytes);
    }
}

const INDEXED: u8 = 0x80;
/// A dynamic table size update to 0 (section 6.3).
const NO_TABLE: u8 = 0x20;
