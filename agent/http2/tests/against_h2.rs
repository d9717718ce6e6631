//! Each end against the `h2` crate, with streams that send, end and reset at random.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/echo.rs"]
mod echo;

use std::time::Duration;

use bytes::Bytes;
use culvert_http2::{Connection, Limits};
use echo::{EchoServer, Outcome, Plan, PlanClient, byte, run};
use futures::future::join_all;
use h2::{Reason, RecvStream, SendStream, client, server};
use http::{Method, Request, Response};
use proptest::{collection::vec, prelude::*};
use tokio::io::{DuplexStream, duplex};

/// How both ends are set up.
#[derive(Clone, Debug)]
struct Setup {
    limits: Limits,
    /// The window of the `h2` crate's streams.
    window: u32,
    frame: u32,
    /// Bytes of the transport's buffer, and of each read.
    pipe: usize,
    part: usize,
}

fn setups() -> impl Strategy<Value = Setup> {
    let window = || prop_oneof![1_u32..10, 100_u32..5000, 65_535_u32..1_000_000, Just((1 << 31) - 1)];
    let frame = || prop_oneof![Just(1_u32 << 14), Just(1 << 20), Just((1 << 24) - 1)];
    (window(), window(), frame(), frame(), 100_usize..100_000, 1_usize..70_000, 1_u32..200).prop_map(
        |(ours, window, our_frame, frame, pipe, part, streams)| Setup {
            limits: Limits {
                streams,
                stream_window: ours,
                connection_window: ours,
                frame: our_frame,
                header_list: 16_384,
            },
            window,
            frame,
            pipe,
            part,
        },
    )
}

fn plans(most: usize) -> impl Strategy<Value = Vec<Plan>> {
    let bytes = || prop_oneof![Just(0_usize), 1_usize..100, 100_usize..3000];
    let plan = (bytes(), proptest::option::weighted(0.3, bytes()));
    vec(plan.prop_map(|(bytes, reset_after)| Plan { bytes, reset_after }), 1..most)
}

fn expected(plan: &Plan) -> &'static [Outcome] {
    match plan.reset_after {
        Some(after) if after <= plan.bytes => &[Outcome::Reset],
        _ => &[Outcome::Echoed],
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_mins(2), future).await.unwrap() })
}

/// Our client against a server of the `h2` crate that echoes.
async fn our_client(setup: &Setup, plans: Vec<Plan>) -> PlanClient {
    let (ours, theirs) = duplex(setup.pipe);
    let mut owner = PlanClient::new(plans);
    let mut connection = Connection::client(setup.limits);
    let server = tokio::spawn(echo_server(theirs, setup.clone()));
    run(&mut connection, &mut owner, ours, setup.part).await.unwrap();
    assert!(connection.is_empty());
    server.await.unwrap();
    owner
}

async fn echo_server(transport: DuplexStream, setup: Setup) {
    let mut builder = server::Builder::new();
    builder.initial_window_size(setup.window).initial_connection_window_size(1 << 20);
    builder.max_frame_size(setup.frame).max_concurrent_streams(100).max_pending_accept_reset_streams(1000);
    let mut connection = builder.handshake::<_, Bytes>(transport).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        assert_eq!(request.method(), Method::CONNECT);
        assert_eq!(request.uri(), "10.0.0.7:80");
        assert_eq!(request.headers()["forwarded"], "for=\"10.0.0.1:5\"");
        let Ok(back) = respond.send_response(Response::new(()), false) else { continue };
        tokio::spawn(echo_back(request.into_body(), back));
    }
}

async fn echo_back(mut body: RecvStream, mut back: SendStream<Bytes>) {
    while let Some(Ok(bytes)) = body.data().await {
        let _ = body.flow_control().release_capacity(bytes.len());
        if back.send_data(bytes, false).is_err() {
            return;
        }
    }
    let _ = back.send_data(Bytes::new(), true);
}

