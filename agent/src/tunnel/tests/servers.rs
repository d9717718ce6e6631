//! HBONE servers that are no agents of ours: what HTTP/2 allows them beyond what agents do.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use culvert_policy::Reason;
use futures::future::join_all;
use h2::server::{Builder, SendResponse};
use http::{Request, Response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::fixture::{Mesh, gist, id, soon};
use crate::{cluster::Verdict, observe::Direction::Outbound};

const HERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);

type Asked = (Request<h2::RecvStream>, SendResponse<Bytes>);

/// Serves `reviews` at [`HERE`]: each CONNECT goes to `answer`.
async fn serve(mesh: &Mesh, builder: Builder, answer: fn(Asked)) {
    let listener = TcpListener::bind((HERE, mesh.hbone.port())).await.unwrap();
    let acceptor = TlsAcceptor::from(mesh.identities.ready_workload(&id("reviews")).hbone_acceptor());
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(tunnel(acceptor.clone(), tcp, builder.clone(), answer));
        }
    });
}

async fn tunnel(acceptor: TlsAcceptor, tcp: TcpStream, builder: Builder, answer: fn(Asked)) {
    let tls = acceptor.accept(tcp).await.unwrap();
    let mut connection = builder.handshake(tls).await.unwrap();
    while let Some(Ok(asked)) = connection.accept().await {
        answer(asked);
    }
}

async fn connect(mesh: &Mesh) -> TcpStream {
    mesh.connect_by(Verdict::Hbone(id("reviews")), SocketAddr::from((HERE, 80))).await
}

/// More than the kernel takes for an application that does not read, and less than a stream's window.
const ANSWER: usize = 960 << 10;

#[tokio::test]
async fn an_answer_is_delivered_whole_when_the_server_hears_no_more() {
    let mesh = Mesh::new();
    serve(&mesh, Builder::new(), |(_unheard, mut respond)| {
        let mut send = respond.send_response(Response::new(()), false).unwrap();
        // Dropped unheard, the request is reset with NO_ERROR after that.
        send.send_data(vec![7; ANSWER].into(), true).unwrap();
    })
    .await;
    let mut client = connect(&mesh).await;
    let line = mesh.client.line().await;
    assert_eq!(gist(&line), (Outbound, "ok", Reason::PeerHbone));
    assert_eq!(line.bytes_received, ANSWER as u64);
    let mut answer = Vec::new();
    soon(client.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer.len(), ANSWER);
}

#[tokio::test]
async fn few_streams_at_once_on_a_tunnel_are_no_reason_to_fail() {
    let mesh = Mesh::new();
    let mut builder = Builder::new();
    builder.max_concurrent_streams(3);
    serve(&mesh, builder, |(request, mut respond)| {
        let mut send = respond.send_response(Response::new(()), false).unwrap();
        tokio::spawn(async move {
            let mut question = request.into_body();
            while let Some(Ok(bytes)) = question.data().await {
                send.send_data(bytes, false).unwrap();
            }
        });
    })
    .await;
    let mut clients = join_all((0..40).map(|_| connect(&mesh))).await;
    for client in &mut clients {
        soon(client.write_all(b"word")).await.unwrap();
        let mut word = [0; 4];
        soon(client.read_exact(&mut word)).await.unwrap();
        assert_eq!(&word, b"word");
    }
}
