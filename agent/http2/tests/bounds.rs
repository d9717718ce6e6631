//! What a hostile peer may cost.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use culvert_http2::{Connection, ErrorCode, Limits};
use support::*;

/// Feeds the same bytes until the connection ends, which has to be before so many times. The output is read where
/// `reads` says so. What the output grew to.
#[track_caller]
fn tires(mut connection: Connection<u32>, bytes: impl Fn(u32) -> Vec<u8>, times: u32, reads: bool) -> usize {
    let mut most = 0;
    for time in 0..times {
        if let Err(violation) = feed(&mut connection, &bytes(time)) {
            assert_eq!(violation.code, ErrorCode::EnhanceYourCalm, "{violation}");
            return most;
        }
        for id in connection.ids().collect::<Vec<_>>() {
            connection.forget(id);
        }
        most = most.max(connection.output().len());
        if reads {
            connection.output().clear();
        }
    }
    panic!("a peer may go on and on");
}

#[test]
fn rapid_resets_end_the_connection() {
    let bytes = |time| [request(2 * time + 3), rst_stream(2 * time + 3, 8)].concat();
    tires(serving(), bytes, 1100, true);
}

#[test]
fn requests_that_we_reset_because_they_are_malformed_count_as_resets() {
    let bytes = |time| frame(HEADERS, END_HEADERS, 2 * time + 3, &block(&[("a", "b")]));
    tires(serving(), bytes, 1100, true);
    let bytes = |time| [request(2 * time + 3), window_update(2 * time + 3, 0)].concat();
    tires(serving(), bytes, 1100, true);
}

#[test]
fn answered_streams_may_be_reset_for_ever() {
    let mut server = serving();
    for id in (3..20_000).step_by(2) {
        feed(&mut server, &request(id)).unwrap();
        server.respond(stream(&server, id), 200, false);
        feed(&mut server, &rst_stream(id, 8)).unwrap();
        server.forget(stream(&server, id)).unwrap();
        server.output().clear();
    }
}

#[test]
fn frames_without_a_meaning_end_the_connection() {
    for bytes in [
        frame(DATA, 0, 1, &[]),
        frame(DATA, PADDED, 1, &[0]),
        frame(PRIORITY, 0, 9, &[0; 5]),
        frame(0xee, 0, 0, &[]),
        frame(PING, ACK, 0, &[0; 8]),
        setting(4, 7),
    ] {
        tires(serving(), |_| bytes.clone(), 20_000, true);
    }
}

#[test]
fn payload_earns_frames_without_a_meaning() {
    let mut server = serving();
    let id = stream(&server, 1);
    for _ in 0..30_000 {
        feed(&mut server, &[frame(PRIORITY, 0, 9, &[0; 5]), frame(DATA, 0, 1, b"x")].concat()).unwrap();
        server.consumed(id, 1);
        server.output().clear();
    }
}

#[test]
fn pings_may_come_for_ever_where_their_answers_are_read() {
    let mut server = serving();
    for _ in 0..100_000 {
        feed(&mut server, &frame(PING, 0, 0, &[0; 8])).unwrap();
        server.output().clear();
    }
}

#[test]
fn answers_that_nobody_reads_are_bounded() {
    let pings = |_| frame(PING, 0, 0, &[0; 8]);
    assert!(tires(serving(), pings, 20_000, false) < 200_000);
    let requests = |time| request(2 * time + 3);
    assert!(tires(server(Limits { streams: 0, ..LIMITS }), requests, 20_000, false) < 200_000);
}

#[test]
fn late_frames_for_a_stream_are_answered_once() {
    let mut server = serving();
    server.reset(stream(&server, 1), ErrorCode::Cancel);
    for id in (3..2003).step_by(2) {
        feed(&mut server, &request(id)).unwrap();
        server.respond(stream(&server, id), 200, false);
        server.reset(stream(&server, id), ErrorCode::Cancel);
    }
    server.output().clear();
    let late: Vec<u8> = (0..10).flat_map(|_| frame(DATA, 0, 1, b"x")).collect();
    feed(&mut server, &late).unwrap();
    assert_eq!(sent(&mut server).len(), 1);
}

#[test]
fn a_list_of_fields_is_bounded() {
    let value = "x".repeat(100);
    let large = frame(HEADERS, END_HEADERS, 1, &block(&[("a", value.as_str()); 20]));
    assert_eq!(feed(&mut server(LIMITS), &large).unwrap_err().code, ErrorCode::EnhanceYourCalm);
    let bomb = [vec![0x40, 1, b'a', 0x7f, 0x81, 0x06], vec![b'x'; 896], vec![0xbe; 1000]].concat();
    let bomb = frame(HEADERS, END_HEADERS, 1, &bomb);
    assert_eq!(feed(&mut server(LIMITS), &bomb).unwrap_err().code, ErrorCode::EnhanceYourCalm);
}

#[test]
fn a_field_block_is_bounded_before_it_has_come() {
    let start = &frame(HEADERS, END_HEADERS, 1, &[0; 3000])[..9];
    assert_eq!(feed(&mut server(LIMITS), start).unwrap_err().code, ErrorCode::EnhanceYourCalm);
    let pieces = [frame(HEADERS, 0, 1, &[0; 1500]), frame(CONTINUATION, 0, 1, &[0; 1000])].concat();
    assert_eq!(feed(&mut server(LIMITS), &pieces).unwrap_err().code, ErrorCode::EnhanceYourCalm);
    let mut endless = frame(HEADERS, 0, 1, &[]);
    (0..17).for_each(|_| endless.extend(frame(CONTINUATION, 0, 1, &[])));
    assert_eq!(feed(&mut server(LIMITS), &endless).unwrap_err().code, ErrorCode::EnhanceYourCalm);
}

#[test]
fn settings_are_bounded() {
    let start = &frame(SETTINGS, 0, 0, &[0; 6000])[..9];
    assert_eq!(feed(&mut serving(), start).unwrap_err().code, ErrorCode::EnhanceYourCalm);
}
