//! Namespaces.

use culvert_policy::{Meta, capture_wish};
use serde::de::IgnoredAny;

use super::Invalid;
use crate::cluster::fields::{Document, Meaningful};

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct Namespace {
    pub(in crate::cluster) meta: Meta,
    /// What its labels say about capture.
    pub(in crate::cluster) wish: Option<bool>,
}

/// A namespace as it is written.
pub(in crate::cluster) type NamespaceFields = Document<IgnoredAny, IgnoredAny, Meaningful>;

impl TryFrom<NamespaceFields> for Namespace {
    type Error = Invalid;

    fn try_from(document: NamespaceFields) -> Result<Self, Invalid> {
        let metadata = document.metadata.unwrap_or_default();
        let meta = metadata.cluster_wide()?;
        Ok(Self { meta, wish: capture_wish(&metadata.labels.unwrap_or_default().0) })
    }
}
