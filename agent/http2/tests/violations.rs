//! What RFC 9113 forbids, each with the code that it asks for.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use culvert_http2::{Connection, ErrorCode, Limits};
use support::*;

/// The bytes end the connection, and a GOAWAY says so.
#[track_caller]
fn ends(mut connection: Connection<u32>, bytes: &[u8], code: ErrorCode) {
    let violation = feed(&mut connection, bytes).unwrap_err();
    assert_eq!(violation.code, code, "{violation}");
    let (kind, _, _, payload) = sent(&mut connection).pop().unwrap();
    assert_eq!((kind, payload[4..].to_vec()), (GOAWAY, (code as u32).to_be_bytes().to_vec()));
    assert_eq!(feed(&mut connection, &frame(PING, 0, 0, &[0; 8])), Err(violation));
    assert!(connection.output().is_empty(), "a connection that is over answers");
}

/// The bytes end stream 1, which the owner and the peer are told, and nothing else.
#[track_caller]
fn resets(mut connection: Connection<u32>, bytes: &[u8], code: ErrorCode) {
    let seen = feed(&mut connection, bytes).unwrap();
    assert_eq!(seen.last(), Some(&Seen::Reset { id: 1, code, by_peer: false }));
    assert_eq!(connection.open(), 0);
    assert_eq!(connection.len(), 1, "what is kept with the stream stays");
    let (kind, _, id, payload) = sent(&mut connection).pop().unwrap();
    assert_eq!((kind, id, payload), (RST_STREAM, 1, (code as u32).to_be_bytes().to_vec()));
    assert_eq!(feed(&mut connection, &frame(DATA, 0, 1, b"late")), Ok(vec![]));
    assert_eq!(feed(&mut connection, &rst_stream(1, 0)), Ok(vec![]));
    assert_eq!(sent(&mut connection), [], "what crossed the reset is answered");
}

/// A request is refused before the owner hears of it.
#[track_caller]
fn refused(fields: &[(&str, &str)]) {
    let mut connection = server(LIMITS);
    assert_eq!(feed(&mut connection, &frame(HEADERS, END_HEADERS, 1, &block(fields))), Ok(vec![]));
    let code = (ErrorCode::ProtocolError as u32).to_be_bytes().to_vec();
    assert_eq!(sent(&mut connection), [(RST_STREAM, 0, 1, code)]);
    assert_eq!(connection.len(), 0);
}

/// Both ends answer alike.
#[track_caller]
fn ends_both(bytes: &[u8], code: ErrorCode) {
    ends(serving(), bytes, code);
    ends(connected(), bytes, code);
}

#[track_caller]
fn resets_both(bytes: &[u8], code: ErrorCode) {
    resets(serving(), bytes, code);
    resets(connected(), bytes, code);
}

#[test]
fn a_server_insists_on_the_preface() {
    ends(Connection::server(LIMITS), b"GET / HTTP/1.1\r\n\r\n", ErrorCode::ProtocolError);
    ends(Connection::server(LIMITS), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", ErrorCode::ProtocolError);
}

#[test]
fn the_first_frame_is_settings() {
    for first in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, ACK, 0, &[]), window_update(0, 1)] {
        ends(Connection::client(LIMITS), &first, ErrorCode::ProtocolError);
        ends(Connection::server(LIMITS), &[PREFACE, &first].concat(), ErrorCode::ProtocolError);
    }
}

#[test]
fn no_frame_is_larger_than_announced() {
    for kind in [DATA, HEADERS, SETTINGS, 0xee] {
        ends_both(&[0, 0x40, 1, kind, 0, 0, 0, 0, 1], ErrorCode::FrameSizeError);
    }
}

#[test]
fn frames_have_the_size_of_their_type() {
    for bytes in [
        frame(SETTINGS, 0, 0, &[0; 5]),
        frame(SETTINGS, ACK, 0, &[0; 6]),
        frame(PING, 0, 0, &[0; 7]),
        frame(PING, ACK, 0, &[0; 9]),
        frame(GOAWAY, 0, 0, &[0; 7]),
        frame(RST_STREAM, 0, 1, &[0; 3]),
        frame(WINDOW_UPDATE, 0, 1, &[0; 5]),
        frame(WINDOW_UPDATE, 0, 0, &[0; 3]),
        frame(DATA, PADDED, 1, &[]),
        frame(HEADERS, PADDED | END_HEADERS, 1, &[]),
        frame(HEADERS, WITH_PRIORITY | END_HEADERS, 1, &[0; 4]),
        frame(PRIORITY, 0, 3, &[0; 4]),
    ] {
        ends_both(&bytes, ErrorCode::FrameSizeError);
    }
    resets_both(&frame(PRIORITY, 0, 1, &[0; 6]), ErrorCode::FrameSizeError);
}

