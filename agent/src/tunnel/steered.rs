//! From a sidecar to a pod's application: the kernel steers here what the sidecar sends to the application's own port,
//! and the local address of what is accepted is the one that was dialled.
//!
//! A sidecar may send plaintext as well, and TLS that its application made. As Istio does, the first bytes tell; where
//! the port is `DISABLE` by now, nobody looks at them.

use std::{io, net::SocketAddr, rc::Rc};

use culvert_policy::{Reason, Transport};
use tokio::net::TcpStream;

use super::{
    application::{self, Begun},
    dial,
    encrypted::Encrypted,
    enrolled::{Admitted, Connection, Enrolled, HANDSHAKES, Place, canonical},
    failure::Failure,
    leg::{Leg, Tcp},
    opening::{self, Opening},
    relay::relay,
    tls::{HANDSHAKE, Secured},
};
use crate::observe::{Direction, Record};

/// A connection was steered to the pod's listener for sidecars.
pub(super) fn accepted(enrolled: &Rc<Enrolled>, stream: TcpStream, from: SocketAddr) {
    let record = enrolled.record(Direction::Inbound, from);
    record.learn(|line| line.peer_pod = enrolled.context.decide.pod_at(from.ip()));
    let place = Place::take(&enrolled.handshakes, HANDSHAKES);
    match place.ok_or_else(too_many).and_then(|place| Ok((place, target(enrolled, &stream)?))) {
        Ok((place, target)) => {
            record.learn(|line| line.destination = Some(target));
            let admitted = Admitted::default();
            let label = Connection { record: Rc::clone(&record), admitted: Rc::clone(&admitted) };
            let arrival = Arrival {
                enrolled: Rc::clone(enrolled),
                target,
                client: from,
                record: Rc::clone(&record),
                admitted,
            };
            let begun = Box::pin(begin(arrival, stream, place));
            enrolled.connections.spawn(label, application::serve(begun, record));
        }
        Err(failure) => record.ended(failure.reason, &*failure.detail),
    }
}

fn too_many() -> Failure {
    Failure::new(Reason::OutOfResources, "too many handshakes at once")
}

/// What the client dialled. Whoever dials the listener itself was not steered here.
fn target(enrolled: &Enrolled, stream: &TcpStream) -> Result<SocketAddr, Failure> {
    let target = canonical(stream.local_addr().map_err(|error| broken(&error))?);
    if enrolled.is_own_port(target.port()) {
        return Err(Failure::new(Reason::TargetForbidden, "the port is the agent's own"));
    }
    Ok(target)
}

/// A connection that is being looked at.
struct Arrival {
    enrolled: Rc<Enrolled>,
    target: SocketAddr,
    client: SocketAddr,
    record: Rc<Record>,
    admitted: Admitted,
}

/// The client's side, ready to be relayed.
enum Near {
    Plain(Tcp),
    Secured(Box<Encrypted>),
}

async fn begin(arrival: Arrival, stream: TcpStream, place: Place) -> Begun {
    let near = arrival.understand(stream).await;
    drop(place);
    match near? {
        Near::Plain(near) => arrival.carry(Transport::Plaintext, near).await,
        Near::Secured(near) => arrival.carry(Transport::Sidecar, *near).await,
    }
}

impl Arrival {
    async fn understand(&self, stream: TcpStream) -> Result<Near, Failure> {
        if self.admits(Transport::Sidecar).is_err() {
            return Ok(Near::Plain(self.plain(stream)));
        }
        let (opening, stream) = opening::look(stream).await.map_err(|error| broken(&error))?;
        match opening {
            Opening::Mesh => self.secure(stream).await,
            // Where nothing but mTLS is accepted, the handshake says so better than a RST.
            Opening::OwnTls if self.admits(Transport::Plaintext).is_err() => self.secure(stream).await,
            Opening::OwnTls | Opening::Plain => Ok(Near::Plain(self.plain(stream))),
        }
    }

    fn admits(&self, by: Transport) -> Result<Reason, Reason> {
        self.enrolled.context.decide.admit(&self.enrolled.pod, by, self.target.port())
    }

    fn plain(&self, stream: TcpStream) -> Tcp {
        self.record.learn(|line| line.transport = Some(Transport::Plaintext));
        Tcp::new(stream)
    }

    async fn secure(&self, stream: TcpStream) -> Result<Near, Failure> {
        self.record.learn(|line| line.transport = Some(Transport::Sidecar));
        dial::watch_peer(&stream).map_err(|error| dial::exhausted(&error))?;
        let workload = &self.enrolled.workload;
        workload.first_certificate().await;
        let secured = Secured::accept(workload.sidecar_acceptor(), stream, HANDSHAKE).await?;
        self.record.learn(|line| line.peer_identity = Some(secured.peer().id().clone()));
        Ok(Near::Secured(Box::new(secured.into())))
    }

    async fn carry(&self, by: Transport, near: impl Leg + 'static) -> Begun {
        let Self { enrolled, target, client, record, admitted } = self;
        admitted.set(Some((by, target.port())));
        let (reason, app, announced) = application::reach(enrolled, by, *target, *client).await?;
        Ok((reason, Box::pin(relay(app, near, Rc::clone(record))), announced))
    }
}

fn broken(error: &io::Error) -> Failure {
    Failure::new(Reason::TunnelFailed, format_args!("the client's connection: {error}"))
}
