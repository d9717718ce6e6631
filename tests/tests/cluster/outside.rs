//! TLS servers that are nobody's in the mesh.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use culvert_testbed::{Family, Pod};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use socket2::SockRef;

/// What servers speak today.
pub(crate) const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
/// A server at this port closes without a word, as many do.
pub(crate) const ABRUPT: u16 = 7001;
/// The first byte of a TLS record with a handshake in it (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 0x16;

/// An authority outside the mesh.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&key).expect("a certificate");
        let pem = root.pem();
        Self { issuer: Issuer::new(params, key), root: root.into(), pem }
    }

    pub(crate) fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().expect("a name"))];
        (params.signed_by(&key, &self.issuer).expect("a certificate"), key)
    }

    /// A server for a name that demands a certificate of ours from its clients, or none.
    pub(crate) fn server(
        &self,
        name: &str,
        versions: &[&'static SupportedProtocolVersion],
        demands: bool,
    ) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions);
        let builder = builder.expect("the provider has them");
        let builder = if demands {
            builder.with_client_cert_verifier(self.clients())
        } else {
            builder.with_no_client_auth()
        };
        let (certificate, key) = self.sign(name);
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS#8");
        builder.with_single_cert(vec![certificate.into()], key).expect("they belong together")
    }

    fn clients(&self) -> Arc<dyn rustls::server::danger::ClientCertVerifier> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("a root");
        let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider());
        builder.build().expect("there is a root")
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// What a server saw of one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Whether it began with a handshake.
    pub(crate) tls: bool,
    /// The name that was asked for.
    pub(crate) sni: Option<String>,
    /// Whether the client showed a certificate.
    pub(crate) certified: bool,
    /// What the client wrote inside of TLS.
    pub(crate) heard: Vec<u8>,
}

/// TLS servers on some ports of a pod that is nobody's: what they hear inside of TLS they send back.
pub(crate) struct Outside {
    listeners: Vec<Arc<TcpListener>>,
    threads: Vec<JoinHandle<()>>,
    seen: Arc<Mutex<BTreeMap<SocketAddr, Seen>>>,
}

impl Outside {
    pub(crate) fn start(pod: &Pod, servers: impl IntoIterator<Item = (u16, ServerConfig)>) -> Self {
        let mut it = Self { listeners: Vec::new(), threads: Vec::new(), seen: Arc::default() };
        for (port, config) in servers {
            let config = Arc::new(config);
            for family in Family::ALL {
                let listener = pod.listen(pod.address(family, port)).expect("the port is free");
                it.serve(Arc::new(listener), Arc::clone(&config), port != ABRUPT);
            }
        }
        it
    }

    fn serve(&mut self, listener: Arc<TcpListener>, config: Arc<ServerConfig>, notifies: bool) {
        self.listeners.push(Arc::clone(&listener));
        let seen = Arc::clone(&self.seen);
        self.threads.push(thread::spawn(move || {
            loop {
                match listener.accept() {
                    Ok((tcp, from)) => {
                        let what = answer(tcp, Arc::clone(&config), notifies);
                        seen.lock().unwrap_or_else(PoisonError::into_inner).insert(from, what);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        }));
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        for listener in &self.listeners {
            // Wakes up who waits in accept(); it cannot fail on a socket that listens.
            let _ = SockRef::from(&**listener).shutdown(std::net::Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            // What went wrong there has been printed.
            let _ = thread.join();
        }
    }
}

fn answer(tcp: TcpStream, config: Arc<ServerConfig>, notifies: bool) -> Seen {
    let mut first = [0];
    let tls = tcp.peek(&mut first).is_ok() && first[0] == HANDSHAKE;
    let mut seen = Seen { tls, ..Seen::default() };
    let connection = ServerConnection::new(config).expect("the configuration is good");
    let mut stream = rustls::StreamOwned::new(connection, tcp);
    // A client that refuses us is what some tests are about.
    if echo(&mut stream, &mut seen.heard).is_ok() && notifies {
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }
    seen.sni = stream.conn.server_name().map(ToOwned::to_owned);
    seen.certified = stream.conn.peer_certificates().is_some();
    seen
}

fn echo(
    stream: &mut rustls::StreamOwned<ServerConnection, TcpStream>,
    heard: &mut Vec<u8>,
) -> io::Result<()> {
    let mut chunk = [0; 1024];
    loop {
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            count => {
                heard.extend(&chunk[..count]);
                stream.write_all(&chunk[..count])?;
                stream.flush()?;
            }
        }
    }
}
