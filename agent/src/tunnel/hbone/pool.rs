//! The tunnels of one pod, to be shared.

use std::{
    cell::RefCell,
    collections::HashMap,
    hash::{Hash, Hasher},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
};

use culvert_policy::{Reason, SpiffeId};
use futures::{FutureExt, future::Shared};
use tokio::sync::{oneshot, watch};

use super::{
    super::failure::Failure,
    client::{Lease, Tunnel},
};
use crate::identity::Certificate;

/// What makes two connections fit for one tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct Key {
    /// Where the peer listens for tunnels.
    pub(in super::super) peer: SocketAddr,
    /// Whom it must prove to be.
    pub(in super::super) identity: SpiffeId,
    /// What the pod shows: a tunnel takes no new streams once there is a newer certificate.
    pub(in super::super) shown: Shown,
}

/// A certificate, told from others by being the very same one.
#[derive(Clone, Debug)]
pub(in super::super) struct Shown(pub(in super::super) Arc<Certificate>);

impl PartialEq for Shown {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Shown {}

impl Hash for Shown {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

/// The live tunnels by where they lead, and those that are being opened.
#[derive(Default)]
pub(in super::super) struct Pool(RefCell<HashMap<Key, Bundle>>);

#[derive(Default)]
struct Bundle {
    tunnels: Vec<Rc<Tunnel>>,
    opening: Option<Opening>,
}

type Opened = Result<Rc<Tunnel>, Failure>;
type Opening = Shared<oneshot::Receiver<Opened>>;

/// Whoever has it owes the pool a tunnel, or the reason why there is none.
pub(in super::super) struct Promise(oneshot::Sender<Opened>);

enum Offer {
    Lease(Lease),
    Settle(watch::Receiver<bool>),
    Await(Opening),
}

impl Pool {
    /// A place on a tunnel. Where there is none, one caller's `open` is told to open a tunnel, and all wait for it.
    pub(in super::super) async fn lease(&self, key: &Key, open: impl Fn(Promise)) -> Result<Lease, Failure> {
        loop {
            match self.offer(key, &open) {
                Offer::Lease(lease) => return Ok(lease),
                Offer::Settle(mut settled) => {
                    // Fails when the tunnel is gone, and is no longer offered then.
                    let _ = settled.changed().await;
                }
                Offer::Await(opening) => {
                    opening.await.unwrap_or_else(|_| Err(Reason::ShuttingDown.into()))?;
                }
            }
        }
    }

    fn offer(&self, key: &Key, open: impl Fn(Promise)) -> Offer {
        let mut bundles = self.0.borrow_mut();
        let bundle = bundles.entry(key.clone()).or_default();
        if let Some(lease) = bundle.tunnels.iter().find_map(Tunnel::lease) {
            return Offer::Lease(lease);
        }
        if let Some(opening) = &bundle.opening {
            return Offer::Await(opening.clone());
        }
        if let Some(settling) = bundle.tunnels.iter().find_map(|tunnel| tunnel.settling()) {
            return Offer::Settle(settling);
        }
        let (promise, opening) = oneshot::channel();
        let opening = opening.shared();
        bundle.opening = Some(opening.clone());
        open(Promise(promise));
        Offer::Await(opening)
    }

    /// Keeps a promise. The tunnel is offered from now on.
    pub(in super::super) fn opened(&self, key: &Key, promise: Promise, opened: Opened) {
        let mut bundles = self.0.borrow_mut();
        let bundle = bundles.entry(key.clone()).or_default();
        bundle.opening = None;
        bundle.tunnels.extend(opened.iter().cloned());
        // Nobody may be waiting any more.
        let _ = promise.0.send(opened);
        if bundle.tunnels.is_empty() {
            bundles.remove(key);
        }
    }

    /// Offers this tunnel no more. Its streams go on.
    pub(in super::super) fn retire(&self, key: &Key, tunnel: &Rc<Tunnel>) {
        let mut bundles = self.0.borrow_mut();
        let Some(bundle) = bundles.get_mut(key) else {
            return;
        };
        bundle.tunnels.retain(|known| !Rc::ptr_eq(known, tunnel));
        if bundle.tunnels.is_empty() && bundle.opening.is_none() {
            bundles.remove(key);
        }
    }
}