#[test]
fn frames_of_a_stream_name_one_and_others_do_not() {
    for kind in [DATA, HEADERS, PRIORITY, RST_STREAM, CONTINUATION] {
        ends_both(&frame(kind, END_HEADERS, 0, &[0; 4]), ErrorCode::ProtocolError);
    }
    for (kind, size) in [(SETTINGS, 6), (PING, 8), (GOAWAY, 8)] {
        ends_both(&frame(kind, 0, 1, &vec![0; size]), ErrorCode::ProtocolError);
    }
}

#[test]
fn nothing_is_for_a_stream_that_is_not_open_yet() {
    for bytes in
        [frame(DATA, 0, 3, b"x"), rst_stream(3, 0), window_update(3, 1), frame(DATA, 0, 2, b"x"), request(2)]
    {
        ends_both(&bytes, ErrorCode::ProtocolError);
    }
    ends(connected(), &response(3), ErrorCode::ProtocolError);
}

#[test]
fn streams_are_opened_in_order() {
    let both = [request(5), rst_stream(5, 0), request(3)].concat();
    ends(server(LIMITS), &both, ErrorCode::StreamClosed);
}

#[test]
fn nothing_is_pushed() {
    ends_both(&frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x88]), ErrorCode::ProtocolError);
}

#[test]
fn a_field_block_is_continued_at_once_and_on_its_stream() {
    let cut = frame(HEADERS, 0, 3, &[]);
    let next = frame(CONTINUATION, END_HEADERS, 5, &connect_block());
    for after in [next.clone(), frame(PING, 0, 0, &[0; 8]), request(5), frame(0xee, 0, 3, &[])] {
        ends(serving(), &[cut.clone(), after].concat(), ErrorCode::ProtocolError);
    }
    ends_both(&frame(CONTINUATION, END_HEADERS, 1, &[0x88]), ErrorCode::ProtocolError);
}

#[test]
fn padding_fits_into_its_frame() {
    ends_both(&frame(DATA, PADDED, 1, &[4, 0, 0, 0]), ErrorCode::ProtocolError);
    ends_both(&frame(HEADERS, PADDED | END_HEADERS, 1, &[2, 0x88]), ErrorCode::ProtocolError);
}

#[test]
fn field_blocks_can_be_decoded() {
    ends(server(LIMITS), &frame(HEADERS, END_HEADERS, 1, &[0xff; 8]), ErrorCode::CompressionError);
    ends(connected(), &frame(HEADERS, END_HEADERS, 1, &[0xbe]), ErrorCode::CompressionError);
}

#[test]
fn data_stays_within_the_stream_s_window() {
    let fill: Vec<u8> = (0..6).flat_map(|_| frame(DATA, 0, 1, &[0; 16_384])).collect();
    resets_both(&[fill, frame(DATA, 0, 1, &[0; 1697])].concat(), ErrorCode::FlowControlError);
}

