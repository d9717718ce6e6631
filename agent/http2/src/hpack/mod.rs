//! Header compression (RFC 7541): all that a peer may send, and as little as we have to.

mod decode;
mod dynamic;
mod encode;
mod huffman;
mod integer;
mod table;

pub(crate) use decode::Decoder;
pub(crate) use encode::Encoder;

/// What an entry of a table, or a field of a list, counts beside its bytes (RFC 7541, section 4.1).
pub(crate) const FIELD_OVERHEAD: usize = 32;

/// A field block that is no valid one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum BadBlock {
    Cut,
    Integer,
    Huffman,
    Index,
    TableSize,
}

impl BadBlock {
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::Cut => "a field block ends within a field",
            Self::Integer => "an integer in a field block is beyond 2^28",
            Self::Huffman => "a string in a field block is not valid Huffman code",
            Self::Index => "a field block names an entry that no table has",
            Self::TableSize => {
                "a field block changes the size of the table to more than is allowed, or not at its start"
            }
        }
    }
}

#[cfg(test)]
mod tests;
