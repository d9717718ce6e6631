//! Connections: bounded in number, time and size before anybody has proved anything.

use std::{
    collections::HashMap,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::service::Service;

/// One connection for each of 4,000 agents, many more than have something to ask at a time.
const CONNECTIONS: usize = 4096;
/// Of one address: a node has one agent, but others may stand behind the same address.
const CONNECTIONS_OF_ONE: usize = 64;
/// Until the end of the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Without a request. Longer than a request may take.
const IDLE: Duration = Duration::from_mins(1);
/// A connection as a whole, so that callers spread over the replicas.
const AGE: Duration = Duration::from_mins(10);
/// For open requests to end, once a connection is to close.
const DRAIN: Duration = Duration::from_secs(5);
/// The other side is asked for a sign of life this often.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Requests of one connection at a time.
const STREAMS: u32 = 32;
/// A token has two kilobytes or so.
const HEADERS: u32 = 16 * 1024;
/// What one request, and all requests of a connection, may have sent without being read.
const WINDOW: u32 = 64 * 1024;

/// The listener, and what it needs to serve a connection.
pub(super) struct Server {
    listener: TcpListener,
    tls: TlsAcceptor,
    service: Service,
    door: Arc<Door>,
}

impl Server {
    pub(super) fn new(listener: TcpListener, tls: ServerConfig, service: Service) -> Self {
        Self { listener, tls: TlsAcceptor::from(Arc::new(tls)), service, door: Arc::default() }
    }

    /// Serves until `shutdown`; then open requests have [`DRAIN`] to end.
    pub(super) async fn run(self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let (stop, stopped) = watch::channel(());
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, from)) => self.serve(stream, from, &stopped, &mut connections),
                    Err(error) => pause(&error).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
        drop((self.listener, stop));
        tracing::info!(connections = connections.len(), "certificate authority ends");
        let all_ended = async { while connections.join_next().await.is_some() {} };
        // Whoever is left is cut off with the set.
        let _ = timeout(DRAIN, all_ended).await;
    }

    fn serve(
        &self,
        stream: TcpStream,
        from: SocketAddr,
        stopped: &watch::Receiver<()>,
        connections: &mut JoinSet<()>,
    ) {
        let source = from.ip().to_canonical();
        let Some(place) = self.door.enter(source) else {
            tracing::debug!(%source, "refused a connection: there are too many");
            return;
        };
        let handshake = timeout(HANDSHAKE, self.tls.accept(stream));
        let (service, stopped) = (self.service.clone(), stopped.clone());
        connections.spawn(async move {
            match handshake.await {
                Ok(Ok(stream)) => converse(stream, source, service, stopped).await,
                Ok(Err(error)) => tracing::debug!(%source, %error, "the TLS handshake failed"),
                Err(_) => tracing::debug!(%source, "the TLS handshake took too long"),
            }
            drop(place);
        });
    }
}

/// Out of file descriptors, most likely: some connections have to end first.
async fn pause(error: &io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    sleep(Duration::from_millis(100)).await;
}

async fn converse(
    stream: TlsStream<TcpStream>,
    source: IpAddr,
    service: Service,
    mut stopped: watch::Receiver<()>,
) {
    let heard = watch::Sender::new(Instant::now());
    let mut idle = heard.subscribe();
    let requests = service_fn(move |request| {
        heard.send_replace(Instant::now());
        service.clone().answer(source, request)
    });
    let mut connection = pin!(builder().serve_connection(TokioIo::new(stream), requests));
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        () = sleep(AGE) => None,
        () = silence(&mut idle) => None,
        // An error: the sender is gone, which is what says that all is to end.
        _ = stopped.changed() => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        timeout(DRAIN, connection).await.unwrap_or(Ok(()))
    };
    if let Err(error) = ended {
        tracing::debug!(%source, %error, "the connection failed");
    }
}

fn builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADERS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    builder
}

/// Ends once nothing has been heard for [`IDLE`].
async fn silence(heard: &mut watch::Receiver<Instant>) {
    loop {
        let last = *heard.borrow_and_update();
        sleep_until(last + IDLE).await;
        if *heard.borrow() == last {
            return;
        }
    }
}

/// Counts who is in.
#[derive(Default)]
struct Door(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    all: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// One connection's place, free again when dropped.
struct Place {
    door: Arc<Door>,
    source: IpAddr,
}

impl Door {
    fn enter(self: &Arc<Self>, source: IpAddr) -> Option<Place> {
        let mut inside = self.lock();
        let of_one = inside.by_source.get(&source).copied().unwrap_or_default();
        if inside.all >= CONNECTIONS || of_one >= CONNECTIONS_OF_ONE {
            return None;
        }
        inside.all += 1;
        inside.by_source.insert(source, of_one + 1);
        Some(Place { door: self.clone(), source })
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.door.lock();
        inside.all -= 1;
        if let Some(of_one) = inside.by_source.get_mut(&self.source) {
            *of_one -= 1;
            if *of_one == 0 {
                inside.by_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_all_places() {
        let door = Arc::new(Door::default());
        let [greedy, other]: [IpAddr; 2] = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
        let mut places: Vec<Place> = std::iter::from_fn(|| door.enter(greedy)).collect();
        assert_eq!(places.len(), CONNECTIONS_OF_ONE);
        let _other = door.enter(other).unwrap();
        places.pop();
        places.push(door.enter(greedy).unwrap());
        assert!(door.enter(greedy).is_none());
        drop(places);
        assert_eq!(door.lock().by_source.len(), 1);
    }
}