#[test]
fn padding_counts_against_the_window() {
    let mut server = server(Limits { stream_window: 10, ..LIMITS });
    feed(&mut server, &request(1)).unwrap();
    resets(server, &frame(DATA, PADDED, 1, &[9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), ErrorCode::FlowControlError);
}

#[test]
fn windows_grow_by_something_and_not_beyond_their_limit() {
    resets_both(&window_update(1, 0), ErrorCode::ProtocolError);
    resets_both(&window_update(1, (1 << 31) - 65_535), ErrorCode::FlowControlError);
    ends_both(&window_update(0, 0), ErrorCode::ProtocolError);
    ends_both(&window_update(0, (1 << 31) - 65_535), ErrorCode::FlowControlError);
    let both = [window_update(1, 1 << 30), setting(4, (1 << 31) - 1)].concat();
    ends_both(&both, ErrorCode::FlowControlError);
}

#[test]
fn settings_have_values_that_are_allowed() {
    ends_both(&setting(2, 2), ErrorCode::ProtocolError);
    ends(connected(), &setting(2, 1), ErrorCode::ProtocolError);
    ends_both(&setting(4, 1 << 31), ErrorCode::FlowControlError);
    ends_both(&setting(5, (1 << 14) - 1), ErrorCode::ProtocolError);
    ends_both(&setting(5, 1 << 24), ErrorCode::ProtocolError);
    ends_both(&setting(8, 2), ErrorCode::ProtocolError);
}

#[test]
fn settings_are_acknowledged_once() {
    ends_both(&frame(SETTINGS, ACK, 0, &[]), ErrorCode::ProtocolError);
}

#[test]
fn nothing_follows_the_end_of_a_stream() {
    let end = frame(DATA, END_STREAM, 1, b"x");
    for after in [frame(DATA, 0, 1, b"x"), frame(DATA, END_STREAM, 1, &[]), response(1)] {
        resets_both(&[end.clone(), after].concat(), ErrorCode::StreamClosed);
    }
}

#[test]
fn nothing_follows_a_reset() {
    let (reset, data) = (rst_stream(1, 8), frame(DATA, 0, 1, b"x"));
    for mut connection in [serving(), connected()] {
        let seen = feed(&mut connection, &[reset.clone(), data.clone(), data.clone()].concat());
        assert_eq!(seen, Ok(vec![Seen::Reset { id: 1, code: ErrorCode::Cancel, by_peer: true }]));
        let code = (ErrorCode::StreamClosed as u32).to_be_bytes().to_vec();
        assert_eq!(sent(&mut connection), [(RST_STREAM, 0, 1, code)]);
    }
    ends(serving(), &[reset, request(1)].concat(), ErrorCode::StreamClosed);
}

#[test]
fn answers_come_before_payload_and_are_well_formed() {
    let waiting = || {
        let mut client = client(LIMITS);
        client.connect(&CONNECT, 1).unwrap();
        client.output().clear();
        client
    };
    let answer = |flags, fields| frame(HEADERS, END_HEADERS | flags, 1, &block(fields));
    resets(waiting(), &frame(DATA, 0, 1, b"x"), ErrorCode::ProtocolError);
    resets(waiting(), &answer(0, &[]), ErrorCode::ProtocolError);
    resets(waiting(), &answer(0, &[(":status", "2oo")]), ErrorCode::ProtocolError);
    resets(waiting(), &answer(0, &[(":status", "101")]), ErrorCode::ProtocolError);
    resets(waiting(), &answer(END_STREAM, &[(":status", "100")]), ErrorCode::ProtocolError);
    resets(waiting(), &answer(0, &[(":status", "200"), ("upgrade", "x")]), ErrorCode::ProtocolError);
}

#[test]
fn trailers_end_the_stream_and_have_no_pseudo_headers() {
    resets_both(&frame(HEADERS, END_HEADERS, 1, &block(&[("a", "b")])), ErrorCode::ProtocolError);
    let status = block(&[(":status", "200")]);
    resets_both(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &status), ErrorCode::ProtocolError);
}

#[test]
fn requests_are_well_formed() {
    refused(&[(":method", "CONNECT")]);
    refused(&[(":method", "CONNECT"), (":authority", "a:1"), (":scheme", "https")]);
    refused(&[(":method", "CONNECT"), (":authority", "a:1"), (":path", "/")]);
    refused(&[(":method", "GET"), (":path", "/")]);
    refused(&[(":method", "CONNECT"), (":authority", "a:1"), ("connection", "close")]);
    refused(&[(":method", "CONNECT"), (":authority", "a:1"), ("Baggage", "x")]);
    refused(&[("baggage", "x"), (":method", "CONNECT"), (":authority", "a:1")]);
}

#[test]
fn streams_beyond_the_limit_are_refused_and_may_be_tried_again() {
    let mut server = server(LIMITS);
    let requests: Vec<u8> = (0..5).flat_map(|number| request(2 * number + 1)).collect();
    assert_eq!(feed(&mut server, &requests).unwrap().len(), 4);
    let code = (ErrorCode::RefusedStream as u32).to_be_bytes().to_vec();
    assert_eq!(sent(&mut server), [(RST_STREAM, 0, 9, code)]);
    server.reset(stream(&server, 3), ErrorCode::Cancel);
    assert_eq!(feed(&mut server, &request(11)), Ok(vec![Seen::Request { id: 11, end: false }]));
}

#[test]
fn a_later_goaway_names_no_later_stream() {
    ends(connected(), &[goaway(1, 0), goaway(3, 0)].concat(), ErrorCode::ProtocolError);
}
