//! Istio's sidecar, played: mTLS on the application's own port, both ways.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::CertificateDer};
use x509_parser::{extensions::GeneralName, prelude::FromDer};

use crate::{
    Credentials, Mesh,
    cases::Mode,
    tls::{self, TlsStream},
};

/// Of a pod with this service account.
#[derive(Clone)]
pub struct Sidecar {
    credentials: Arc<Credentials>,
    server: Arc<ServerConfig>,
}

/// What a sidecar offers and accepts in the place of an application's protocol.
const ALPN: &[u8] = b"istio";

/// The content type of a TLS record with which a client begins (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

impl Sidecar {
    /// Whose certificates name this identity, and whose peers are members of the mesh.
    pub fn new(mesh: &Mesh, identity: &str) -> Self {
        let credentials = Arc::new(mesh.certificate(identity));
        let server = tls::server_config(&credentials, ALPN, Some(mesh));
        Self { credentials, server: Arc::new(server) }
    }

    /// Begins as its application's client side.
    pub fn connect(&self, tcp: TcpStream) -> TlsStream {
        connect_with(tcp, Some(&self.credentials))
    }

    /// Answers who asks by a byte: over TLS who begins so, with what is said to the identity that was shown, and in
    /// plaintext who does not, as the mode has it.
    pub fn answer(
        &self,
        mut tcp: TcpStream,
        mode: Mode,
        say: impl FnOnce(Option<&str>) -> String,
    ) -> io::Result<()> {
        let mut first = [0];
        tcp.peek(&mut first)?;
        match (first == [HANDSHAKE], mode) {
            (true, Mode::Strict | Mode::Permissive) => self.answer_over_tls(tcp, say),
            (false, Mode::Strict) => Ok(()),
            (_, Mode::Disable) | (false, Mode::Permissive) => {
                tcp.read_exact(&mut first)?;
                tcp.write_all(say(None).as_bytes())
            }
        }
    }

    fn answer_over_tls(&self, tcp: TcpStream, say: impl FnOnce(Option<&str>) -> String) -> io::Result<()> {
        let tls = ServerConnection::new(Arc::clone(&self.server)).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(tls, tcp);
        stream.read_exact(&mut [0])?;
        let shown = stream.conn.peer_certificates().expect("clients are asked for one");
        let answer = say(Some(&identity(&shown[0])));
        stream.write_all(answer.as_bytes())?;
        stream.conn.send_close_notify();
        stream.flush()
    }
}

/// Begins as a sidecar does, with any certificate or none.
pub fn connect_with(tcp: TcpStream, shown: Option<&Credentials>) -> TlsStream {
    tls::client(tcp, tls::client_config(shown, ALPN))
}

fn identity(certificate: &CertificateDer<'_>) -> String {
    let (_, certificate) =
        x509_parser::certificate::X509Certificate::from_der(certificate).expect("a certificate");
    let names = certificate.subject_alternative_name().expect("valid extensions").expect("a name");
    let [GeneralName::URI(uri)] = names.value.general_names[..] else { panic!("{names:?}") };
    uri.to_owned()
}
