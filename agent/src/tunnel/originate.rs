//! TLS by a rule's own settings, straight to the endpoint: nothing of the mesh's is shown, and nobody of the mesh is
//! expected.

use std::{io, net::SocketAddr, time::Duration};

use culvert_policy::Reason;
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{
    dial,
    encrypted::{Customs, Encrypted},
    enrolled::Enrolled,
    failure::Failure,
    tls::{HANDSHAKE, late},
};
use crate::{cluster::Originate, identity::with_sources};

/// Reads the rule's files, connects and shakes hands.
pub(super) async fn connect(
    enrolled: &Enrolled,
    endpoint: SocketAddr,
    originate: &Originate,
) -> Result<Encrypted, Failure> {
    let config = enrolled.context.originator.config(originate);
    let config = timeout(READING, config)
        .await
        .map_err(|_| Failure::new(Reason::TlsFiles, "reading takes too long"))?;
    let config = config.map_err(|fault| Failure::new(Reason::TlsFiles, with_sources(&fault)))?;
    let tcp = dial::peer(&enrolled.netns, &enrolled.addresses, endpoint).await?;
    let handshake = TlsConnector::from(config).connect(server_name(&originate.name, endpoint), tcp);
    let stream = timeout(HANDSHAKE, handshake).await.map_err(|_| late())?;
    let stream = stream.map_err(|error| in_words(Failure::in_handshake(&error)))?;
    Ok(Encrypted::new(stream.into(), OUTSIDE))
}

/// A file system that takes longer for a few files does not answer.
const READING: Duration = Duration::from_secs(10);

/// Many servers close without a `close_notify`, and their protocols say themselves where they end. Envoy takes that for
/// the end, too (`source/common/tls/ssl_socket.cc`).
const OUTSIDE: Customs = Customs { in_transit, ends_by_fin: true };

/// A host that is a pattern is no name: then the server is known by its address, and no name is sent.
fn server_name(name: &str, endpoint: SocketAddr) -> ServerName<'static> {
    ServerName::try_from(name.to_owned()).unwrap_or_else(|_| endpoint.ip().into())
}

fn in_transit(error: &io::Error) -> Failure {
    in_words(Failure::in_transit(error))
}

/// A server that demands a certificate says of the rule what a peer in the mesh would say of its authority.
fn in_words(failure: Failure) -> Failure {
    match failure.reason {
        Reason::NoCertificate => Failure { reason: Reason::RefusedByPeer, ..failure },
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_asked_for_by_name_or_known_by_its_address() {
        let endpoint: SocketAddr = "[fd00::1]:443".parse().unwrap();
        let asked = |name| server_name(name, endpoint);
        assert_eq!(asked("a.example.com"), ServerName::try_from("a.example.com").unwrap());
        assert_eq!(asked("*.example.com"), ServerName::try_from("fd00::1").unwrap());
    }
}
