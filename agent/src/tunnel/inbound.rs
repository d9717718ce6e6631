//! From a peer's tunnel to a pod's application.

use std::{cell::Cell, net::SocketAddr, rc::Rc};

use culvert_policy::{Reason, Transport};
use tokio::net::TcpStream;

use super::{
    application::{self, Begun},
    dial,
    enrolled::{Connection, Enrolled, HANDSHAKES, Place},
    failure::Failure,
    hbone::{self, Asked},
    records::{self, Session},
    tls::HANDSHAKE,
};
use crate::{
    identity::VerifiedPeer,
    observe::{Direction, Record},
};

/// A connection came to the pod's HBONE port.
pub(super) fn accepted(enrolled: &Rc<Enrolled>, stream: TcpStream, from: SocketAddr) {
    match Place::take(&enrolled.handshakes, HANDSHAKES) {
        Some(place) => enrolled.tunnels.spawn((), tunnel(Rc::clone(enrolled), stream, from, place)),
        None => refused(enrolled, from, &Failure::new(Reason::OutOfResources, "too many handshakes at once")),
    }
}

async fn tunnel(enrolled: Rc<Enrolled>, stream: TcpStream, from: SocketAddr, place: Place) {
    let secured = Box::pin(secure(&enrolled, stream)).await;
    drop(place);
    match secured {
        Ok(session) => serve(enrolled, session, from).await,
        Err(failure) => refused(&enrolled, from, &failure),
    }
}

async fn secure(enrolled: &Enrolled, stream: TcpStream) -> Result<Session, Failure> {
    dial::watch_peer(&stream).map_err(|error| dial::exhausted(&error))?;
    enrolled.workload.first_certificate().await;
    records::accept(enrolled.workload.hbone_acceptor(), stream, HANDSHAKE).await
}

/// A tunnel that never came to be has a record of its own.
fn refused(enrolled: &Enrolled, from: SocketAddr, failure: &Failure) {
    let record = enrolled.record(Direction::Inbound, from);
    record.learn(|line| {
        line.transport = Some(Transport::Hbone);
        line.peer_pod = enrolled.context.decide.pod_at(from.ip());
    });
    record.ended(failure.reason, &*failure.detail);
}

async fn serve(enrolled: Rc<Enrolled>, session: Session, from: SocketAddr) {
    let peer = Rc::new(session.peer.clone());
    let asked = |asked| self::asked(&enrolled, asked, &peer, from);
    if let Err(failure) = Box::pin(hbone::serve(session, enrolled.phase(), asked)).await {
        tracing::debug!(pod = %enrolled.pod, %from, reason = %failure.reason, "tunnel broke: {}", failure.detail);
    }
}

/// A peer asks for a stream.
fn asked(enrolled: &Rc<Enrolled>, asked: Asked, peer: &VerifiedPeer, tunnel: SocketAddr) {
    let client = asked.client(tunnel);
    let record = enrolled.record(Direction::Inbound, client);
    record.learn(|line| {
        line.transport = Some(Transport::Hbone);
        line.peer_identity = Some(peer.id().clone());
        line.peer_pod = enrolled.context.decide.pod_at(client.ip());
    });
    match target(enrolled, &asked) {
        Ok(target) => {
            let admitted = Rc::new(Cell::new(Some((Transport::Hbone, target.port()))));
            let label = Connection { record: Rc::clone(&record), admitted };
            let begun = Box::pin(begin(Rc::clone(enrolled), asked, target, client, Rc::clone(&record)));
            enrolled.connections.spawn(label, application::serve(begun, record));
        }
        Err(failure) => refuse(asked, &record, &failure),
    }
}

/// Only applications of this pod can be reached through it, and only from outside.
fn target(enrolled: &Enrolled, asked: &Asked) -> Result<SocketAddr, Failure> {
    let target = asked.target()?;
    let not_served = |reason| Failure::new(reason, format_args!("the peer asked for {target}"));
    let here = enrolled.addresses.contains(&target.ip());
    match here {
        true if enrolled.is_own_port(target.port()) => Err(not_served(Reason::TargetForbidden)),
        true => Ok(target),
        false if target.ip().to_canonical().is_loopback() => Err(not_served(Reason::TargetForbidden)),
        false => Err(not_served(Reason::TargetNotThisPod)),
    }
}

fn refuse(asked: Asked, record: &Record, failure: &Failure) {
    record.ended(failure.reason, &*failure.detail);
    asked.refuse(failure.reason);
}

async fn begin(
    enrolled: Rc<Enrolled>,
    asked: Asked,
    target: SocketAddr,
    client: SocketAddr,
    record: Rc<Record>,
) -> Begun {
    record.learn(|line| line.destination = Some(target));
    match application::reach(&enrolled, Transport::Hbone, target, client).await {
        Ok((reason, app, announced)) => {
            let carried = Box::pin(asked.accept().carry(app, record));
            Ok((reason, carried, announced))
        }
        Err(failure) => {
            asked.refuse(failure.reason);
            Err(failure)
        }
    }
}