/// A client of the `h2` crate against our echo.
async fn our_server(setup: &Setup, plans: &[Plan]) -> EchoServer {
    let (ours, theirs) = duplex(setup.pipe);
    let client = async {
        let mut builder = client::Builder::new();
        builder
            .initial_window_size(setup.window)
            .initial_connection_window_size(1 << 20)
            .max_frame_size(setup.frame);
        let (send_request, connection) = builder.handshake::<_, Bytes>(theirs).await.unwrap();
        let streams = async {
            let streams =
                plans.iter().enumerate().map(|(number, plan)| stream(send_request.clone(), number, plan));
            join_all(streams).await;
            drop(send_request);
        };
        let (connection, ()) = tokio::join!(connection, streams);
        connection.unwrap();
    };
    let mut owner = EchoServer::default();
    let mut connection = Connection::server(setup.limits);
    let (served, ()) = tokio::join!(run(&mut connection, &mut owner, ours, setup.part), client);
    served.unwrap();
    assert!(connection.is_empty());
    owner
}

async fn stream(send_request: client::SendRequest<Bytes>, number: usize, plan: &Plan) {
    let request = Request::builder().method(Method::CONNECT).uri("10.0.0.7:80").body(()).unwrap();
    let mut send_request = send_request.ready().await.unwrap();
    let (response, mut out) = send_request.send_request(request, false).unwrap();
    let payload: Bytes = (0..plan.bytes).map(|at| byte(number, at)).collect();
    for part in payload.chunks(1000) {
        out.send_data(Bytes::copy_from_slice(part), false).unwrap();
    }
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    let mut back = response.into_body();
    let mut echoed = Vec::new();
    loop {
        if plan.reset_after.is_some_and(|after| after <= echoed.len()) {
            return out.send_reset(Reason::CANCEL);
        }
        if echoed.len() == payload.len() {
            break;
        }
        let bytes = back.data().await.unwrap().unwrap();
        back.flow_control().release_capacity(bytes.len()).unwrap();
        echoed.extend(bytes);
    }
    out.send_data(Bytes::new(), true).unwrap();
    while let Some(rest) = back.data().await {
        assert!(rest.unwrap().is_empty());
    }
    assert_eq!(echoed, payload);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn our_client_and_h2_agree(setup in setups(), plans in plans(60)) {
        let owner = block_on(our_client(&setup, plans.clone()));
        for (number, plan) in plans.iter().enumerate() {
            prop_assert!(expected(plan).contains(&owner.done[&number]), "{number}: {plan:?} {:?}", owner.done[&number]);
        }
    }

    #[test]
    fn our_server_and_h2_agree(setup in setups(), plans in plans(60)) {
        let owner = block_on(our_server(&setup, &plans));
        prop_assert_eq!(owner.requests, plans.len());
        prop_assert_eq!(owner.resets, plans.iter().filter(|plan| expected(plan) == [Outcome::Reset]).count());
    }
}

const MANY: usize = 5000;

fn many() -> (Setup, Vec<Plan>) {
    let limits = Limits {
        streams: 100,
        stream_window: 1 << 16,
        connection_window: 1 << 20,
        frame: 1 << 20,
        header_list: 16_384,
    };
    let setup = Setup { limits, window: 1 << 16, frame: 1 << 14, pipe: 1 << 16, part: 1 << 16 };
    let plan = |number: usize| Plan {
        bytes: number * 7 % 2000,
        reset_after: number.is_multiple_of(5).then_some(number * 3 % 1000),
    };
    (setup, (0..MANY).map(plan).collect())
}

#[test]
fn thousands_of_streams_of_our_client_come_to_their_end() {
    let (setup, plans) = many();
    let owner = block_on(our_client(&setup, plans.clone()));
    assert!(plans.iter().enumerate().all(|(number, plan)| expected(plan).contains(&owner.done[&number])));
}

#[test]
fn thousands_of_streams_of_our_server_come_to_their_end() {
    let (setup, plans) = many();
    assert_eq!(block_on(our_server(&setup, &plans)).requests, MANY);
}
