//! The Secret and the `ConfigMap`, each read whole and written on condition that nobody else has.

use std::{future::Future, marker::PhantomData, time::Duration};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Client, Resource, ResourceExt,
    api::{GetParams, ObjectMeta, PostParams},
    core::Request,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use super::content::{Content, ContentFault};
use crate::ca::{
    CaOptions,
    secrecy::{Wipe, ask, body},
};

/// The key under which Istio publishes its roots too.
const BUNDLE: &str = "root-cert.pem";
/// An API server that does not answer for this long is away.
const PATIENCE: Duration = Duration::from_secs(10);

/// The roots cannot be read, written or published.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The Secret holds something else. It is left as it is.
    #[error("cannot use {object}: put it right, or delete it while no replica runs to have new roots made")]
    Malformed {
        /// The Secret.
        object: String,
        /// What is wrong with it.
        source: ContentFault,
    },
    /// The API server refuses, or cannot be reached.
    #[error("cannot {verb} {object}")]
    Api {
        /// What was tried.
        verb: &'static str,
        /// The Secret or the `ConfigMap`.
        object: String,
        /// What the API server said.
        source: Box<kube::Error>,
    },
    /// The API server does not answer.
    #[error("cannot {verb} {object}: the API server did not answer within {PATIENCE:?}")]
    Timeout {
        /// What was tried.
        verb: &'static str,
        /// The Secret or the `ConfigMap`.
        object: String,
    },
    /// No root could be made.
    #[error("cannot make a root certificate")]
    Make(#[from] rcgen::Error),
}

/// Whether a conditional write took place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Yes,
    /// Somebody else was faster: read again, and decide again.
    Conflict,
}

/// The two objects that replicas share.
pub(super) struct Store {
    secret: Shared<Secret>,
    config_map: Shared<ConfigMap>,
}

impl Store {
    pub(super) fn new(client: &Client, options: &CaOptions) -> Self {
        let namespace = &options.namespace;
        Self {
            secret: Shared::new(client, namespace, &options.secret, "Secret"),
            config_map: Shared::new(client, namespace, &options.config_map, "ConfigMap"),
        }
    }

    pub(super) async fn bundle(&self) -> Result<Bundle, StoreError> {
        Ok(Bundle(self.config_map.get().await?))
    }

    /// Publishes `pem` where `read` was.
    pub(super) async fn publish(&self, read: Bundle, pem: &str) -> Result<Written, StoreError> {
        let mut object = read.0.unwrap_or_default();
        object.data.get_or_insert_default().insert(BUNDLE.to_owned(), pem.to_owned());
        self.config_map.put(object).await
    }

    pub(super) async fn secret(&self) -> Result<StoredSecret, StoreError> {
        let mut object = self.secret.get().await?;
        let data = object.as_mut().and_then(|object| object.data.take());
        Ok(StoredSecret { object, content: Content::new(data.unwrap_or_default()) })
    }

    /// Writes what `secret` holds now where it was read.
    pub(super) async fn write(&self, secret: StoredSecret) -> Result<Written, StoreError> {
        let mut object = secret.object.unwrap_or_default();
        object.data = Some(secret.content.to_data());
        self.secret.put(object).await
    }

    pub(super) fn malformed(&self, source: ContentFault) -> StoreError {
        StoreError::Malformed { object: self.secret.name(), source }
    }
}

/// The published roots as they were read.
pub(super) struct Bundle(Option<ConfigMap>);

impl Bundle {
    /// Whether it is exactly this.
    pub(super) fn is(&self, pem: &str) -> bool {
        let data = self.0.as_ref().and_then(|object| object.data.as_ref());
        data.and_then(|data| data.get(BUNDLE)).is_some_and(|published| published == pem)
    }
}

/// The Secret as it was read, and what it is to hold.
pub(super) struct StoredSecret {
    object: Option<Secret>,
    pub(super) content: Content,
}

impl StoredSecret {
    pub(super) fn exists(&self) -> bool {
        self.object.is_some()
    }
}

/// One object, whose name is known.
struct Shared<K> {
    client: Client,
    kind: &'static str,
    namespace: String,
    name: String,
    object: PhantomData<K>,
}

impl<K> Shared<K>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    K: DeserializeOwned + Serialize + Wipe,
{
    fn new(client: &Client, namespace: &str, name: &str, kind: &'static str) -> Self {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        Self { client: client.clone(), kind, namespace, name, object: PhantomData }
    }

    async fn get(&self) -> Result<Option<K>, StoreError> {
        let request = self.request().get(&self.name, &GetParams::default());
        match self.within_patience("read", ask(&self.client, request)).await? {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(source) => Err(self.error("read", source)),
        }
    }

    /// Replaces the object if it was read, on condition that it is still what was read; creates it otherwise.
    async fn put(&self, mut object: K) -> Result<Written, StoreError> {
        let params = PostParams::default();
        if object.resource_version().is_some() {
            let body = body(&mut object).map_err(|source| self.error("write", source))?;
            let put = self.request().replace(&self.name, &params, body);
            let put = self.within_patience("write", ask(&self.client, put)).await?;
            return self.written("write", put, &[404, 409]);
        }
        *object.meta_mut() = self.meta();
        let body = body(&mut object).map_err(|source| self.error("create", source))?;
        let post = self.request().create(&params, body);
        let post = self.within_patience("create", ask(&self.client, post)).await?;
        self.written("create", post, &[409])
    }

    fn written(
        &self,
        verb: &'static str,
        answer: Result<K, kube::Error>,
        conflicts: &[u16],
    ) -> Result<Written, StoreError> {
        match answer {
            Ok(mut object) => {
                object.wipe();
                Ok(Written::Yes)
            }
            Err(kube::Error::Api(status)) if conflicts.contains(&status.code) => Ok(Written::Conflict),
            Err(source) => Err(self.error(verb, source)),
        }
    }

    fn request(&self) -> Request {
        Request::new(K::url_path(&(), Some(&self.namespace)))
    }

    async fn within_patience<T>(
        &self,
        verb: &'static str,
        answer: impl Future<Output = T>,
    ) -> Result<T, StoreError> {
        timeout(PATIENCE, answer).await.map_err(|_| StoreError::Timeout { verb, object: self.name() })
    }

    fn error(&self, verb: &'static str, source: kube::Error) -> StoreError {
        StoreError::Api { verb, object: self.name(), source: Box::new(source) }
    }

    fn name(&self) -> String {
        format!("{} {}/{}", self.kind, self.namespace, self.name)
    }

    fn meta(&self) -> ObjectMeta {
        let labels = [("app.kubernetes.io/managed-by", "culvert-ca")];
        ObjectMeta {
            name: Some(self.name.clone()),
            namespace: Some(self.namespace.clone()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            ..ObjectMeta::default()
        }
    }
}
