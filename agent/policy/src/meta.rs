//! What all objects have in common.

use std::sync::Arc;

/// Which object this is, and when it was made. The order is the one in which objects of one scope win: the
/// oldest, then the smaller name, then the smaller namespace (Istio, `pilot/pkg/model/config.go`,
/// `sortConfigByCreationTime`). An object without a time counts as older than any with one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Meta {
    /// `creationTimestamp`, in seconds since 1970.
    pub created: Option<i64>,
    /// Its name.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
}

impl Meta {
    pub(crate) fn is_named(&self, namespace: &str, name: &str) -> bool {
        *self.namespace == *namespace && *self.name == *name
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::meta;

    #[test]
    fn the_oldest_comes_first_then_the_smaller_name_then_the_namespace() {
        let mut all = [
            meta(Some(2), "ns", "a"),
            meta(Some(1), "ns", "b"),
            meta(Some(1), "ns", "a"),
            meta(Some(1), "mesh", "b"),
            meta(None, "ns", "z"),
        ];
        all.sort();
        let expected = [
            meta(None, "ns", "z"),
            meta(Some(1), "ns", "a"),
            meta(Some(1), "mesh", "b"),
            meta(Some(1), "ns", "b"),
            meta(Some(2), "ns", "a"),
        ];
        assert_eq!(all, expected);
    }
}
