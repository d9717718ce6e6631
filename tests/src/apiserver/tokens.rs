//! Tokens: who holds one is whom it says, while it holds.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use super::{ApiServer, resources::Resource, status::ApiError, store::Store};
use crate::pod::random_uuid;

/// The audience of tokens for the API server itself.
pub(super) const OWN_AUDIENCE: &str = "https://kubernetes.default.svc";

/// What a service account's token is to be.
#[derive(Clone, Debug)]
pub struct TokenSpec {
    namespace: String,
    account: String,
    audiences: Vec<String>,
    lifetime: Duration,
    pod: Option<String>,
}

/// What is known of who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) groups: Vec<String>,
    pub(super) extra: BTreeMap<String, Vec<String>>,
}

pub(super) struct Tokens {
    issued: HashMap<String, Issued>,
    admin: String,
    /// Whether tokens tell the node of their pod, as they do since Kubernetes 1.30.
    name_nodes: bool,
}

struct Issued {
    user: User,
    audiences: Vec<String>,
    begins: SystemTime,
    expires: SystemTime,
    bound: Option<BoundPod>,
}

struct BoundPod {
    namespace: String,
    name: String,
    uid: String,
    node: String,
}

impl TokenSpec {
    /// A token of a service account for the API server itself, for an hour.
    pub fn new(namespace: &str, account: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            account: account.to_owned(),
            audiences: vec![OWN_AUDIENCE.to_owned()],
            lifetime: Duration::from_hours(1),
            pod: None,
        }
    }

    /// Is for somebody else.
    #[must_use]
    pub fn audience(self, audience: &str) -> Self {
        Self { audiences: vec![audience.to_owned()], ..self }
    }

    /// Holds for so long, by the server's clock.
    #[must_use]
    pub fn lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }

    /// Holds while a pod of its namespace is there, which must be there already.
    #[must_use]
    pub fn bound_to(self, pod: &str) -> Self {
        Self { pod: Some(pod.to_owned()), ..self }
    }
}

impl ApiServer {
    /// The token of a user who may do everything.
    pub fn admin_token(&self) -> String {
        self.shared.tokens().admin.clone()
    }

    /// Issues a token for a service account, whether there is an object for that or not.
    pub fn issue_token(&self, spec: &TokenSpec) -> anyhow::Result<String> {
        let now = self.shared.clock.now();
        Ok(self.shared.tokens().issue(&self.shared.store(), spec, now)?.0)
    }

    /// Has the server forget a token.
    pub fn revoke_token(&self, token: &str) {
        self.shared.tokens().issued.remove(token);
    }

    /// Says whether reviews of tokens tell the node of the token's pod; older clusters do not.
    pub fn name_nodes_of_tokens(&self, name: bool) {
        self.shared.tokens().name_nodes = name;
    }
}

