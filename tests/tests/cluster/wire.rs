//! Peers made by hand: the two ends of HBONE, with any certificate, so that what agents accept and refuse is
//! not told by agents alone.

use std::{
    io::{self, Read as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use bytes::Bytes;
use culvert_testbed::{Credentials, DEADLINE, Family, Place, Pod, tls};
use h2::{RecvStream, SendStream, client::SendRequest};
use http::{Method, Request, Response};
use rustls::{ServerConnection, pki_types::CertificateDer};
use tokio::{net::TcpStream as TokioStream, runtime::Runtime, task::JoinHandle, time::timeout};
use tokio_rustls::TlsConnector;

pub(crate) const HBONE_PORT: u16 = 15008;

/// The protocol that both ends offer there.
const HBONE: &[u8] = b"h2";

/// How a handshake of ours with a pod's agent ends: what the agent says to our certificate, or to none, comes with the
/// first read. Returns our address.
pub(crate) fn refusal(
    from: &Place,
    server: &Pod,
    family: Family,
    shown: Option<&Credentials>,
) -> (SocketAddr, io::Error) {
    let tcp = from.connect(server.address(family, HBONE_PORT)).expect("the agent listens");
    let source = tcp.local_addr().expect("a connected socket has one");
    let mut stream = tls::client(tcp, tls::client_config(shown, HBONE));
    match stream.read(&mut [0; 64]) {
        Err(error) => (source, error),
        Ok(count) => panic!("the agent accepted the certificate and sent {count} bytes"),
    }
}

/// Has one client shake hands with us, who show `credentials`, and returns what the client says to them.
pub(crate) fn accept_tls(tcp: &mut TcpStream, credentials: &Credentials) -> io::Result<()> {
    let config = tls::server_config(credentials, HBONE, None);
    let mut tls = ServerConnection::new(Arc::new(config)).expect("the configuration is good");
    while tls.is_handshaking() {
        tls.complete_io(tcp)?;
    }
    Ok(())
}

/// The alert behind an error of a TLS stream.
pub(crate) fn alert(error: &io::Error) -> rustls::AlertDescription {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        _ => panic!("expected an alert, found {error:?}"),
    }
}

/// A client of an agent's HBONE port.
pub(crate) struct Hbone {
    runtime: Runtime,
    requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
    source: SocketAddr,
    certificate: CertificateDer<'static>,
}

/// A stream that was granted, or the answer why not.
pub(crate) struct Answer {
    response: Response<RecvStream>,
    send: SendStream<Bytes>,
}

impl Hbone {
    /// Connects from a place to the agent of a pod.
    pub(crate) fn open(
        from: &Place,
        server: &Pod,
        family: Family,
        credentials: &Credentials,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let tcp = from.connect(server.address(family, HBONE_PORT))?;
        tcp.set_nonblocking(true)?;
        let source = tcp.local_addr()?;
        let connector = TlsConnector::from(Arc::new(tls::client_config(Some(credentials), HBONE)));
        let (requests, connection, certificate) = runtime.block_on(async {
            let tls = connector.connect(tls::server_name(), TokioStream::from_std(tcp)?).await?;
            let certificate = tls.get_ref().1.peer_certificates().expect("servers show one")[0].clone();
            let (requests, connection) = h2::client::handshake(tls).await.map_err(io::Error::other)?;
            io::Result::Ok((requests, tokio::spawn(connection), certificate))
        })?;
        Ok(Self { runtime, requests, connection, source, certificate })
    }

    /// Our address.
    pub(crate) fn source(&self) -> SocketAddr {
        self.source
    }

    /// What the agent has shown.
    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Sends a request and waits for the answer.
    pub(crate) fn request(&mut self, request: Request<()>) -> Result<Answer, h2::Error> {
        let requests = self.requests.clone();
        wait(&self.runtime, async {
            let (response, send) = requests.ready().await?.send_request(request, false)?;
            Ok(Answer { response: response.await?, send })
        })
    }

    /// Sends a word on a stream and waits for it to come back.
    pub(crate) fn exchange(&self, answer: &mut Answer, word: &'static [u8]) -> Result<(), h2::Error> {
        answer.send.send_data(Bytes::from_static(word), false)?;
        let back = wait(&self.runtime, answer.response.body_mut().data()).expect("the stream is open")?;
        assert_eq!(back, word);
        Ok(())
    }

    /// Ends our side of a stream and waits for the end of the other.
    pub(crate) fn finish(&self, mut answer: Answer) -> Result<(), h2::Error> {
        answer.send.send_data(Bytes::new(), true)?;
        while let Some(found) = wait(&self.runtime, answer.response.body_mut().data()) {
            assert_eq!(found?, "", "expected the end of the stream");
        }
        Ok(())
    }

    /// Waits for the agent to close the connection.
    pub(crate) fn closed(self) -> Result<(), h2::Error> {
        drop(self.requests);
        wait(&self.runtime, self.connection).expect("the task is not cancelled")
    }
}

impl Answer {
    pub(crate) fn status(&self) -> http::StatusCode {
        self.response.status()
    }
}

fn wait<R>(runtime: &Runtime, future: impl Future<Output = R>) -> R {
    runtime.block_on(async { timeout(DEADLINE, future).await }).expect("the agent answers in time")
}

/// A CONNECT to an address.
pub(crate) fn connect_to(target: SocketAddr) -> Request<()> {
    request(Method::CONNECT, &target.to_string())
}

pub(crate) fn request(method: Method, target: &str) -> Request<()> {
    Request::builder().method(method).uri(target).body(()).expect("a request")
}
