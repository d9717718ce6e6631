//! Listeners and connections, which can be taken away and given back.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, Shutdown, TcpListener},
    sync::Arc,
    time::Duration,
};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::ServerConfig;
use socket2::SockRef;
use tokio::{net::TcpStream, sync::watch};
use tokio_rustls::TlsAcceptor;

use super::{handler, shared::Shared};

/// Whether the server can be reached. Connections live as long as the opening that they came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Door {
    is_open: bool,
    /// How often it was opened.
    opening: u64,
}

/// A socket that listens, also while the server is away.
pub(super) struct Entrance {
    pub(super) listener: TcpListener,
    pub(super) tls: Arc<ServerConfig>,
}

/// As much as a client that is slow to begin may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
const BACKLOG: i32 = 1024;

/// A listener on a free port that stays its own while nobody listens there: one that the kernel has picked goes back
/// to the kernel when the socket stops listening.
pub(super) fn listen_locally() -> io::Result<TcpListener> {
    loop {
        let picked = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        match TcpListener::bind(picked) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
}

impl Door {
    pub(super) const fn new() -> Self {
        Self { is_open: true, opening: 0 }
    }

    pub(super) const fn open(&mut self) {
        self.is_open = true;
        self.opening += 1;
    }

    pub(super) const fn close(&mut self) {
        self.is_open = false;
    }
}

impl Entrance {
    /// Refuses connections from here on: a listening socket that is shut down no longer listens (tcp(7) does not
    /// say so, Linux does it).
    pub(super) fn close(&self) -> io::Result<()> {
        SockRef::from(&self.listener).shutdown(Shutdown::Both)
    }

    /// Takes connections again, at the same address.
    pub(super) fn open(&self) -> io::Result<()> {
        SockRef::from(&self.listener).listen(BACKLOG)
    }

    /// Serves who comes in, for as long as there is a door.
    pub(super) async fn serve(self: Arc<Self>, shared: Arc<Shared>, mut door: watch::Receiver<Door>) {
        while let Ok(opening) = door.wait_for(|door| door.is_open).await.map(|door| *door) {
            // A listener that fails was closed behind the door.
            let _ = self.serve_while(opening, &shared, &door).await;
            tokio::task::yield_now().await;
        }
    }

    async fn serve_while(
        &self,
        opening: Door,
        shared: &Arc<Shared>,
        door: &watch::Receiver<Door>,
    ) -> io::Result<()> {
        let listener = self.listener.try_clone()?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let mut changes = door.clone();
        loop {
            let (stream, _) = tokio::select! {
                biased;
                // First: a listener that was closed counts as ready for ever, and asking it again would never end.
                _ = changes.wait_for(|door| *door != opening) => return Ok(()),
                accepted = listener.accept() => accepted?,
            };
            stream.set_nodelay(true)?;
            let (tls, shared, mut door) = (Arc::clone(&self.tls), Arc::clone(shared), door.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = converse(stream, tls, shared) => {}
                    _ = door.wait_for(|door| *door != opening) => {}
                }
            });
        }
    }
}

async fn converse(stream: TcpStream, tls: Arc<ServerConfig>, shared: Arc<Shared>) {
    let handshake = tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(stream));
    let Ok(Ok(stream)) = handshake.await else { return };
    let service = service_fn(move |request| {
        let answer = handler::answer(Arc::clone(&shared), request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    // How a connection ends is the client's business, and a fault's.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}
