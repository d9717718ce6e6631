//! What a peer's field blocks say (RFC 7541, section 6).

use super::{BadBlock, dynamic::Dynamic, huffman, integer, table::STATIC};

/// The state of decompression, one for each connection.
#[derive(Debug)]
pub(crate) struct Decoder {
    pub(super) dynamic: Dynamic,
    /// The literal field that is read.
    field: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { dynamic: Dynamic::new(TABLE_SIZE), field: Vec::new() }
    }
}

/// `SETTINGS_HEADER_TABLE_SIZE` where nothing is announced (RFC 9113, section 6.5.2).
const TABLE_SIZE: usize = 4096;

impl Decoder {
    /// Hands on each field, until `each` has had enough. The state is lost with an error, and where `each` stops.
    pub(crate) fn decode<E: From<BadBlock>>(
        &mut self,
        block: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = self.sizes(block)?;
        while let Some(first) = rest.first() {
            match first {
                0x80.. => {
                    let index = integer::decode(&mut rest, 7)?;
                    let (name, value) = self.entry(index)?;
                    each(name, value)?;
                }
                0x40.. => {
                    let name = self.literal(&mut rest, 6)?;
                    let (name, value) = self.field.split_at(name);
                    each(name, value)?;
                    self.dynamic.insert(&self.field, name.len());
                }
                0x20.. => return Err(BadBlock::TableSize.into()),
                _ => {
                    let name = self.literal(&mut rest, 4)?;
                    let (name, value) = self.field.split_at(name);
                    each(name, value)?;
                }
            }
        }
        if self.field.capacity() > MAX_SPARE {
            self.field = Vec::new();
        }
        Ok(())
    }

    /// Changes of the table's size stand first (section 4.2).
    fn sizes<'a>(&mut self, block: &'a [u8]) -> Result<&'a [u8], BadBlock> {
        let mut rest = block;
        while rest.first().is_some_and(|first| first & 0xe0 == 0x20) {
            let size = integer::decode(&mut rest, 5)?;
            if size > TABLE_SIZE {
                return Err(BadBlock::TableSize);
            }
            self.dynamic.resize(size);
        }
        Ok(rest)
    }

    fn entry(&self, index: usize) -> Result<(&[u8], &[u8]), BadBlock> {
        let place = index.checked_sub(1).ok_or(BadBlock::Index)?;
        match STATIC.get(place) {
            Some((name, value)) => Ok((name.as_bytes(), value.as_bytes())),
            None => self.dynamic.get(place - STATIC.len()).ok_or(BadBlock::Index),
        }
    }

    /// Reads a field with a literal value into `field`. How long its name is.
    fn literal(&mut self, rest: &mut &[u8], prefix: u32) -> Result<usize, BadBlock> {
        let mut field = std::mem::take(&mut self.field);
        field.clear();
        match integer::decode(rest, prefix)? {
            0 => string(rest, &mut field)?,
            index => field.extend_from_slice(self.entry(index)?.0),
        }
        let name = field.len();
        string(rest, &mut field)?;
        self.field = field;
        Ok(name)
    }
}

/// Memory that is kept from one block to the next.
const MAX_SPARE: usize = 256;

/// A string, plain or coded (section 5.2).
fn string(rest: &mut &[u8], into: &mut Vec<u8>) -> Result<(), BadBlock> {
    let coded = rest.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer::decode(rest, 7)?;
    let (bytes, after) = rest.split_at_checked(length).ok_or(BadBlock::Cut)?;
    *rest = after;
    if coded {
        return huffman::decode(bytes, into);
    }
    into.extend_from_slice(bytes);
    Ok(())
}
