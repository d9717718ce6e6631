//! Flow control and frames at their limits.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use culvert_http2::{Connection, Limits};
use support::*;

const MAX_WINDOW: u32 = (1 << 31) - 1;

#[test]
fn what_is_announced_is_what_the_limits_say() {
    let mut client = Connection::<u32>::client(Limits { connection_window: 70_000, ..LIMITS });
    let settings = [
        &[0, 2, 0, 0, 0, 0][..],
        &[0, 4, 0, 1, 0x86, 0xa0],
        &[0, 5, 0, 0, 0x40, 0],
        &[0, 6, 0, 0, 0x07, 0xd0],
    ];
    let window = 4465_u32.to_be_bytes().to_vec();
    assert!(client.output().filled().starts_with(PREFACE));
    assert_eq!(sent(&mut client), [(SETTINGS, 0, 0, settings.concat()), (WINDOW_UPDATE, 0, 0, window)]);
    let mut server = Connection::<u32>::server(LIMITS);
    assert!(sent(&mut server)[0].3.starts_with(&[0, 3, 0, 0, 0, 4]));
}

#[test]
fn nothing_is_sent_beyond_the_windows() {
    let mut server = serving();
    assert_eq!(send(&mut server, 1, 100_000), 65_535);
    assert_eq!(feed(&mut server, &window_update(1, 10)), Ok(vec![Seen::Credit { id: Some(1) }]));
    assert_eq!(send(&mut server, 1, 100_000), 0);
    assert_eq!(feed(&mut server, &window_update(0, 3)), Ok(vec![Seen::Credit { id: None }]));
    assert_eq!(feed(&mut server, &window_update(0, 3)), Ok(vec![]));
    assert_eq!(send(&mut server, 1, 100_000), 6);
}

#[test]
fn frames_are_not_larger_than_the_peer_takes() {
    let mut server = serving();
    let id = stream(&server, 1);
    assert_eq!(server.credit(id), 1 << 14);
    feed(&mut server, &setting(5, 20_000)).unwrap();
    assert_eq!(server.credit(id), 20_000);
    send(&mut server, 1, 45_000);
    let sizes: Vec<_> =
        sent(&mut server).iter().filter(|frame| frame.0 == DATA).map(|frame| frame.3.len()).collect();
    assert_eq!(sizes, [20_000, 20_000, 5000]);
}

#[test]
fn a_smaller_initial_window_may_leave_less_than_nothing() {
    let mut server = serving();
    let id = stream(&server, 1);
    send(&mut server, 1, 1000);
    feed(&mut server, &setting(4, 400)).unwrap();
    assert_eq!(server.credit(id), 0);
    assert_eq!(feed(&mut server, &window_update(1, 600)), Ok(vec![]));
    assert_eq!(feed(&mut server, &window_update(1, 1)), Ok(vec![Seen::Credit { id: Some(1) }]));
    assert_eq!(server.credit(id), 1);
    feed(&mut server, &setting(4, 0)).unwrap();
    assert_eq!(server.credit(id), 0);
    feed(&mut server, &setting(4, 500)).unwrap();
    assert_eq!(server.credit(id), 101);
}

#[test]
fn windows_may_be_as_large_as_there_are() {
    let mut server = serving();
    feed(
        &mut server,
        &[window_update(0, MAX_WINDOW - 65_535), window_update(1, MAX_WINDOW - 65_535)].concat(),
    )
    .unwrap();
    assert_eq!(send(&mut server, 1, 200_000), 200_000);
    let limits = Limits { stream_window: u32::MAX, connection_window: u32::MAX, frame: u32::MAX, ..LIMITS };
    let mut server = support::server(limits);
    feed(&mut server, &request(1)).unwrap();
    let large = frame(DATA, 0, 1, &vec![0; (1 << 24) - 1]);
    assert_eq!(feed(&mut server, &large), Ok(vec![Seen::Data { id: 1, bytes: (1 << 24) - 1, end: false }]));
}

#[test]
fn consumed_payload_is_announced_once_half_of_the_window_is_due() {
    let mut server = serving();
    let id = stream(&server, 1);
    let payload: Vec<u8> = (0..4).flat_map(|_| frame(DATA, 0, 1, &[0; 15_000])).collect();
    feed(&mut server, &payload).unwrap();
    server.consumed(id, 49_999);
    assert_eq!(sent(&mut server), []);
    server.consumed(id, 1);
    assert_eq!(sent(&mut server), [(WINDOW_UPDATE, 0, 1, 50_000_u32.to_be_bytes().to_vec())]);
}