impl Tokens {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self { issued: HashMap::new(), admin: random_uuid()?, name_nodes: true })
    }

    /// Makes a token; returns when it ends, too.
    pub(super) fn issue(
        &mut self,
        store: &Store,
        spec: &TokenSpec,
        now: SystemTime,
    ) -> Result<(String, SystemTime), ApiError> {
        let TokenSpec { namespace, account, audiences, lifetime, .. } = spec;
        let bound = spec.pod.as_deref().map(|pod| BoundPod::find(store, namespace, pod)).transpose()?;
        let object = store.get(Resource::named("serviceaccounts"), namespace, account);
        let user = User {
            name: format!("system:serviceaccount:{namespace}:{account}"),
            uid: object.map_or_else(|| format!("uid-of-{namespace}-{account}"), |object| object.uid.clone()),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ],
            extra: BTreeMap::new(),
        };
        let token = random_uuid().map_err(|error| ApiError::bad_request(error.to_string()))?;
        let expires = now + *lifetime;
        let issued = Issued { user, audiences: audiences.clone(), begins: now, expires, bound };
        self.issued.insert(token.clone(), issued);
        Ok((token, expires))
    }

    /// Who holds a token, and for which of the audiences it is. What is wrong with it is told as the server tells it.
    pub(super) fn check(
        &self,
        store: &Store,
        token: &str,
        audiences: &[String],
        now: SystemTime,
    ) -> Result<(User, Vec<String>), String> {
        if token == self.admin {
            let groups = ["system:masters", "system:authenticated"].map(str::to_owned).to_vec();
            let name = "kubernetes-admin".to_owned();
            return Ok((User { name, groups, ..User::default() }, audiences.to_vec()));
        }
        let issued = self.issued.get(token).ok_or("invalid bearer token")?;
        if now < issued.begins {
            return Err("[invalid bearer token, service account token is not valid yet]".to_owned());
        }
        if now >= issued.expires {
            return Err("[invalid bearer token, service account token has expired]".to_owned());
        }
        let shared: Vec<_> = audiences.iter().filter(|it| issued.audiences.contains(it)).cloned().collect();
        if shared.is_empty() {
            return Err(format!(
                "[invalid bearer token, token audiences {:?} is invalid for the target audiences {audiences:?}]",
                issued.audiences
            ));
        }
        let mut user = issued.user.clone();
        if let Some(bound) = &issued.bound {
            bound.check(store)?;
            user.extra = bound.extra(self.name_nodes);
        }
        Ok((user, shared))
    }

    /// Answers a `TokenReview`.
    pub(super) fn review(&self, store: &Store, review: &Value, now: SystemTime) -> Value {
        let spec = &review["spec"];
        let asked = spec["audiences"].as_array().into_iter().flatten();
        let mut audiences: Vec<_> = asked.filter_map(|it| it.as_str().map(str::to_owned)).collect();
        if audiences.is_empty() {
            audiences.push(OWN_AUDIENCE.to_owned());
        }
        match self.check(store, spec["token"].as_str().unwrap_or_default(), &audiences, now) {
            Ok((user, audiences)) => json!({
                "authenticated": true,
                "audiences": audiences,
                "user": {
                    "username": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra,
                },
            }),
            Err(error) => json!({ "authenticated": false, "user": {}, "error": error }),
        }
    }

    /// Answers a `TokenRequest`.
    pub(super) fn request(
        &mut self,
        store: &Store,
        (namespace, account): (&str, &str),
        mut request: Value,
        now: SystemTime,
    ) -> Result<Value, ApiError> {
        let accounts = Resource::named("serviceaccounts");
        if store.get(accounts, namespace, account).is_none() {
            return Err(ApiError::not_found(accounts, account));
        }
        let mut spec = TokenSpec::new(namespace, account);
        let asked = &request["spec"];
        if let Some(audiences) = asked["audiences"].as_array().filter(|it| !it.is_empty()) {
            spec.audiences = audiences.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect();
        }
        if let Some(seconds) = asked["expirationSeconds"].as_u64() {
            spec = spec.lifetime(Duration::from_secs(seconds));
        }
        if asked["boundObjectRef"]["kind"] == "Pod" {
            spec.pod = asked["boundObjectRef"]["name"].as_str().map(str::to_owned);
        }
        let (token, expires) = self.issue(store, &spec, now)?;
        let expires = humantime::format_rfc3339_seconds(expires).to_string();
        request["status"] = json!({ "token": token, "expirationTimestamp": expires });
        Ok(request)
    }
}

impl BoundPod {
    fn find(store: &Store, namespace: &str, name: &str) -> Result<Self, ApiError> {
        let pods = Resource::named("pods");
        let pod = store.get(pods, namespace, name).ok_or_else(|| ApiError::not_found(pods, name))?;
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: pod.uid.clone(),
            node: pod.field("spec.nodeName").to_owned(),
        })
    }

    fn check(&self, store: &Store) -> Result<(), String> {
        match store.get(Resource::named("pods"), &self.namespace, &self.name) {
            Some(pod) if pod.uid == self.uid => Ok(()),
            _ => Err("[invalid bearer token, service account token has been invalidated]".to_owned()),
        }
    }

    fn extra(&self, name_node: bool) -> BTreeMap<String, Vec<String>> {
        let node = name_node.then_some(("node-name", &self.node));
        let facts = [("pod-name", &self.name), ("pod-uid", &self.uid)].into_iter().chain(node);
        facts
            .map(|(key, value)| (format!("authentication.kubernetes.io/{key}"), vec![value.clone()]))
            .collect()
    }
}
