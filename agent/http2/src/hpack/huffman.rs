//! The Huffman code of strings (RFC 7541, section 5.2 and appendix B).
//!
//! The code is a canonical one: codes of one length are consecutive, in the order of their symbols. So the lengths alone
//! define it.

use super::BadBlock;

/// Appends what `coded` stands for.
pub(super) fn decode(coded: &[u8], into: &mut Vec<u8>) -> Result<(), BadBlock> {
    let mut bits = Bits { coded, held: 0, count: 0 };
    loop {
        let window = bits.window();
        let (symbol, length) = CODE.symbol(window);
        if length > bits.count {
            // What is left is less than a code: padding, of less than a byte, with the first bits of EOS.
            return if bits.count < 8 && window == u32::MAX { Ok(()) } else { Err(BadBlock::Huffman) };
        }
        into.push(u8::try_from(symbol).map_err(|_| BadBlock::Huffman)?);
        bits.count -= length;
    }
}

/// Reads bits, first ones first.
struct Bits<'a> {
    coded: &'a [u8],
    held: u64,
    /// How many of the lower bits of `held` are to be read.
    count: usize,
}

impl Bits<'_> {
    /// The next 32 bits, with ones behind the last.
    fn window(&mut self) -> u32 {
        while self.count < 32
            && let Some((byte, rest)) = self.coded.split_first()
        {
            (self.held, self.coded) = (self.held << 8 | u64::from(*byte), rest);
            self.count += 8;
        }
        let aligned = if self.count == 0 { 0 } else { self.held << (64 - self.count) };
        let [b0, b1, b2, b3, ..] = (aligned | u64::MAX >> self.count).to_be_bytes();
        u32::from_be_bytes([b0, b1, b2, b3])
    }
}

/// The code, as decoding needs it.
struct Code {
    /// For each length: the first code that is longer, aligned to the left in 32 bits.
    ends: [u64; LONGEST + 1],
    /// For each length: its first code, and where the symbol of that stands in `symbols`.
    firsts: [(usize, usize); LONGEST + 1],
    /// Ordered by code.
    symbols: [usize; SYMBOLS],
    /// For each first byte: the length of the shortest code that may start so.
    shortest: [usize; 256],
}

static CODE: Code = Code::new();

impl Code {
    /// The symbol that these bits start with, and the length of its code.
    fn symbol(&self, window: u32) -> (usize, usize) {
        let mut length = self.shortest[(window >> 24) as usize];
        while u64::from(window) >= self.ends[length] {
            length += 1;
        }
        let (code, place) = self.firsts[length];
        (self.symbols[place + ((window >> (32 - length)) as usize - code)], length)
    }

    const fn new() -> Self {
        let mut code = Self {
            ends: [0; LONGEST + 1],
            firsts: [(0, 0); LONGEST + 1],
            symbols: [0; SYMBOLS],
            shortest: [0; 256],
        };
        let (mut next, mut place, mut length) = (0, 0, 1);
        while length <= LONGEST {
            next <<= 1;
            code.firsts[length] = (next, place);
            let mut symbol = 0;
            while symbol < SYMBOLS {
                if LENGTHS[symbol] == length {
                    code.symbols[place] = symbol;
                    place += 1;
                    next += 1;
                }
                symbol += 1;
            }
            code.ends[length] = (next as u64) << (32 - length);
            length += 1;
        }
        code.with_shortest()
    }

    const fn with_shortest(mut self) -> Self {
        let mut first = 0;
        while first < 256 {
            let mut length = 1;
            while ((first as u64) << 24) >= self.ends[length] {
                length += 1;
            }
            self.shortest[first] = length;
            first += 1;
        }
        self
    }
}

const SYMBOLS: usize = 257;
const LONGEST: usize = 30;

/// How long the code of each symbol is (RFC 7541, appendix B).
#[rustfmt::skip]
const LENGTHS: [usize; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The code of a symbol, from the tables that decode.
    fn code(symbol: u8) -> (usize, usize) {
        let place = CODE.symbols.iter().position(|other| *other == usize::from(symbol)).unwrap();
        let length = LENGTHS[usize::from(symbol)];
        let (first, start) = CODE.firsts[length];
        (first + place - start, length)
    }

    fn encode(plain: &[u8]) -> Vec<u8> {
        let (mut bytes, mut held, mut count) = (Vec::new(), 0_usize, 0);
        for symbol in plain {
            let (code, length) = code(*symbol);
            (held, count) = (held << length | code, count + length);
            while count >= 8 {
                count -= 8;
                bytes.push((held >> count).to_le_bytes()[0]);
            }
        }
        if count > 0 {
            bytes.push((held << (8 - count) | (0xff >> count)).to_le_bytes()[0]);
        }
        bytes
    }

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, BadBlock> {
        let mut plain = Vec::new();
        decode(coded, &mut plain).map(|()| plain)
    }

    /// RFC 7541, appendix B.
    #[test]
    fn codes_are_those_of_the_rfc() {
        assert_eq!(code(b'0'), (0x0, 5));
        assert_eq!(code(b'a'), (0x3, 5));
        assert_eq!(code(b' '), (0x14, 6));
        assert_eq!(code(b'\\'), (0x7fff0, 19));
        assert_eq!(code(0), (0x1ff8, 13));
        assert_eq!(code(255), (0x03ff_ffee, 26));
        assert_eq!(code(b'\n'), (0x3fff_fffc, 30));
    }

    /// RFC 7541, appendices C.4.1 and C.6.1.
    #[test]
    fn the_examples_of_the_rfc_decode() {
        let host = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decoded(&host).unwrap(), b"www.example.com");
        assert_eq!(decoded(&[0xae, 0xc3, 0x77, 0x1a, 0x4b]).unwrap(), b"private");
    }

    #[test]
    fn what_is_no_code_is_refused() {
        let eos = [0xff, 0xff, 0xff, 0xff];
        let a_byte_of_padding = [0x1f, 0xff];
        let padded_with_zeros = [0x18];
        let cut = [0xff, 0xfe];
        for coded in [&eos[..], &a_byte_of_padding, &padded_with_zeros, &cut] {
            assert_eq!(decoded(coded), Err(BadBlock::Huffman), "{coded:x?}");
        }
        assert_eq!(decoded(&[]).unwrap(), b"");
    }

    proptest! {
        #[test]
        fn strings_survive(plain: Vec<u8>) {
            prop_assert_eq!(decoded(&encode(&plain)).unwrap(), plain);
        }

        #[test]
        fn a_string_has_one_code(coded: Vec<u8>) {
            if let Ok(plain) = decoded(&coded) {
                prop_assert_eq!(encode(&plain), coded);
            }
        }
    }
}
