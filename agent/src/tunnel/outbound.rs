//! From a pod's application to its peer. The way is chosen once: a connection that is open goes on as it is when the
//! cluster would choose otherwise by now. What must end then, the server's side ends.

use std::{net::SocketAddr, pin::Pin, rc::Rc, sync::Arc};

use culvert_policy::{Reason, SpiffeId, Transport};
use tokio::net::TcpStream;

use super::{
    dial,
    encrypted::Encrypted,
    enrolled::{Connection, Enrolled, Phase},
    failure::Failure,
    hbone::{Driver, Early, Key, Promise, Shown, Stream, Tunnel, Unopened},
    leg::{Begun, Tcp},
    originate, records,
    relay::{Carried, close, relay},
    tls::Secured,
};
use crate::{
    cluster::{Route, Verdict},
    identity::Certificate,
    observe::{Direction, Record},
};

/// A connection came to the pod's listener.
pub(super) fn accepted(enrolled: &Rc<Enrolled>, stream: TcpStream, source: SocketAddr) {
    let record = enrolled.record(Direction::Outbound, enrolled.shown(source));
    let label = Connection { record: Rc::clone(&record), admitted: Rc::default() };
    let app = Tcp::within(stream, Begun::ByApplication, &enrolled.time_wait);
    let begun = begin(Rc::clone(enrolled), app, source, Rc::clone(&record));
    enrolled.connections.spawn(label, serve(Box::pin(begun), record));
}

/// Sees a connection to its end. Its beginning comes boxed, so that its room is not kept for as long.
async fn serve(
    begun: Pin<Box<impl Future<Output = Result<(Reason, Carried), Failure>>>>,
    record: Rc<Record>,
) {
    match begun.await {
        Ok((reason, carried)) => close(&record, reason, carried.await),
        Err(failure) => record.ended(failure.reason, &*failure.detail),
    }
}

/// With the reason for the way that was chosen.
async fn begin(
    enrolled: Rc<Enrolled>,
    app: Tcp,
    source: SocketAddr,
    record: Rc<Record>,
) -> Result<(Reason, Carried), Failure> {
    let (reason, far) = reach(&enrolled, &app, source, &record).await?;
    let carried: Carried = match far {
        Far::Plain(far) => Box::pin(relay(app, far, record)),
        Far::Hbone(far) => Box::pin(far.carry(app, record)),
        Far::Encrypted(far) => Box::pin(relay(app, *far, record)),
    };
    Ok((reason, carried))
}

/// The other side of a connection, ready to take its bytes.
enum Far {
    Plain(Tcp),
    Hbone(Stream),
    Encrypted(Box<Encrypted>),
}

/// Who and where, decide, authorise, connect; with the reason for the way that was chosen.
async fn reach(
    enrolled: &Rc<Enrolled>,
    app: &Tcp,
    source: SocketAddr,
    record: &Record,
) -> Result<(Reason, Far), Failure> {
    let origin = origin(enrolled, source)?;
    let route = enrolled.context.decide.route(&enrolled.pod, origin, enrolled.next_turn());
    record.learn(|line| {
        line.destination = Some(origin);
        line.endpoint = Some(route.endpoint);
        line.peer_pod.clone_from(&route.peer);
        line.transport = transport(&route.verdict);
    });
    let far = connect(enrolled, app, &route, source, record).await?;
    Ok((route.reason, far))
}

fn origin(enrolled: &Enrolled, source: SocketAddr) -> Result<SocketAddr, Failure> {
    let origin = enrolled.context.kernel.take_origin(enrolled.netns.cookie(), source);
    origin.ok_or_else(|| Reason::NoOrigin.into())
}

const fn transport(verdict: &Verdict) -> Option<Transport> {
    match verdict {
        Verdict::Plaintext => Some(Transport::Plaintext),
        Verdict::Hbone(_) => Some(Transport::Hbone),
        Verdict::Sidecar(_) => Some(Transport::Sidecar),
        Verdict::Tls(_) => Some(Transport::Tls),
        Verdict::Refuse => None,
    }
}

/// What fails on one transport is never tried on another.
async fn connect(
    enrolled: &Rc<Enrolled>,
    app: &Tcp,
    route: &Route,
    source: SocketAddr,
    record: &Record,
) -> Result<Far, Failure> {
    match &route.verdict {
        Verdict::Plaintext => plaintext(enrolled, route.endpoint).await,
        Verdict::Hbone(identity) => {
            let stream = hbone(enrolled, app, route.endpoint, identity, source, record).await?;
            Ok(Far::Hbone(stream))
        }
        Verdict::Sidecar(identity) => sidecar(enrolled, route.endpoint, identity, record).await,
        Verdict::Tls(terms) => {
            let stream = originate::connect(enrolled, route.endpoint, terms).await?;
            Ok(Far::Encrypted(Box::new(stream)))
        }
        Verdict::Refuse => Err(route.reason.into()),
    }
}

