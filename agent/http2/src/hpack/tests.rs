//! The examples of RFC 7541, appendix C, and what breaks a block.

use proptest::prelude::*;

use super::{BadBlock, Decoder, Encoder};
use crate::Request;

type Fields = Vec<(String, String)>;

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Fields, BadBlock> {
    let mut fields = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    decoder.decode(block, |name, value| {
        fields.push((text(name), text(value)));
        Ok::<_, BadBlock>(())
    })?;
    Ok(fields)
}

/// Bytes as the RFC prints them, and text between quotes.
fn block(parts: &[&str]) -> Vec<u8> {
    let hex = |part: &str| {
        let digits: Vec<u8> = part.bytes().filter(|byte| *byte != b' ').collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    };
    let part =
        |part: &&str| part.strip_prefix('"').map_or_else(|| hex(part), |text| text.as_bytes().to_vec());
    parts.iter().flat_map(part).collect()
}

fn fields(expected: &[(&str, &str)]) -> Fields {
    expected.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

const FIRST: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
const THIRD: [(&str, &str); 5] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/index.html"),
    (":authority", "www.example.com"),
    ("custom-key", "custom-value"),
];

/// C.2.
#[test]
fn each_kind_of_field_is_understood() {
    let decoder = &mut Decoder::default();
    let indexed = block(&["40 0a", "\"custom-key", "0d", "\"custom-header"]);
    assert_eq!(decode(decoder, &indexed).unwrap(), fields(&[("custom-key", "custom-header")]));
    assert_eq!(decoder.dynamic.size(), 55);
    let not_indexed = block(&["04 0c", "\"/sample/path"]);
    assert_eq!(decode(decoder, &not_indexed).unwrap(), fields(&[(":path", "/sample/path")]));
    let never_indexed = block(&["10 08", "\"password", "06", "\"secret"]);
    assert_eq!(decode(decoder, &never_indexed).unwrap(), fields(&[("password", "secret")]));
    assert_eq!(decoder.dynamic.size(), 55);
    assert_eq!(decode(decoder, &[0x82]).unwrap(), fields(&[(":method", "GET")]));
}

/// C.3.
#[test]
fn requests_without_huffman_code_fill_the_table() {
    let decoder = &mut Decoder::default();
    let first = block(&["82 86 84 41 0f", "\"www.example.com"]);
    assert_eq!(decode(decoder, &first).unwrap(), fields(&FIRST));
    assert_eq!(decoder.dynamic.size(), 57);
    let second = block(&["82 86 84 be 58 08", "\"no-cache"]);
    assert_eq!(decode(decoder, &second).unwrap()[4], ("cache-control".into(), "no-cache".into()));
    assert_eq!(decoder.dynamic.size(), 110);
    let third = block(&["82 87 85 bf 40 0a", "\"custom-key", "0c", "\"custom-value"]);
    assert_eq!(decode(decoder, &third).unwrap(), fields(&THIRD));
    assert_eq!(decoder.dynamic.size(), 164);
}

/// C.4.
#[test]
fn requests_with_huffman_code_fill_the_table() {
    let decoder = &mut Decoder::default();
    let first = block(&["82 86 84 41 8c f1e3 c2e5 f23a 6ba0 ab90 f4ff"]);
    assert_eq!(decode(decoder, &first).unwrap(), fields(&FIRST));
    let second = block(&["82 86 84 be 58 86 a8eb 1064 9cbf"]);
    assert_eq!(decode(decoder, &second).unwrap()[4], ("cache-control".into(), "no-cache".into()));
    let third = block(&["82 87 85 bf 40 88 25a8 49e9 5ba9 7d7f 89 25a8 49e9 5bb8 e8b4 bf"]);
    assert_eq!(decode(decoder, &third).unwrap(), fields(&THIRD));
    assert_eq!(decoder.dynamic.size(), 164);
}

