//! One workload's identity as its connections use it.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use culvert_policy::SpiffeId;
use rustls::{
    ClientConfig, ServerConfig, SignatureScheme,
    client::ResolvesClientCert,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{
    Certificate, Clock, IssueError, Trust,
    renewal::Renewal,
    tls::{self, ALPN_HBONE, ALPN_SIDECAR},
    verifier::{AnyWorkload, OneWorkload},
};

/// A service account's identity with its newest certificate.
pub struct Workload {
    id: SpiffeId,
    trust: Arc<Trust>,
    newest: Arc<Newest>,
    hbone_acceptor: Arc<ServerConfig>,
    renewal: Mutex<Renewal>,
}

impl Workload {
    pub(super) fn new(
        id: SpiffeId,
        certificate: Certificate,
        trust: Arc<Trust>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let renewal = Mutex::new(Renewal::of(&certificate));
        let newest =
            Arc::new(Newest { certificate: ArcSwap::from_pointee(certificate), clock: clock.clone() });
        let verifier = Arc::new(AnyWorkload(trust.clone()));
        let hbone_acceptor = Arc::new(tls::server_config(clock, verifier, newest.clone(), ALPN_HBONE));
        Self { id, trust, newest, hbone_acceptor, renewal }
    }

    /// Who it is.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// The newest certificate.
    pub fn certificate(&self) -> Arc<Certificate> {
        self.newest.certificate.load_full()
    }

    /// The newest certificate, unless it has expired.
    pub fn valid_certificate(&self) -> Option<Arc<Certificate>> {
        Some(self.certificate()).filter(|newest| newest.holds_at(self.newest.clock.now()))
    }

    /// For the server's side of HBONE: every workload of the mesh is let in.
    pub fn hbone_acceptor(&self) -> Arc<ServerConfig> {
        self.hbone_acceptor.clone()
    }

    /// For the client's side of HBONE, towards the server `expected` and no other.
    pub fn hbone_connector(&self, expected: &SpiffeId) -> Arc<ClientConfig> {
        self.connector(expected, ALPN_HBONE)
    }

    /// For the client's side of Istio sidecar mTLS, towards the server `expected` and no other.
    pub fn sidecar_connector(&self, expected: &SpiffeId) -> Arc<ClientConfig> {
        self.connector(expected, ALPN_SIDECAR)
    }

    fn connector(&self, expected: &SpiffeId, alpn: &[u8]) -> Arc<ClientConfig> {
        let verifier = Arc::new(OneWorkload { trust: self.trust.clone(), expected: expected.clone() });
        Arc::new(tls::client_config(self.newest.clock.clone(), verifier, self.newest.clone(), alpn))
    }

    /// Renews the certificate if it is time, and says how long from `now` to look again. The old certificate stays
    /// until there is a new one.
    pub(super) fn renew_if_due(
        &self,
        now: SystemTime,
        issue: impl FnOnce(&SpiffeId) -> Result<Certificate, IssueError>,
    ) -> Duration {
        let mut renewal = self.renewal.lock().unwrap_or_else(PoisonError::into_inner);
        let clock_was_set_back = self.certificate().not_before > now;
        if renewal.wait(now).is_zero() || clock_was_set_back {
            *renewal = self.renew(*renewal, now, issue);
        }
        renewal.wait(now)
    }

    fn renew(
        &self,
        renewal: Renewal,
        now: SystemTime,
        issue: impl FnOnce(&SpiffeId) -> Result<Certificate, IssueError>,
    ) -> Renewal {
        match issue(&self.id) {
            Ok(certificate) => {
                tracing::debug!(id = %self.id, ?certificate, "certificate renewed");
                let renewal = Renewal::of(&certificate);
                self.newest.certificate.store(Arc::new(certificate));
                renewal
            }
            Err(error) => {
                let held = self.certificate();
                let error: &dyn std::error::Error = &error;
                tracing::warn!(id = %self.id, ?held, error, "cannot renew the certificate, keeping the one there is");
                renewal.after_failure(now)
            }
        }
    }
}

/// Shows the newest certificate, and none at all once it has expired.
struct Newest {
    certificate: ArcSwap<Certificate>,
    clock: Arc<dyn Clock>,
}

impl Newest {
    fn at(&self, now: SystemTime) -> Option<Arc<CertifiedKey>> {
        let certificate = self.certificate.load();
        certificate.holds_at(now).then(|| certificate.key.clone())
    }
}

impl ResolvesServerCert for Newest {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.at(self.clock.now())
    }
}

impl ResolvesClientCert for Newest {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.at(self.clock.now())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for Newest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.certificate.load().fmt(f)
    }
}

impl fmt::Debug for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workload")
            .field("id", &self.id)
            .field("certificate", &self.newest)
            .finish_non_exhaustive()
    }
}
