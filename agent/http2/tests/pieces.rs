//! Input may be anything, and cut anywhere.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use culvert_http2::{Connection, Violation, fuzz};
use proptest::{collection::vec, prelude::*};
use support::*;

/// Something of everything that a client may send.
fn conversation() -> Vec<u8> {
    let block = connect_block();
    let (first, rest) = block.split_at(7);
    let (second, third) = rest.split_at(0);
    [
        PREFACE.to_vec(),
        setting(4, 100),
        frame(SETTINGS, ACK, 0, &[]),
        frame(PRIORITY, 0, 9, &[0; 5]),
        frame(HEADERS, PADDED | WITH_PRIORITY, 1, &[&[2, 0, 0, 0, 0, 1][..], first, &[0; 2]].concat()),
        frame(CONTINUATION, 0, 1, second),
        frame(CONTINUATION, END_HEADERS, 1, third),
        frame(DATA, PADDED, 1, &[&[3][..], b"hello", &[0; 3]].concat()),
        frame(PING, 0, 0, b"12345678"),
        request(3),
        frame(0xee, 0xff, 3, b"what is this"),
        frame(DATA, 0, 1, &[7; 5000]),
        window_update(1, 9),
        rst_stream(3, 8),
        frame(DATA, END_STREAM, 1, b"!"),
        frame(GOAWAY, 0, 0, &[&[0; 8][..], b"good bye"].concat()),
    ]
    .concat()
}

/// The events, with the payload of consecutive parts as one.
fn events(parts: &[&[u8]]) -> Result<(Vec<Seen>, Vec<u8>), Violation> {
    let mut server = Connection::server(LIMITS);
    let mut all: Vec<Seen> = Vec::new();
    for part in parts {
        for seen in feed(&mut server, part)? {
            match (all.last_mut(), seen) {
                (
                    Some(Seen::Data { id, bytes, end: end @ false }),
                    Seen::Data { id: same, bytes: more, end: now },
                ) if *id == same => (*bytes, *end) = (*bytes + more, now),
                _ => all.push(seen),
            }
        }
    }
    Ok((all, server.output().filled().to_vec()))
}

#[test]
fn input_may_be_cut_at_each_byte() {
    let bytes = conversation();
    let whole = events(&[&bytes]).unwrap();
    assert_eq!(whole.0.len(), 8);
    for at in 0..=bytes.len() {
        let (before, after) = bytes.split_at(at);
        assert_eq!(events(&[before, after]).as_ref(), Ok(&whole), "cut at {at}");
    }
    let single: Vec<_> = bytes.chunks(1).collect();
    assert_eq!(events(&single), Ok(whole));
}

#[test]
fn a_connection_may_be_cut_off_anywhere() {
    let bytes = conversation();
    for end in 0..bytes.len() {
        assert!(events(&[&bytes[..end]]).is_ok());
    }
}

/// Frames of a shape that peers send, so that chance gets beyond their headers.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        4 => vec(any::<u8>(), 0..20),
        1 => Just(connect_block()),
        1 => Just(vec![0x88]),
        1 => vec(0_u8..3, 4),
        1 => vec(0_u8..3, 8),
    ];
    let one = (0_u8..11, any::<u8>(), 0_u32..8, payload);
    vec(one.prop_map(|(kind, flags, id, payload)| frame(kind, flags, id, &payload)), 0..30)
        .prop_map(|frames| frames.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_break_a_promise(bytes: Vec<u8>) {
        fuzz::receive(&bytes);
    }

    #[test]
    fn no_frames_break_a_promise(frames in frames(), hello: bool) {
        let start = if hello { [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat() } else { frame(SETTINGS, 0, 0, &[]) };
        fuzz::receive(&[start, frames].concat());
    }
}
