//! Keeps the stored roots as the schedule wants them, and everybody told of them.

use std::{convert::Infallible, sync::Arc, time::SystemTime};

use kube::Client;
use tokio::time::sleep;

use super::{
    Roots, StoreError, StoredRoot,
    content::Content,
    rotation::{Step, Term},
    store::{Bundle, Store, StoredSecret, Written},
};
use crate::{
    ca::{CaOptions, outage::Outage, serving::Serving},
    identity::NewRoot,
};

/// Each step but the last is one write, and more conflicts than this with the few other replicas are none.
const MOST_STEPS: usize = 32;

/// The part of an authority that talks to the API server about the roots.
pub(in crate::ca) struct Keeper {
    store: Store,
    options: Arc<CaOptions>,
    roots: Arc<Roots>,
    serving: Arc<Serving>,
    /// What the Secret held when it was last read: if it is deleted, it is put back.
    kept: Option<Content>,
    outage: Outage,
}

/// What a step led to.
enum Progress {
    /// All is as it should be, with these roots.
    Settled(Vec<StoredRoot>),
    /// Something was written, by us or by somebody else: look again.
    Changed,
}

impl Keeper {
    pub(in crate::ca) fn new(
        client: &Client,
        options: Arc<CaOptions>,
        roots: Arc<Roots>,
        serving: Arc<Serving>,
    ) -> Self {
        let store = Store::new(client, &options);
        Self { store, options, roots, serving, kept: None, outage: Outage::default() }
    }

    /// Waits until there are roots that can sign. Fails if there are some that cannot: they may be somebody else's.
    pub(in crate::ca) async fn first(&mut self) -> Result<(), StoreError> {
        loop {
            let settled = self.settle().await;
            if let Err(error @ (StoreError::Malformed { .. } | StoreError::Make(_))) = settled {
                return Err(error);
            }
            self.note(&settled);
            if self.roots.signing(self.options.clock.now()).is_some() {
                return Ok(());
            }
            self.nap().await;
        }
    }

    /// Looks at the roots every now and then, for ever. What cannot be read or written changes nothing that was in
    /// force.
    pub(in crate::ca) async fn keep(mut self) -> Infallible {
        loop {
            self.nap().await;
            let settled = self.settle().await;
            self.note(&settled);
        }
    }

    async fn settle(&mut self) -> Result<(), StoreError> {
        let settled = self.steps().await;
        // Time has passed also when the API server is away.
        self.serving.renew(&self.roots, self.options.clock.now());
        settled
    }

    async fn steps(&mut self) -> Result<(), StoreError> {
        for _ in 0..MOST_STEPS {
            if let Progress::Settled(roots) = self.step().await? {
                self.roots.replace(roots);
                break;
            }
        }
        Ok(())
    }

    async fn step(&mut self) -> Result<Progress, StoreError> {
        let now = self.options.clock.now();
        // Before the Secret: so that nobody can write an older bundle over a newer one. Who read the older Secret has
        // read the older ConfigMap too, and is refused.
        let bundle = self.store.bundle().await?;
        let mut secret = self.store.secret().await?;
        if let (false, Some(kept)) = (secret.exists(), &self.kept) {
            tracing::warn!(secret = self.options.secret, "the roots' Secret is gone, putting it back");
            secret.content = kept.clone();
            return self.write(secret).await;
        }
        let roots = self.roots_in(&secret)?;
        let terms: Vec<Term> = roots.iter().map(|root| root.term).collect();
        let published = bundle.is(&bundle_of(&roots));
        match self.roots.schedule().next(&terms, now) {
            Step::Retire => self.retire(secret, &roots, now).await,
            Step::Create => self.create(secret, now).await,
            Step::Announce if published => self.announce(secret, &roots, now).await,
            Step::Hold if published => {
                self.kept = Some(secret.content.clone());
                Ok(Progress::Settled(roots))
            }
            Step::Announce | Step::Hold => self.publish(bundle, &roots).await,
        }
    }

    fn roots_in(&self, secret: &StoredSecret) -> Result<Vec<StoredRoot>, StoreError> {
        secret.content.roots(&self.options.trust_domain).map_err(|fault| self.store.malformed(fault))
    }

    async fn create(&self, mut secret: StoredSecret, now: SystemTime) -> Result<Progress, StoreError> {
        let root = NewRoot::generate(&self.options.trust_domain, self.options.root_lifetime, now)?;
        let generation = secret.content.add(&root).map_err(|fault| self.store.malformed(fault))?;
        tracing::info!(generation, "making a root");
        self.write(secret).await
    }

    async fn announce(
        &self,
        mut secret: StoredSecret,
        roots: &[StoredRoot],
        now: SystemTime,
    ) -> Result<Progress, StoreError> {
        for root in roots.iter().filter(|root| root.term.announced.is_none()) {
            tracing::info!(generation = root.generation, "the root is announced");
            secret.content.announce(root.generation, now);
        }
        self.write(secret).await
    }

    async fn retire(
        &self,
        mut secret: StoredSecret,
        roots: &[StoredRoot],
        now: SystemTime,
    ) -> Result<Progress, StoreError> {
        for root in roots.iter().filter(|root| root.term.expired(now)) {
            tracing::info!(generation = root.generation, "the root has expired and is forgotten");
            secret.content.retire(root.generation);
        }
        self.write(secret).await
    }

    async fn publish(&self, read: Bundle, roots: &[StoredRoot]) -> Result<Progress, StoreError> {
        let generations: Vec<u64> = roots.iter().map(|root| root.generation).collect();
        tracing::info!(?generations, config_map = self.options.config_map, "publishing the trusted roots");
        Ok(changed(self.store.publish(read, &bundle_of(roots)).await?))
    }

    async fn write(&self, secret: StoredSecret) -> Result<Progress, StoreError> {
        Ok(changed(self.store.write(secret).await?))
    }

    fn note(&self, settled: &Result<(), StoreError>) {
        match settled {
            Ok(()) => self.outage.over("the roots can be read and published again"),
            Err(error) => {
                self.outage.failed("cannot look after the roots, those that are loaded go on", error);
            }
        }
    }

    /// Replicas that started together do not stay together.
    async fn nap(&self) {
        sleep(self.options.poll.mul_f64(rand::random_range(0.75..1.25))).await;
    }
}

fn changed(written: Written) -> Progress {
    if written == Written::Conflict {
        tracing::debug!("another replica was faster, looking again");
    }
    Progress::Changed
}

/// All trusted roots, the oldest first, as every replica writes them.
fn bundle_of(roots: &[StoredRoot]) -> String {
    roots.iter().flat_map(|root| [root.pem.trim(), "\n"]).collect()
}
