//! Integers (RFC 7541, section 5.1).

use super::BadBlock;

/// Takes an integer from the front of `input`, of whose first byte the lower `prefix` bits belong to it.
pub(super) fn decode(input: &mut &[u8], prefix: u32) -> Result<usize, BadBlock> {
    let mask = (1 << prefix) - 1;
    let first = usize::from(byte(input)?) & mask;
    if first < mask {
        return Ok(first);
    }
    let mut value = first;
    for shift in (0..MAX_BITS).step_by(7) {
        let byte = usize::from(byte(input)?);
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(BadBlock::Integer)
}

/// In four bytes; nothing here is nearly as large.
const MAX_BITS: u32 = 28;

fn byte(input: &mut &[u8]) -> Result<u8, BadBlock> {
    let (first, rest) = input.split_first().ok_or(BadBlock::Cut)?;
    *input = rest;
    Ok(*first)
}

/// Appends an integer whose first byte has `flags` above the lower `prefix` bits.
pub(super) fn encode(value: usize, prefix: u32, flags: u8, into: &mut Vec<u8>) {
    let mask = (1 << prefix) - 1;
    let low = |value: usize| value.to_le_bytes()[0];
    if value < mask {
        return into.push(flags | low(value));
    }
    into.push(flags | low(mask));
    let mut rest = value - mask;
    while rest >= 0x80 {
        into.push(low(rest) | 0x80);
        rest >>= 7;
    }
    into.push(low(rest));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(value: usize, prefix: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(value, prefix, 0, &mut bytes);
        bytes
    }

    /// RFC 7541, appendix C.1.
    #[test]
    fn the_examples_of_the_rfc_hold() {
        for (value, prefix, bytes) in [(10, 5, &[10][..]), (1337, 5, &[31, 154, 10]), (42, 8, &[42])] {
            assert_eq!(encoded(value, prefix), bytes);
            assert_eq!(decode(&mut &*bytes, prefix), Ok(value));
        }
    }

    #[test]
    fn integers_survive() {
        for value in (0..70_000).step_by(61).chain([126, 127, 128, 254, 255, 256, (1 << 28) - 1]) {
            for prefix in 4..=7 {
                assert_eq!(decode(&mut &encoded(value, prefix)[..], prefix), Ok(value));
            }
        }
    }

    #[test]
    fn one_that_is_cut_or_does_not_end_is_refused() {
        assert_eq!(decode(&mut &[][..], 7), Err(BadBlock::Cut));
        assert_eq!(decode(&mut &[0x7f, 0x80][..], 7), Err(BadBlock::Cut));
        assert_eq!(decode(&mut &[0x7f, 0x80, 0x80, 0x80, 0x80, 0x00][..], 7), Err(BadBlock::Integer));
        assert_eq!(decode(&mut &[0xff; 100][..], 7), Err(BadBlock::Integer));
    }
}
