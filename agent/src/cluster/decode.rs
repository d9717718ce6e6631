//! From a document to a checked object.

use std::{error::Error, fmt, sync::Arc};

use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    Kind, Object, ObjectKey, Settings,
    istio::{DestinationRuleFields, PeerAuthenticationFields, Written},
    model::{DEFAULT_NAMESPACE, Invalid},
    object::Content,
};

/// A document of a kind that the index knows does not say what such an object has to.
#[derive(Debug)]
pub struct Rejected {
    /// The object, where so much could be read.
    pub key: Option<ObjectKey>,
    /// The field, as a path.
    pub field: String,
    /// What is wrong with it.
    pub reason: Box<dyn Error + Send + Sync>,
}

/// Reads one object. None is an object of a kind that the index has no use for.
pub fn decode(document: &Value, settings: &Settings) -> Result<Option<Object>, Rejected> {
    let header: Header = typed(document).map_err(|invalid| Rejected::new(None, invalid))?;
    let Some(kind) = header.kind() else {
        return Ok(None);
    };
    let content = header.check_version(kind).and_then(|()| content(kind, document, settings));
    content.map(|content| Some(Object(content))).map_err(|invalid| Rejected::new(header.key(kind), invalid))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    api_version: String,
    kind: String,
    #[serde(default)]
    metadata: Option<Name>,
}

#[derive(Default, Deserialize)]
struct Name {
    name: Option<String>,
    namespace: Option<String>,
}

impl Header {
    fn kind(&self) -> Option<Kind> {
        let (group, _) = self.group_version();
        Kind::ALL.iter().copied().find(|kind| kind.group() == group && kind.as_str() == self.kind)
    }

    /// Another version of a kind that the index knows may mean something else: it is not ignored.
    fn check_version(&self, kind: Kind) -> Result<(), Invalid> {
        let (_, found) = self.group_version();
        if kind.versions().contains(&found) {
            return Ok(());
        }
        let served = kind.versions().join(", ");
        Err(Invalid::new("apiVersion", format!("expected {kind} in version {served}, found {found:?}")))
    }

    fn group_version(&self) -> (&str, &str) {
        self.api_version.split_once('/').unwrap_or(("", &self.api_version))
    }

    fn key(&self, kind: Kind) -> Option<ObjectKey> {
        let metadata = self.metadata.as_ref()?;
        let name = metadata.name.as_deref().filter(|name| !name.is_empty())?;
        let written = metadata.namespace.as_deref().filter(|namespace| !namespace.is_empty());
        let namespace = if kind.is_namespaced() { written.unwrap_or(DEFAULT_NAMESPACE) } else { "" };
        Some(ObjectKey { kind, namespace: namespace.into(), name: name.into() })
    }
}

fn content(kind: Kind, document: &Value, settings: &Settings) -> Result<Content, Invalid> {
    Ok(match kind {
        Kind::Namespace => Content::Namespace(converted::<core::Namespace, _>(document)?),
        Kind::Pod => Content::Pod(converted::<core::Pod, _>(document)?),
        Kind::Service => Content::Service(converted::<core::Service, _>(document)?),
        Kind::EndpointSlice => Content::EndpointSlice(converted::<discovery::EndpointSlice, _>(document)?),
        Kind::PeerAuthentication => {
            let written: Written<PeerAuthenticationFields> = typed(document)?;
            Content::PeerAuthentication(Arc::new(written.check()?))
        }
        Kind::DestinationRule => {
            let written: Written<DestinationRuleFields> = typed(document)?;
            Content::DestinationRule(Arc::new(written.check(&settings.cluster_domain)?))
        }
    })
}

fn converted<K, M>(document: &Value) -> Result<Arc<M>, Invalid>
where
    K: DeserializeOwned,
    M: TryFrom<K, Error = Invalid>,
{
    Ok(Arc::new(typed::<K>(document)?.try_into()?))
}

fn typed<T: DeserializeOwned>(document: &Value) -> Result<T, Invalid> {
    serde_path_to_error::deserialize(document)
        .map_err(|error| Invalid::new(error.path().to_string(), error.into_inner()))
}

impl Rejected {
    fn new(key: Option<ObjectKey>, invalid: Invalid) -> Self {
        Self { key, field: invalid.field, reason: invalid.reason }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        write!(f, "{}: {}", self.field, self.reason)
    }
}

impl Error for Rejected {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.reason)
    }
}

#[cfg(test)]
mod tests;
