//! The connection to an authority: TLS 1.3 towards the name in its address, HTTP/2 within.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    codegen::Service,
    transport::{Channel, Endpoint},
};

use super::CaAddress;

/// gRPC's headers are short; this is for an authority that is none.
const MAX_HEADERS: u32 = 16 * 1024;

/// A channel that connects when it is used, and again when its connection broke.
pub(super) fn channel(address: &CaAddress, config: ClientConfig, within: Duration) -> Channel {
    // The connector knows where to go; the URI is what HTTP/2 calls the server.
    let uri = Uri::builder().scheme("https").authority(address.to_string()).path_and_query("/").build();
    Endpoint::from(uri.expect("an address is a valid authority of a URI"))
        .connect_timeout(within)
        .http2_max_header_list_size(MAX_HEADERS)
        .connect_with_connector_lazy(Connector { address: address.clone(), config: Arc::new(config) })
}

/// Opens one connection at a time.
#[derive(Clone)]
struct Connector {
    address: CaAddress,
    config: Arc<ClientConfig>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let tcp = TcpStream::connect(this.address.target()).await?;
            tcp.set_nodelay(true)?;
            notice_death(&tcp)?;
            let tls = TlsConnector::from(this.config).connect(this.address.name(), tcp).await?;
            Ok(TokioIo::new(tls))
        })
    }
}

/// Renewals are half a day apart: the kernel finds out in between whether the authority's node is still there. HTTP/2
/// pings on an idle connection would be taken for an attack by gRPC servers (gRFC A8).
fn notice_death(tcp: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(tcp);
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10));
    socket.set_tcp_keepalive(&keepalive.with_retries(3))?;
    socket.set_tcp_user_timeout(Some(Duration::from_secs(30)))
}