#[test]
fn a_stalled_stream_leaves_the_connection_s_window_to_the_others() {
    let mut server = server(LIMITS);
    feed(&mut server, &[request(1), request(3), request(5)].concat()).unwrap();
    for id in [1, 3, 5] {
        let payload: Vec<u8> = (0..6).flat_map(|_| frame(DATA, 0, id, &[0; 16_000])).collect();
        feed(&mut server, &payload).unwrap();
    }
    let updates = sent(&mut server);
    assert!(updates.iter().all(|(kind, _, id, _)| (*kind, *id) == (WINDOW_UPDATE, 0)));
    assert_eq!(updates.len(), 2);
}

#[test]
fn a_window_of_one_byte_works() {
    let mut server = server(Limits { stream_window: 1, ..LIMITS });
    feed(&mut server, &request(1)).unwrap();
    let id = stream(&server, 1);
    for _ in 0..100 {
        assert_eq!(
            feed(&mut server, &frame(DATA, 0, 1, b"x")),
            Ok(vec![Seen::Data { id: 1, bytes: 1, end: false }])
        );
        server.consumed(id, 1);
        assert_eq!(sent(&mut server), [(WINDOW_UPDATE, 0, 1, 1_u32.to_be_bytes().to_vec())]);
    }
}

#[test]
fn a_peer_that_has_not_seen_our_settings_may_use_the_default_window() {
    let mut server = Connection::server(Limits { stream_window: 10, ..LIMITS });
    let hello = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    feed(&mut server, &[hello, request(1), frame(DATA, 0, 1, &[0; 1000])].concat()).unwrap();
    feed(&mut server, &frame(SETTINGS, ACK, 0, &[])).unwrap();
    let seen = feed(&mut server, &frame(DATA, 0, 1, b"x")).unwrap();
    assert!(matches!(seen[..], [Seen::Reset { id: 1, by_peer: false, .. }]));
}

#[test]
fn padding_is_given_back_by_itself() {
    let mut server = server(Limits { stream_window: 200, ..LIMITS });
    feed(&mut server, &request(1)).unwrap();
    let id = stream(&server, 1);
    for _ in 0..100 {
        let padded = frame(DATA, PADDED, 1, &[&[99][..], b"x", &[0; 99]].concat());
        assert_eq!(feed(&mut server, &padded), Ok(vec![Seen::Data { id: 1, bytes: 1, end: false }]));
        server.consumed(id, 1);
    }
}

#[test]
fn the_end_stands_on_the_last_data_frame_that_still_waits() {
    let mut server = serving();
    let id = stream(&server, 1);
    send(&mut server, 1, 3);
    server.finish(id);
    assert_eq!(sent(&mut server), [(DATA, END_STREAM, 1, vec![0; 3])]);
    let mut server = serving();
    send(&mut server, 1, 3);
    sent(&mut server);
    server.finish(id);
    server.finish(id);
    assert_eq!(sent(&mut server), [(DATA, END_STREAM, 1, vec![])]);
    let mut server = serving();
    send(&mut server, 1, 3);
    feed(&mut server, &frame(PING, 0, 0, &[7; 8])).unwrap();
    server.finish(id);
    let flags: Vec<_> = sent(&mut server).iter().map(|(kind, flags, ..)| (*kind, *flags)).collect();
    assert_eq!(flags, [(DATA, 0), (PING, ACK), (DATA, END_STREAM)]);
}

#[test]
fn a_frame_into_which_nothing_is_written_is_not_sent() {
    let mut server = serving();
    let id = stream(&server, 1);
    assert_eq!(server.send(id, 10, |room| (0, room.len())), 10);
    assert_eq!(sent(&mut server), []);
    server.finish(id);
    assert_eq!(server.send(id, 10, |room| (0, room.len())), 0);
}

#[test]
fn a_large_request_is_continued() {
    let mut client = client(LIMITS);
    let value = "x".repeat(40_000);
    let id = client
        .connect(&culvert_http2::Request { authority: "a:1", headers: &[("baggage", value.as_str())] }, 1)
        .unwrap();
    let frames = sent(&mut client);
    let shapes: Vec<_> = frames.iter().map(|(kind, flags, ..)| (*kind, *flags)).collect();
    assert_eq!(shapes, [(HEADERS, 0), (CONTINUATION, 0), (CONTINUATION, END_HEADERS)]);
    let mut server = server(Limits { header_list: 50_000, ..LIMITS });
    let bytes: Vec<u8> =
        frames.iter().flat_map(|(kind, flags, id, payload)| frame(*kind, *flags, *id, payload)).collect();
    assert_eq!(feed(&mut server, &bytes), Ok(vec![Seen::Request { id: id.into(), end: false }]));
}
