//! One workload's identity as its connections use it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use culvert_policy::SpiffeId;
use rustls::{
    ClientConfig, ServerConfig, SignatureScheme,
    client::ResolvesClientCert,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{sync::watch, time::timeout};

use super::{
    Certificate, Clock, IdentityReport, IssueFault, Trust,
    failing::Failing,
    renewal::Renewal,
    tls::{self, ALPN_HBONE, ALPN_SIDECAR},
    verifier::{AnyWorkload, OneWorkload},
};

/// How long a connection waits for a pod's first certificate: an authority near by needs a fraction of it.
const PATIENCE: Duration = Duration::from_secs(2);

/// A service account's identity with its newest certificate, as soon as there is one.
pub struct Workload {
    id: SpiffeId,
    trust: Arc<Trust>,
    newest: Arc<Newest>,
    hbone_acceptor: Arc<ServerConfig>,
    sidecar_acceptor: Arc<ServerConfig>,
    state: Mutex<State>,
}

/// What has become of the requests for certificates.
#[derive(Debug)]
struct State {
    renewal: Renewal,
    failing: Option<(IssueFault, Failing)>,
}

impl Workload {
    /// Without a certificate.
    pub(super) fn new(id: SpiffeId, trust: Arc<Trust>, clock: Arc<dyn Clock>) -> Self {
        let newest = Arc::new(Newest { certificate: watch::Sender::new(None), clock });
        let verifier = Arc::new(AnyWorkload(trust.clone()));
        let acceptor =
            |alpn| Arc::new(tls::server_config(newest.clock.clone(), verifier.clone(), newest.clone(), alpn));
        let (hbone_acceptor, sidecar_acceptor) = (acceptor(ALPN_HBONE), acceptor(ALPN_SIDECAR));
        let state = Mutex::new(State { renewal: Renewal::first(), failing: None });
        Self { id, trust, newest, hbone_acceptor, sidecar_acceptor, state }
    }

    /// Who it is.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// The newest certificate; none before the first was issued.
    pub fn certificate(&self) -> Option<Arc<Certificate>> {
        self.newest.certificate.borrow().clone()
    }

    /// The newest certificate, if it holds.
    pub fn valid_certificate(&self) -> Option<Arc<Certificate>> {
        self.newest.at(self.newest.clock.now())
    }

    /// The newest certificate, as it changes.
    pub fn certificates(&self) -> watch::Receiver<Option<Arc<Certificate>>> {
        self.newest.certificate.subscribe()
    }

    /// Waits until there is a certificate.
    pub async fn ready(&self) {
        // It fails only without its sender, which is this.
        let _ = self.certificates().wait_for(Option::is_some).await;
    }

    /// Lets a pod's first connections wait for its first certificate, for a moment. Whoever finds none then is refused.
    pub async fn first_certificate(&self) {
        if self.certificate().is_none() {
            let _ = timeout(PATIENCE, self.ready()).await;
        }
    }

    /// For the server's side of HBONE: every workload of the mesh is let in.
    pub fn hbone_acceptor(&self) -> Arc<ServerConfig> {
        self.hbone_acceptor.clone()
    }

    /// For the server's side of Istio sidecar mTLS: every workload of the mesh is let in.
    pub fn sidecar_acceptor(&self) -> Arc<ServerConfig> {
        self.sidecar_acceptor.clone()
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

    /// When its next certificate is to be asked for.
    pub(super) fn renewal(&self) -> Renewal {
        self.state().renewal
    }

    /// Shows `certificate` from now on.
    pub(super) fn renew(&self, certificate: Certificate, now: SystemTime, spread: f64) {
        let mut state = self.state();
        state.renewal = Renewal::after_success(&certificate, now, spread);
        state.failing = None;
        self.newest.certificate.send_replace(Some(Arc::new(certificate)));
    }

    /// The authority is away: whatever certificate there is stays.
    pub(super) fn put_off(&self, now: SystemTime) {
        let mut state = self.state();
        state.renewal = state.renewal.after_outage(now);
    }

    /// No certificate could be had, for a reason of this identity's own: whatever there is stays.
    pub(super) fn refuse(&self, fault: IssueFault, error: String, now: SystemTime, spread: f64) {
        let mut state = self.state();
        state.renewal = state.renewal.after_refusal(now, spread);
        let since = state.failing.take().map_or(now, |(_, failing)| failing.since);
        state.failing = Some((fault, Failing { since, error }));
    }

    /// The trusted roots have changed: a certificate that they do not cover is renewed soon.
    pub(super) fn rejudge(&self, now: SystemTime, spread: f64) {
        let Some(held) = self.valid_certificate() else { return };
        if let Err(error) = self.trust.covers(held.chain(), now) {
            tracing::debug!(id = %self.id, %error, "the certificate is no longer trusted");
            let mut state = self.state();
            state.renewal = state.renewal.hastened(now, spread);
        }
    }

    /// Why it has been failing for more than a moment, if so.
    pub(super) fn complaint(&self) -> Option<(IssueFault, String)> {
        let state = self.state();
        let lasts = state.renewal.refusals() >= MANY_REFUSALS;
        state.failing.as_ref().filter(|_| lasts).map(|(fault, failing)| (*fault, failing.error.clone()))
    }

    /// For people. `outage` is why the authority is away and when it is asked again, if it is.
    pub(super) fn report(&self, now: SystemTime, outage: Option<&(Failing, SystemTime)>) -> IdentityReport {
        let state = self.state();
        let due = state.renewal.due().max(now);
        let overdue = outage.filter(|_| due == now).map(|(failing, _)| failing);
        let failing = state.failing.as_ref().map(|(_, failing)| failing).or(overdue);
        let certificate = self.certificate();
        IdentityReport {
            id: self.id.clone(),
            not_after: certificate.as_ref().map(|held| held.not_after()),
            next_renewal: outage.map_or(due, |(_, again)| due.max(*again)),
            failing_since: failing.map(|failing| failing.since),
            error: failing.map(|failing| failing.error.clone()),
            held: certificate.is_some_and(|held| held.holds_at(now)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An authority may learn of a new pod later than its agent: a person is told when that does not pass.
const MANY_REFUSALS: u32 = 3;

/// Shows the newest certificate, and none at all once it has expired.
struct Newest {
    certificate: watch::Sender<Option<Arc<Certificate>>>,
    clock: Arc<dyn Clock>,
}

impl Newest {
    fn at(&self, now: SystemTime) -> Option<Arc<Certificate>> {
        self.certificate.borrow().clone().filter(|certificate| certificate.holds_at(now))
    }

    fn key(&self) -> Option<Arc<CertifiedKey>> {
        self.at(self.clock.now()).map(|certificate| certificate.key.clone())
    }
}

impl ResolvesServerCert for Newest {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.key()
    }
}

impl ResolvesClientCert for Newest {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.key()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for Newest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.certificate.borrow().fmt(f)
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