/// C.5, where the table holds 256 bytes.
#[test]
fn entries_are_evicted_oldest_first() {
    let decoder = &mut Decoder::default();
    let first = block(&[
        "3f e1 01 48 03",
        "\"302",
        "58 07",
        "\"private",
        "61 1d",
        "\"Mon, 21 Oct 2013 20:13:21 GMT",
        "6e 17",
        "\"https://www.example.com",
    ]);
    assert_eq!(decode(decoder, &first).unwrap().len(), 4);
    assert_eq!(decoder.dynamic.size(), 222);
    let second = decode(decoder, &block(&["48 03", "\"307", "c1 c0 bf"])).unwrap();
    assert_eq!(second[0], (":status".into(), "307".into()));
    assert_eq!(second[3], ("location".into(), "https://www.example.com".into()));
    assert_eq!(decoder.dynamic.size(), 222);
    let cookie = "\"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
    let date = "\"Mon, 21 Oct 2013 20:13:22 GMT";
    let third =
        decode(decoder, &block(&["88 c1 61 1d", date, "c0 5a 04", "\"gzip", "77 38", cookie])).unwrap();
    assert_eq!(third[3], ("location".into(), "https://www.example.com".into()));
    assert_eq!(decoder.dynamic.size(), 215);
}

#[test]
fn what_breaks_a_block_is_named() {
    let broken = |parts: &[&str]| decode(&mut Decoder::default(), &block(parts)).unwrap_err();
    assert_eq!(broken(&["80"]), BadBlock::Index);
    assert_eq!(broken(&["be"]), BadBlock::Index);
    assert_eq!(broken(&["7e 00"]), BadBlock::Index);
    assert_eq!(broken(&["40 0a", "\"custom"]), BadBlock::Cut);
    assert_eq!(broken(&["40"]), BadBlock::Cut);
    assert_eq!(broken(&["3f e2 1f"]), BadBlock::TableSize);
    assert_eq!(broken(&["82 20"]), BadBlock::TableSize);
    assert_eq!(broken(&["ff ff ff ff ff 7f"]), BadBlock::Integer);
    assert_eq!(broken(&["41 81 00"]), BadBlock::Huffman);
}

#[test]
fn an_entry_larger_than_the_table_empties_it() {
    let decoder = &mut Decoder::default();
    decode(decoder, &block(&["40 01", "\"a", "01", "\"b"])).unwrap();
    let large = "\"".to_owned() + &"x".repeat(4096);
    decode(decoder, &block(&["40 01", "\"a", "7f 81 1f", &large])).unwrap();
    assert_eq!(decoder.dynamic.size(), 0);
    assert_eq!(decode(decoder, &[0xbe]), Err(BadBlock::Index));
}

#[test]
fn what_we_write_is_read_back_and_answers_are_small() {
    let (encoder, decoder) = (&mut Encoder::default(), &mut Decoder::default());
    let request =
        Request { authority: "10.0.0.7:80", headers: &[("forwarded", "for=\"10.0.0.1:4\""), ("via", "")] };
    let expected = [
        (":method", "CONNECT"),
        (":authority", "10.0.0.7:80"),
        ("forwarded", "for=\"10.0.0.1:4\""),
        ("via", ""),
    ];
    for _ in 0..2 {
        assert_eq!(decode(decoder, encoder.connect(&request)).unwrap(), fields(&expected));
    }
    assert_eq!(encoder.status(200), [0x88]);
    for status in ["204", "404", "503", "999"] {
        let block = encoder.status(status.parse().unwrap());
        assert_eq!(decode(decoder, block).unwrap(), fields(&[(":status", status)]));
    }
}

proptest! {
    #[test]
    fn no_block_makes_the_table_larger_than_it_may_be(blocks: Vec<Vec<u8>>) {
        let decoder = &mut Decoder::default();
        for block in blocks {
            let _ = decode(decoder, &block);
            prop_assert!(decoder.dynamic.size() <= 4096);
        }
    }
}
