//! A peer that is not an agent of ours.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use culvert_policy::Reason;
use h2::{RecvStream, SendStream, client::SendRequest};
use http::{Method, Request, StatusCode, Uri};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::{
    super::{
        hbone::{self, Early, Unopened},
        leg::Tcp,
        records,
    },
    fixture::{Mesh, id, pod, soon},
};
use crate::identity::{Workload, server_name};

/// An authenticated HTTP/2 connection to the pod's HBONE port, from the address of `sleep`.
pub(super) struct Tunnel {
    requests: SendRequest<Bytes>,
    pub(super) local: SocketAddr,
}

impl Tunnel {
    pub(super) async fn open(mesh: &Mesh) -> Self {
        let workload = mesh.identities.ready_workload(&id("sleep"));
        let tcp = dial(mesh).await;
        let local = tcp.local_addr().unwrap();
        let connector = TlsConnector::from(workload.hbone_connector(&id("httpbin")));
        let tls = soon(connector.connect(server_name(), tcp)).await.unwrap();
        let (requests, connection) = soon(h2::client::handshake(tls)).await.unwrap();
        tokio::spawn(connection);
        Self { requests, local }
    }

    /// The status that a request is answered with.
    pub(super) async fn ask(&self, method: Method, target: &str, forwarded: Option<&str>) -> StatusCode {
        let (answer, _stream) = self.request(method, target, forwarded).await;
        soon(answer).await.unwrap().status()
    }

    /// A stream that was accepted.
    pub(super) async fn stream(&self, target: &str, forwarded: &str) -> (SendStream<Bytes>, RecvStream) {
        let (answer, send) = self.request(Method::CONNECT, target, Some(forwarded)).await;
        let answer = soon(answer).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        (send, answer.into_body())
    }

    async fn request(
        &self,
        method: Method,
        target: &str,
        forwarded: Option<&str>,
    ) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        let mut request = Request::builder().method(method).uri(target.parse::<Uri>().unwrap());
        if let Some(forwarded) = forwarded {
            request = request.header("forwarded", forwarded);
        }
        let mut requests = soon(self.requests.clone().ready()).await.unwrap();
        requests.send_request(request.body(()).unwrap(), false).unwrap()
    }
}

async fn dial(mesh: &Mesh) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    soon(socket.connect(mesh.hbone)).await.unwrap()
}

/// Why an agent gets no stream that trusts the server, but shows the certificate of `foreign`.
pub(super) async fn refusal(mesh: &Mesh, foreign: &Workload) -> Reason {
    let trusted = mesh.identities.ready_workload(&id("sleep")).hbone_connector(&id("httpbin"));
    let mut config = rustls::ClientConfig::clone(&trusted);
    config.client_auth_cert_resolver =
        foreign.hbone_connector(&id("httpbin")).client_auth_cert_resolver.clone();
    config.resumption = rustls::client::Resumption::disabled();
    let session =
        soon(records::connect(Arc::new(config), dial(mesh).await)).await.unwrap_or_else(|_| panic!());
    let (tunnel, mut driver) = hbone::Tunnel::open(session);
    let (lease, pod) = (tunnel.lease().unwrap(), pod("sleep"));
    let (_listener, silent) = silent().await;
    let (app, mut early) = (Tcp::new(silent), Early::default());
    let stream = lease.connect(mesh.hbone, mesh.hbone, &pod, &app, &mut early);
    match soon(async { tokio::join!(stream, driver.run(&tunnel)) }).await.0 {
        Err(Unopened::Failed(failure) | Unopened::Stale(_, failure)) => failure.reason,
        Ok(_) => panic!("a stream was opened"),
    }
}

/// An application that says nothing.
async fn silent() -> (TcpListener, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (listener, stream)
}
