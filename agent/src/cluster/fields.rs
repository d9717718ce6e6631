//! Objects as they are written, as far as they are read: a field that nobody uses is skipped and costs no memory.

use std::{fmt, net::IpAddr, sync::Arc};

use culvert_policy::{Label, Labels, MEANINGFUL, Meta};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};

use super::{
    intern,
    model::{Invalid, SERVICE_NAME},
};

/// An object with a specification `S`, a status `T` and labels `L`.
#[derive(Deserialize)]
#[serde(bound = "S: Deserialize<'de>, T: Deserialize<'de>, L: Deserialize<'de>")]
pub(super) struct Document<S, T = IgnoredAny, L = IgnoredAny> {
    #[serde(default = "Option::default")]
    pub(super) metadata: Option<Metadata<L>>,
    #[serde(default = "Option::default")]
    pub(super) spec: Option<S>,
    #[serde(default = "Option::default")]
    pub(super) status: Option<T>,
}

/// `metadata`.
#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase", bound = "L: Deserialize<'de>")]
pub(super) struct Metadata<L = IgnoredAny> {
    pub(super) name: Option<Text>,
    pub(super) namespace: Option<Text>,
    pub(super) uid: Option<String>,
    pub(super) creation_timestamp: Option<Time>,
    pub(super) labels: Option<L>,
    pub(super) annotations: Option<Meaningful>,
}

/// The namespace of an object whose manifest names none, as `kubectl` has it.
pub(super) const DEFAULT_NAMESPACE: &str = "default";

impl<L> Default for Metadata<L> {
    fn default() -> Self {
        Self {
            name: None,
            namespace: None,
            uid: None,
            creation_timestamp: None,
            labels: None,
            annotations: None,
        }
    }
}

impl<L> Metadata<L> {
    /// What identifies a namespaced object.
    pub(super) fn namespaced(&self) -> Result<Meta, Invalid> {
        let written = self.namespace.as_ref().filter(|namespace| !namespace.0.is_empty());
        let namespace = written.map_or_else(|| intern::text(DEFAULT_NAMESPACE), |it| it.0.clone());
        Ok(Meta { namespace, ..self.cluster_wide()? })
    }

    /// What identifies an object of a kind without namespaces.
    pub(super) fn cluster_wide(&self) -> Result<Meta, Invalid> {
        let name = self.name.as_ref().filter(|name| !name.0.is_empty());
        let name = name.ok_or_else(|| Invalid::new("metadata.name", "expected a name, found none"))?;
        let created = self.creation_timestamp.as_ref().map(|time| time.0.as_second());
        Ok(Meta { created, name: name.0.clone(), namespace: intern::text("") })
    }
}

/// A string that other objects are likely to say, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text(pub(super) Arc<str>);

/// An IP address, or whatever else stands where one may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Ip(IpAddr),
    Other(Arc<str>),
}

impl Address {
    /// The address, where there has to be one.
    pub(super) fn ip(&self, field: impl FnOnce() -> String) -> Result<IpAddr, Invalid> {
        match self {
            Self::Ip(address) => Ok(*address),
            Self::Other(text) => {
                Err(Invalid::new(field(), format!("expected an IP address, found {:?}", &**text)))
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Other(text) if text.is_empty())
    }
}

impl Default for Address {
    fn default() -> Self {
        Self::Other(intern::text(""))
    }
}

/// Labels, all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct AllLabels(pub(super) Labels);

/// Those labels or annotations that mean something by themselves.
#[derive(Clone, Debug, Default)]
pub(super) struct Meaningful(pub(super) Labels);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Word(|text: &str| Self(intern::text(text))))
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |text: &str| text.parse().map_or_else(|_| Self::Other(intern::text(text)), Self::Ip);
        deserializer.deserialize_str(Word(read))
    }
}

impl<'de> Deserialize<'de> for AllLabels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Pairs { keeps: |_| true }).map(Self)
    }
}

impl<'de> Deserialize<'de> for Meaningful {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Pairs { keeps: is_meaningful }).map(Self)
    }
}

fn is_meaningful(key: &str) -> bool {
    key == SERVICE_NAME || MEANINGFUL.contains(&key)
}

/// Reads a string without a copy of it.
struct Word<F>(F);

impl<T, F: FnOnce(&str) -> T> Visitor<'_> for Word<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        Ok(self.0(text))
    }
}

impl<'de, T, F: FnOnce(&str) -> T> DeserializeSeed<'de> for Word<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

/// Reads the pairs of a map whose keys are wanted.
struct Pairs {
    keeps: fn(&str) -> bool,
}

impl<'de> Visitor<'de> for Pairs {
    type Value = Labels;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
        let mut pairs: Vec<Label> = Vec::new();
        let kept = |key: &str| (self.keeps)(key).then(|| intern::text(key));
        while let Some(key) = map.next_key_seed(Word(kept))? {
            match key {
                Some(key) => pairs.push((key, map.next_value::<Option<Text>>()?.unwrap_or_default().0)),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(intern::labels(pairs))
    }
}

impl Default for Text {
    fn default() -> Self {
        Self(intern::text(""))
    }
}
