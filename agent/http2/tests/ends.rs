//! How streams and connections end, and what an owner is told.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use culvert_http2::{Connection, ErrorCode, Unavailable};
use support::*;

#[test]
fn a_client_opens_as_many_streams_as_the_server_allows() {
    let mut client = Connection::client(LIMITS);
    assert_eq!(client.peer_streams(), None);
    feed(&mut client, &setting(3, 2)).unwrap();
    assert_eq!(client.peer_streams(), Some(2));
    let opened: Vec<_> = (1..=2).map(|kept| client.connect(&CONNECT, kept).map(u32::from)).collect();
    assert_eq!(opened, [Ok(1), Ok(3)]);
    assert_eq!(client.connect(&CONNECT, 3), Err(Unavailable::Full));
    assert_eq!(client.reset(stream(&client, 1), ErrorCode::Cancel), Some(1));
    assert_eq!(client.connect(&CONNECT, 3).map(u32::from), Ok(5));
    feed(&mut client, &frame(SETTINGS, 0, 0, &[])).unwrap();
    assert_eq!(client.peer_streams(), Some(2), "what is not named stays");
}

#[test]
fn before_the_server_s_settings_a_hundred_streams_may_be_opened() {
    let mut client = Connection::client(LIMITS);
    let opened = (0..200).map_while(|kept| client.connect(&CONNECT, kept).ok()).count();
    assert_eq!((opened, client.connect(&CONNECT, 0)), (100, Err(Unavailable::Full)));
    feed(&mut client, &frame(SETTINGS, 0, 0, &[])).unwrap();
    assert_eq!(client.peer_streams(), Some(u32::MAX));
    assert!(client.connect(&CONNECT, 0).is_ok());
}

#[test]
fn a_stream_that_ended_both_ways_stays_until_it_is_forgotten() {
    let mut server = serving();
    let id = stream(&server, 1);
    assert_eq!(server.forget(id), None, "it is open");
    server.finish(id);
    assert_eq!((server.forget(id), server.open()), (None, 1));
    assert_eq!(
        feed(&mut server, &frame(DATA, END_STREAM, 1, b"x")),
        Ok(vec![Seen::Data { id: 1, bytes: 1, end: true }])
    );
    assert_eq!((server.open(), server.len(), server.get(id)), (0, 1, Some(&1)));
    assert_eq!((server.forget(id), server.len()), (Some(1), 0));
}

#[test]
fn a_stream_with_which_nothing_is_kept_is_forgotten_by_itself() {
    let mut server = server(LIMITS);
    let bytes = frame(HEADERS, END_HEADERS | END_STREAM, 1, &connect_block());
    let received = server.receive(&bytes).unwrap();
    assert!(matches!(received.event, Some(culvert_http2::Event::Request { end: true, .. })));
    server.respond(stream(&server, 1), 503, true);
    assert!(server.is_empty());
}

#[test]
fn ends_without_payload_are_ends() {
    for end in [
        frame(DATA, END_STREAM, 1, &[]),
        frame(DATA, END_STREAM | PADDED, 1, &[2, 0, 0]),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("a", "b")])),
    ] {
        for mut connection in [serving(), connected()] {
            assert_eq!(feed(&mut connection, &end), Ok(vec![Seen::End { id: 1 }]));
        }
    }
}

#[test]
fn interim_answers_do_not_show() {
    let mut client = client(LIMITS);
    client.connect(&CONNECT, 1).unwrap();
    let interim = frame(HEADERS, END_HEADERS, 1, &block(&[(":status", "103")]));
    let seen = feed(&mut client, &[interim.clone(), interim, response(1)].concat());
    assert_eq!(seen, Ok(vec![Seen::Response { id: 1, status: 200, end: false }]));
}

#[test]
fn requests_other_than_connect_reach_the_owner() {
    let mut server = server(LIMITS);
    let get = block(&[(":method", "GET"), (":scheme", "https"), (":path", "/"), ("via", "1"), ("via", "2")]);
    let bytes = frame(
        HEADERS,
        END_HEADERS | WITH_PRIORITY | PADDED,
        1,
        &[&[3, 0, 0, 0, 0, 9][..], &get, &[0; 3]].concat(),
    );
    let received = server.receive(&bytes).unwrap();
    assert_eq!(received.consumed, bytes.len());
    let Some(culvert_http2::Event::Request { request, end: false, .. }) = received.event else {
        panic!("no request")
    };
    assert_eq!((request.method(), request.authority(), request.protocol()), (&b"GET"[..], None, None));
    assert_eq!((request.get("via"), request.fields().count()), (Some(&b"1"[..]), 5));
}