async fn plaintext(enrolled: &Enrolled, endpoint: SocketAddr) -> Result<Far, Failure> {
    let tcp = dial::peer(&enrolled.netns, &enrolled.addresses, endpoint).await?;
    Ok(Far::Plain(Tcp::new(tcp)))
}

async fn sidecar(
    enrolled: &Enrolled,
    endpoint: SocketAddr,
    identity: &SpiffeId,
    record: &Record,
) -> Result<Far, Failure> {
    certificate(enrolled).await?;
    let tcp = dial::peer(&enrolled.netns, &enrolled.addresses, endpoint).await?;
    let secured = Secured::connect(enrolled.workload.sidecar_connector(identity), tcp).await?;
    record.learn(|line| line.peer_identity = Some(secured.peer().id().clone()));
    Ok(Far::Encrypted(Box::new(secured.into())))
}

async fn hbone(
    enrolled: &Rc<Enrolled>,
    app: &Tcp,
    endpoint: SocketAddr,
    identity: &SpiffeId,
    source: SocketAddr,
    record: &Record,
) -> Result<Stream, Failure> {
    let peer = SocketAddr::new(endpoint.ip(), enrolled.hbone_port);
    let shown = Shown(certificate(enrolled).await?);
    let key = Key { peer, identity: identity.clone(), shown };
    let mut early = Early::default();
    let mut attempts = ATTEMPTS;
    loop {
        let lease = enrolled.pool.lease(&key, |promise| open(enrolled, &key, promise)).await?;
        record.learn(|line| line.peer_identity = Some(lease.peer().id().clone()));
        attempts -= 1;
        match lease.connect(endpoint, enrolled.shown(source), &enrolled.pod, app, &mut early).await {
            Ok(stream) => {
                record.sent.set(early.len());
                return Ok(stream);
            }
            Err(Unopened::Failed(failure)) => return Err(failure),
            Err(Unopened::Stale(tunnel, failure)) => {
                enrolled.pool.retire(&key, &tunnel);
                if attempts == 0 {
                    return Err(failure);
                }
            }
        }
    }
}

/// What the pod shows. A server may not tell at once that it was shown nothing, and must get no byte then.
async fn certificate(enrolled: &Enrolled) -> Result<Arc<Certificate>, Failure> {
    enrolled.workload.first_certificate().await;
    enrolled.workload.valid_certificate().ok_or_else(|| Reason::NoCertificate.into())
}

/// A tunnel may be about to close when it is chosen; the next one is new.
const ATTEMPTS: u32 = 2;

/// Opens a tunnel and moves its bytes, in a task of its own.
fn open(enrolled: &Rc<Enrolled>, key: &Key, promise: Promise) {
    enrolled.tunnels.spawn((), tunnel(Rc::clone(enrolled), key.clone(), promise));
}

async fn tunnel(enrolled: Rc<Enrolled>, key: Key, promise: Promise) {
    match Box::pin(handshake(&enrolled, &key)).await {
        Err(failure) => enrolled.pool.opened(&key, promise, Err(failure)),
        Ok((tunnel, driver)) => {
            enrolled.pool.opened(&key, promise, Ok(Rc::clone(&tunnel)));
            drive(&enrolled, &key, tunnel, driver).await;
        }
    }
}

async fn handshake(enrolled: &Enrolled, key: &Key) -> Result<(Rc<Tunnel>, Driver), Failure> {
    let tcp = dial::peer(&enrolled.netns, &enrolled.addresses, key.peer).await?;
    dial::watch_peer(&tcp).map_err(|error| dial::exhausted(&error))?;
    let session = records::connect(enrolled.workload.hbone_connector(&key.identity), tcp).await?;
    Ok(Tunnel::open(session))
}

async fn drive(enrolled: &Enrolled, key: &Key, tunnel: Rc<Tunnel>, mut driver: Driver) {
    let mut phase = enrolled.phase();
    tokio::select! {
        () = driver.run(&tunnel) => {}
        _ = phase.wait_for(|phase| *phase != Phase::Serving) => {}
    }
    enrolled.pool.retire(key, &tunnel);
    drop(tunnel);
    driver.finish().await;
}
