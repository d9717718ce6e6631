//! A mesh with a clock that only the test moves, and a wire that loses nothing.

use std::{
    io::{self, Read, Write},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use culvert_policy::{Reason, SpiffeId};
use k8s_openapi::ByteString;
use rustls::{
    ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection, pki_types::CertificateDer,
};

use crate::identity::{Clock, VerifiedPeer, server_name, tls_fault};

pub(super) const TRUST_DOMAIN: &str = "cluster.local";
pub(super) const DAY: Duration = Duration::from_hours(24);

pub(super) fn id(service_account: &str) -> SpiffeId {
    SpiffeId::new(TRUST_DOMAIN, "full", service_account)
}

/// As files and messages have certificates.
pub(super) fn pem(certificate: &CertificateDer<'_>) -> String {
    let base64 = serde_json::to_value(ByteString(certificate.to_vec())).unwrap();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", base64.as_str().unwrap())
}

#[derive(Debug)]
pub(super) struct TestClock(Mutex<SystemTime>);

impl TestClock {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(SystemTime::now())))
    }

    pub(super) fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

/// One end of a connection, and the error that ended it.
pub(super) struct End {
    pub(super) connection: Connection,
    pub(super) fault: Option<io::Error>,
}

/// Two ends that have said all they have to say.
pub(super) struct Pair {
    pub(super) client: End,
    pub(super) server: End,
}

impl Pair {
    pub(super) fn connect(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Self {
        let mut pair = Self::unconnected(client, server);
        pair.pump();
        pair
    }

    pub(super) fn unconnected(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Self {
        let client = ClientConnection::new(client, server_name()).unwrap();
        let server = ServerConnection::new(server).unwrap();
        Self { client: End::new(client.into()), server: End::new(server.into()) }
    }

    pub(super) fn pump(&mut self) {
        while deliver(&mut self.client, &mut self.server) | deliver(&mut self.server, &mut self.client) {}
    }

    /// Who the client and the server took each other for.
    pub(super) fn peers(&self) -> (Result<SpiffeId, Reason>, Result<SpiffeId, Reason>) {
        (self.client.peer(), self.server.peer())
    }

    pub(super) fn assert_carries_both_ways(&mut self) {
        self.client.connection.writer().write_all(b"ping").unwrap();
        self.server.connection.writer().write_all(b"pong").unwrap();
        self.pump();
        assert_eq!(self.server.received(), b"ping");
        assert_eq!(self.client.received(), b"pong");
    }
}

impl End {
    fn new(connection: Connection) -> Self {
        Self { connection, fault: None }
    }

    fn peer(&self) -> Result<SpiffeId, Reason> {
        if let Some(fault) = &self.fault {
            return Err(tls_fault(fault).unwrap());
        }
        let peer = match &self.connection {
            Connection::Client(connection) => VerifiedPeer::of_server(connection),
            Connection::Server(connection) => VerifiedPeer::of_client(connection),
        };
        peer.map(|peer| peer.id().clone())
    }

    fn received(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        let count = self.connection.reader().read(&mut bytes).unwrap();
        bytes.truncate(count);
        bytes
    }
}

fn deliver(from: &mut End, to: &mut End) -> bool {
    let mut wire = Vec::new();
    while from.connection.wants_write() {
        from.connection.write_tls(&mut wire).unwrap();
    }
    let mut unread = &wire[..];
    while !unread.is_empty() && to.fault.is_none() {
        to.connection.read_tls(&mut unread).unwrap();
        let result = to.connection.process_new_packets();
        to.fault = result.err().map(|error| io::Error::new(io::ErrorKind::InvalidData, error));
    }
    !wire.is_empty()
}
