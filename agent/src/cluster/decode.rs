//! From a document to a checked object.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::{error::Error, fmt, sync::Arc};

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_path_to_error::Track;

use super::{
    Kind, Object, ObjectKey, Settings,
    fields::DEFAULT_NAMESPACE,
    istio::{WrittenDestinationRule, WrittenPeerAuthentication},
    model::{
        EndpointSliceFields, Invalid, NamespaceFields, PodFields, ServiceEntryFields, ServiceFields,
        WorkloadEntryFields,
    },
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
    let mut track = Track::new();
    let header = Header::deserialize(serde_path_to_error::Deserializer::new(document, &mut track));
    let header =
        header.map_err(|error| Rejected::new(None, Invalid::new(track.path().to_string(), error)))?;
    let Some(kind) = header.kind() else {
        return Ok(None);
    };
    let content = header.check_version(kind).and_then(|()| explained(kind, document, settings));
    content.map(|content| Some(Object(content))).map_err(|invalid| Rejected::new(header.key(kind), invalid))
}

/// Reads one object of a kind and a version that were asked for by name, as an API server sends it. What is not in use
/// is skipped, not read.
pub fn decode_json(kind: Kind, json: &[u8], settings: &Settings) -> Result<Object, Rejected> {
    match content(kind, &mut serde_json::Deserializer::from_slice(json), settings) {
        Ok(content) => Ok(Object(content)),
        Err(_) => decode_again(kind, json, settings),
    }
}

/// Slowly, so that it can be said which field is wrong.
#[cold]
fn decode_again(kind: Kind, json: &[u8], settings: &Settings) -> Result<Object, Rejected> {
    let document: Value =
        serde_json::from_slice(json).map_err(|error| Rejected::new(None, Invalid::new("", error)))?;
    explained(kind, &document, settings).map(Object).map_err(|invalid| {
        let name = document.get("metadata").and_then(|metadata| Name::deserialize(metadata).ok());
        Rejected::new(name.and_then(|name| name.key(kind)), invalid)
    })
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
        self.metadata.as_ref()?.key(kind)
    }
}

impl Name {
    fn key(&self, kind: Kind) -> Option<ObjectKey> {
        let name = self.name.as_deref().filter(|name| !name.is_empty())?;
        let written = self.namespace.as_deref().filter(|namespace| !namespace.is_empty());
        let namespace = if kind.is_namespaced() { written.unwrap_or(DEFAULT_NAMESPACE) } else { "" };
        Some(ObjectKey { kind, namespace: namespace.into(), name: name.into() })
    }
}

fn explained(kind: Kind, document: &Value, settings: &Settings) -> Result<Content, Invalid> {
    let mut track = Track::new();
    let read = content(kind, serde_path_to_error::Deserializer::new(document, &mut track), settings);
    read.map_err(|fault| match fault {
        Fault::Malformed(error) => Invalid::new(track.path().to_string(), error),
        Fault::Invalid(invalid) => invalid,
    })
}

/// Why there is no object.
enum Fault<E> {
    /// The document has not the shape of one.
    Malformed(E),
    /// It has, and what it says makes no sense.
    Invalid(Invalid),
}

fn content<'de, D: Deserializer<'de>>(
    kind: Kind,
    document: D,
    settings: &Settings,
) -> Result<Content, Fault<D::Error>> {
    Ok(match kind {
        Kind::Namespace => Content::Namespace(checked::<NamespaceFields, _, _>(document)?),
        Kind::Pod => Content::Pod(checked::<PodFields, _, _>(document)?),
        Kind::Service => Content::Service(checked::<ServiceFields, _, _>(document)?),
        Kind::EndpointSlice => Content::EndpointSlice(checked::<EndpointSliceFields, _, _>(document)?),
        Kind::ServiceEntry => Content::ServiceEntry(checked::<ServiceEntryFields, _, _>(document)?),
        Kind::WorkloadEntry => Content::WorkloadEntry(checked::<WorkloadEntryFields, _, _>(document)?),
        Kind::PeerAuthentication => {
            let written: WrittenPeerAuthentication = typed(document)?;
            Content::PeerAuthentication(Arc::new(written.check().map_err(Fault::Invalid)?))
        }
        Kind::DestinationRule => {
            let written: WrittenDestinationRule = typed(document)?;
            let rule = written.check(&settings.cluster_domain).map_err(Fault::Invalid)?;
            Content::DestinationRule(Arc::new(rule))
        }
    })
}

fn checked<'de, K, M, D>(document: D) -> Result<Arc<M>, Fault<D::Error>>
where
    K: Deserialize<'de>,
    M: TryFrom<K, Error = Invalid>,
    D: Deserializer<'de>,
{
    typed::<K, D>(document)?.try_into().map(Arc::new).map_err(Fault::Invalid)
}

fn typed<'de, T: Deserialize<'de>, D: Deserializer<'de>>(document: D) -> Result<T, Fault<D::Error>> {
    T::deserialize(document).map_err(Fault::Malformed)
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
