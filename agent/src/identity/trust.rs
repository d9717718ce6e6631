//! Whom the mesh trusts, as it stands now: roots and trust domains may change under connections that are open.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use arc_swap::ArcSwap;
use culvert_policy::SpiffeId;
use rustls::{
    CertificateError,
    pki_types::{CertificateDer, UnixTime},
};
use webpki::{EndEntityCert, KeyUsage};

use super::{PeerFault, Roots, clock::unix_time, peer, tls};

/// The roots that certificates must chain to, and the trust domains that they may carry.
pub struct Trust {
    roots: ArcSwap<Roots>,
    domains: ArcSwap<Domains>,
    problem: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Domains {
    own: Arc<str>,
    aliases: Vec<Arc<str>>,
}

impl Trust {
    /// Trusts what these roots signed for `trust_domain`.
    pub fn new<'a>(
        trust_domain: &str,
        roots: impl IntoIterator<Item = &'a CertificateDer<'static>>,
    ) -> Result<Self, webpki::Error> {
        Ok(Self::with(trust_domain, Roots::new(roots.into_iter().cloned().collect())?))
    }

    /// Trusts nobody until there are roots.
    pub(super) fn nobody(trust_domain: &str) -> Self {
        Self::with(trust_domain, Roots::default())
    }

    fn with(trust_domain: &str, roots: Roots) -> Self {
        let domains = Domains { own: trust_domain.into(), aliases: Vec::new() };
        Self {
            roots: ArcSwap::from_pointee(roots),
            domains: ArcSwap::from_pointee(domains),
            problem: Mutex::default(),
        }
    }

    /// The roots that are in force.
    pub fn roots(&self) -> Arc<Roots> {
        self.roots.load_full()
    }

    /// From now on these are trusted and no others. Connections that are open go on.
    pub(super) fn set_roots(&self, roots: Roots) {
        self.roots.store(Arc::new(roots));
    }

    /// From now on workloads are of `own`, and those of `aliases` are let in too.
    pub fn set_domains(&self, own: &str, aliases: &[Arc<str>]) {
        self.domains.store(Arc::new(Domains { own: own.into(), aliases: aliases.to_vec() }));
    }

    /// Why the roots cannot be kept up to date, if so; those that were in force still are.
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the problem, and hands back the one before.
    pub(super) fn set_problem(&self, problem: Option<String>) -> Option<String> {
        let mut held = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut held, problem)
    }

    /// Whether `id` is of our trust domain, or of an alias; the error is what it should have been.
    pub(super) fn is_ours(&self, id: &SpiffeId) -> Result<(), Arc<str>> {
        let domains = self.domains.load();
        if domains.own == id.trust_domain || domains.aliases.contains(&id.trust_domain) {
            return Ok(());
        }
        Err(domains.own.clone())
    }

    /// Whether two identities are one workload's: an alias of the trust domain makes no difference.
    pub(super) fn is_same(&self, one: &SpiffeId, other: &SpiffeId) -> bool {
        let same_account = one.namespace == other.namespace && one.service_account == other.service_account;
        let is_ours = |id| self.is_ours(id).is_ok();
        same_account && (one.trust_domain == other.trust_domain || is_ours(one) && is_ours(other))
    }

    /// Whether peers that trust the same roots accept this chain, whose leaf is one of our own.
    pub(super) fn covers(
        &self,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<(), CertificateError> {
        let (leaf, intermediates) = chain.split_first().ok_or(CertificateError::BadEncoding)?;
        let now = unix_time(now).ok_or(CertificateError::NotValidYet)?;
        let shown = Shown { leaf, intermediates, now };
        self.verify(&shown, KeyUsage::server_auth())?;
        self.verify(&shown, KeyUsage::client_auth())
    }

    /// The identity that a certificate proves, for whoever can also sign with its key.
    pub(super) fn identify(&self, shown: &Shown<'_>, usage: KeyUsage) -> Result<SpiffeId, CertificateError> {
        self.verify(shown, usage)?;
        let found = peer::workload_of(shown.leaf).map_err(PeerFault::from)?;
        self.is_ours(&found)
            .map_err(|expected| PeerFault::ForeignTrustDomain { expected, found: found.clone() })?;
        Ok(found)
    }

    fn verify(&self, shown: &Shown<'_>, usage: KeyUsage) -> Result<(), CertificateError> {
        let leaf = EndEntityCert::try_from(shown.leaf).map_err(chain_error)?;
        let roots = self.roots.load();
        let algorithms = tls::algorithms().all;
        leaf.verify_for_usage(algorithms, &roots.anchors, shown.intermediates, shown.now, usage, None, None)
            .map(drop)
            .map_err(chain_error)
    }
}

/// What the other side shows, and when.
pub(super) struct Shown<'a> {
    pub(super) leaf: &'a CertificateDer<'a>,
    pub(super) intermediates: &'a [CertificateDer<'a>],
    pub(super) now: UnixTime,
}

/// In the words that make rustls send the alert which RFC 8446, section 6.2 has for it. A signature that is not our
/// root's is an authority that merely has the name of ours.
fn chain_error(error: webpki::Error) -> CertificateError {
    use webpki::Error as E;
    match error {
        E::UnknownIssuer | E::InvalidSignatureForPublicKey => CertificateError::UnknownIssuer,
        E::CertExpired { time, not_after } => CertificateError::ExpiredContext { time, not_after },
        E::CertNotValidYet { time, not_before } => CertificateError::NotValidYetContext { time, not_before },
        E::BadDer | E::BadDerTime | E::TrailingData(_) => CertificateError::BadEncoding,
        E::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        other => PeerFault::Chain(other).into(),
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("domains", &self.domains.load()).finish_non_exhaustive()
    }
}