#[test]
fn pings_and_settings_are_answered_at_once() {
    let mut server = serving();
    feed(&mut server, &[frame(PING, 0, 0, b"12345678"), frame(SETTINGS, 0, 0, &[])].concat()).unwrap();
    assert_eq!(sent(&mut server), [(PING, ACK, 0, b"12345678".to_vec()), (SETTINGS, ACK, 0, vec![])]);
}

#[test]
fn a_server_shuts_down_in_two_steps_so_that_no_request_is_lost() {
    let mut server = serving();
    server.shut_down();
    server.shut_down();
    let frames = sent(&mut server);
    let last = |last: u32| [last.to_be_bytes(), [0; 4]].concat();
    assert_eq!((frames[0].0, frames[0].3.clone(), frames[1].0), (GOAWAY, last((1 << 31) - 1), PING));
    assert_eq!(feed(&mut server, &request(3)).unwrap().len(), 1, "the client did not know yet");
    assert_eq!(feed(&mut server, &frame(PING, ACK, 0, &frames[1].3)), Ok(vec![]));
    assert_eq!(sent(&mut server), [(GOAWAY, 0, 0, last(3))]);
    let late = [request(5), frame(DATA, 0, 5, b"x")].concat();
    assert_eq!((feed(&mut server, &late), sent(&mut server)), (Ok(vec![]), vec![]));
    for id in [1, 3] {
        assert!(!server.is_finished());
        server.reset(stream(&server, id), ErrorCode::Cancel);
    }
    assert!(server.is_finished());
}

#[test]
fn a_server_without_streams_is_not_finished_before_the_client_knows() {
    let mut server = server(LIMITS);
    server.shut_down();
    assert!(!server.is_finished());
    let ping = sent(&mut server).remove(1);
    feed(&mut server, &frame(PING, ACK, 0, &ping.3)).unwrap();
    assert!(server.is_finished());
}

#[test]
fn a_client_that_shuts_down_opens_nothing_and_ends_with_its_last_stream() {
    let mut client = connected();
    client.shut_down();
    assert_eq!(sent(&mut client), [(GOAWAY, 0, 0, vec![0; 8])]);
    assert_eq!(client.connect(&CONNECT, 2), Err(Unavailable::GoingAway));
    let id = stream(&client, 1);
    client.finish(id);
    assert_eq!(feed(&mut client, &frame(DATA, END_STREAM, 1, &[])), Ok(vec![Seen::End { id: 1 }]));
    assert!(!client.is_finished());
    client.forget(id);
    assert!(client.is_finished());
}

#[test]
fn streams_that_a_server_has_not_looked_at_are_named() {
    let mut client = client(LIMITS);
    (0..3).for_each(|kept| assert!(client.connect(&CONNECT, kept).is_ok()));
    let code = ErrorCode::NoError;
    assert_eq!(
        feed(&mut client, &goaway((1 << 31) - 1, 0)),
        Ok(vec![Seen::GoAway { last: (1 << 31) - 1, code }])
    );
    assert_eq!(client.unprocessed(), []);
    assert_eq!(client.connect(&CONNECT, 3), Err(Unavailable::GoingAway));
    assert_eq!(feed(&mut client, &goaway(1, 0)), Ok(vec![Seen::GoAway { last: 1, code }]));
    let mut unprocessed = client.unprocessed();
    unprocessed.sort_unstable();
    assert_eq!(unprocessed.iter().map(|id| client.forget(*id)).collect::<Vec<_>>(), [Some(1), Some(2)]);
    assert_eq!((client.len(), client.unprocessed().len(), client.is_finished()), (1, 0, false));
    assert_eq!(feed(&mut client, &response(1)).unwrap().len(), 1, "the other one goes on");
}

#[test]
fn a_reset_stream_takes_nothing_more_and_says_nothing_more() {
    let mut server = serving();
    let id = stream(&server, 1);
    feed(&mut server, &frame(DATA, 0, 1, b"hello")[..12]).unwrap();
    assert_eq!(server.reset(id, ErrorCode::ConnectError), Some(1));
    assert_eq!(sent(&mut server), [(RST_STREAM, 0, 1, vec![0, 0, 0, 10])]);
    let rest = [b"lo".to_vec(), frame(DATA, 0, 1, b"x"), window_update(1, 0), rst_stream(1, 5)].concat();
    assert_eq!(feed(&mut server, &rest), Ok(vec![]));
    assert_eq!((server.reset(id, ErrorCode::Cancel), server.credit(id)), (None, 0));
    server.consumed(id, 5);
    server.finish(id);
    server.respond(id, 200, false);
    assert_eq!(sent(&mut server), []);
}

#[test]
fn a_connection_is_closed_at_once_with_the_last_stream() {
    let mut server = serving();
    server.close(ErrorCode::InternalError);
    assert_eq!(sent(&mut server), [(GOAWAY, 0, 0, vec![0, 0, 0, 1, 0, 0, 0, 2])]);
}
