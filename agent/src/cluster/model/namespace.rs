//! Namespaces.

use culvert_policy::{Meta, capture_wish};
use k8s_openapi::api::core::v1 as k8s;

use super::{Invalid, cluster_wide};

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Namespace {
    pub(in super::super) meta: Meta,
    /// What its labels say about capture.
    pub(in super::super) wish: Option<bool>,
}

impl TryFrom<k8s::Namespace> for Namespace {
    type Error = Invalid;

    fn try_from(namespace: k8s::Namespace) -> Result<Self, Invalid> {
        let meta = cluster_wide(&namespace.metadata)?;
        Ok(Self { meta, wish: capture_wish(&namespace.metadata.labels.unwrap_or_default()) })
    }
}
