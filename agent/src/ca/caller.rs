//! Who asks: the service account that a token belongs to, as the API server sees it.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus, UserInfo};
use kube::{Client, Resource as _, api::PostParams, core::Request};
use rustls::crypto::{
    aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
    hash::{Hash, Output},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use super::{
    Account, CaOptions,
    refusal::Refusal,
    secrecy::{Wipe as _, ask, body},
};

/// For how long a review is believed: an agent asks for many certificates in a row.
const BELIEVED: Duration = Duration::from_secs(10);
/// How many reviews are remembered.
const REMEMBERED: usize = 4096;
/// How many reviews the API server is asked for at a time.
const AT_A_TIME: usize = 32;
/// An API server that does not answer for this long is away.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// A service account that proved itself, and where its token is used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Caller {
    pub(super) account: Account,
    /// The pod that the token is bound to.
    pub(super) pod: Option<BoundPod>,
    /// The node of that pod, where the API server says it.
    pub(super) node: Option<String>,
}

/// A pod as a token names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct BoundPod {
    pub(super) name: String,
    pub(super) uid: String,
}

/// Asks the API server about tokens, and remembers the answers for a moment.
pub(super) struct Callers {
    client: Client,
    audiences: Vec<String>,
    at_a_time: Semaphore,
    known: Mutex<HashMap<Digest, Known>>,
}

/// Tokens themselves are not kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Digest([u8; 32]);

struct Known {
    caller: Arc<Caller>,
    until: Instant,
}

impl Callers {
    pub(super) fn new(client: Client, options: &CaOptions) -> Self {
        Self {
            client,
            audiences: options.audiences.clone(),
            at_a_time: Semaphore::new(AT_A_TIME),
            known: Mutex::default(),
        }
    }

    /// Whom the token belongs to, if that was seen a moment ago.
    pub(super) fn known(&self, token: &str) -> Option<Arc<Caller>> {
        let known = self.lock();
        let found = known.get(&Digest::of(token))?;
        (Instant::now() < found.until).then(|| found.caller.clone())
    }

    /// Asks the API server whom the token belongs to.
    pub(super) async fn review(&self, token: &str) -> Result<Arc<Caller>, Refusal> {
        let _permit = self.at_a_time.acquire().await.map_err(|_| Refusal::Busy)?;
        let answer = timeout(PATIENCE, self.ask(token)).await.map_err(|_| Refusal::ApiServer(None))?;
        let status = answer.map_err(|source| Refusal::ApiServer(Some(Box::new(source))))?;
        let caller = Arc::new(self.caller(status.unwrap_or_default())?);
        self.remember(token, caller.clone());
        Ok(caller)
    }

    async fn ask(&self, token: &str) -> Result<Option<TokenReviewStatus>, kube::Error> {
        let spec = TokenReviewSpec { token: token.to_owned(), audiences: Some(self.audiences.clone()) };
        let body = body(&mut TokenReview { spec, ..TokenReview::default() })?;
        let request = Request::new(TokenReview::url_path(&(), None)).create(&PostParams::default(), body);
        let mut answer: TokenReview = ask(&self.client, request).await?;
        // The API server repeats the question.
        answer.wipe();
        Ok(answer.status)
    }

    /// An API server that knows nothing of audiences names none: then the token is for the API server, and not for us.
    fn caller(&self, status: TokenReviewStatus) -> Result<Caller, Refusal> {
        let for_us = status.audiences.iter().flatten().any(|audience| self.audiences.contains(audience));
        if status.authenticated != Some(true) || !for_us {
            tracing::debug!(error = status.error, audiences = ?status.audiences, "the API server refuses a token");
            return Err(Refusal::BadToken);
        }
        Caller::of(status.user.unwrap_or_default()).ok_or(Refusal::NotAServiceAccount)
    }

    fn remember(&self, token: &str, caller: Arc<Caller>) {
        let now = Instant::now();
        let mut known = self.lock();
        if known.len() >= REMEMBERED {
            known.retain(|_, known| now < known.until);
        }
        if known.len() < REMEMBERED {
            known.insert(Digest::of(token), Known { caller, until: now + BELIEVED });
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Caller {
    fn of(user: UserInfo) -> Option<Self> {
        let account = user.username?;
        let (namespace, name) = account.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        let account = Account { namespace: namespace.to_owned(), name: name.to_owned() };
        let mut extra = user.extra.unwrap_or_default();
        let mut take = |key: &str| extra.remove(&format!("authentication.kubernetes.io/{key}"))?.pop();
        let pod = take("pod-name").zip(take("pod-uid")).map(|(name, uid)| BoundPod { name, uid });
        Some(Self { account, pod, node: take("node-name") })
    }
}

impl Digest {
    fn of(token: &str) -> Self {
        static SHA256: LazyLock<&'static dyn Hash> = LazyLock::new(|| {
            let suite = TLS13_AES_128_GCM_SHA256.tls13().expect("a suite of TLS 1.3 is one");
            suite.common.hash_provider
        });
        let hash: Output = SHA256.hash(token.as_bytes());
        let mut digest = [0; 32];
        digest.copy_from_slice(hash.as_ref());
        Self(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(username: &str, extra: &[(&str, &str)]) -> UserInfo {
        let extra = extra
            .iter()
            .map(|(key, value)| (format!("authentication.kubernetes.io/{key}"), vec![(*value).to_owned()]));
        UserInfo { username: Some(username.to_owned()), extra: Some(extra.collect()), ..UserInfo::default() }
    }

    #[test]
    fn a_bound_token_names_its_pod_and_node() {
        let extra = [("pod-name", "agent-x"), ("pod-uid", "1-2"), ("node-name", "node-1")];
        let caller = Caller::of(user("system:serviceaccount:culvert-system:culvert-agent", &extra)).unwrap();
        assert_eq!(caller.account.to_string(), "culvert-system/culvert-agent");
        assert_eq!(caller.pod, Some(BoundPod { name: "agent-x".into(), uid: "1-2".into() }));
        assert_eq!(caller.node.as_deref(), Some("node-1"));
    }

    #[test]
    fn people_and_nodes_are_no_service_accounts() {
        for username in ["", "admin", "system:node:node-1", "system:serviceaccount:full"] {
            assert_eq!(Caller::of(user(username, &[])), None, "{username}");
        }
    }

    #[test]
    fn tokens_are_told_apart_by_their_sha_256() {
        let first = u32::from_be_bytes(Digest::of("abc").0[..4].try_into().unwrap());
        assert_eq!(first, 0xba78_16bf, "FIPS 180-2, B.1");
    }
}
