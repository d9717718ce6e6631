//! What all objects have in common.

use std::{collections::BTreeMap, sync::Arc};

/// Kubernetes labels or annotations, or a selector's `matchLabels`.
pub type Labels = BTreeMap<String, String>;

/// Whether an object with these labels carries all of the selector's. An empty selector selects everything.
pub fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

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
    use super::*;
    use crate::testing::{labels, meta};

    #[test]
    fn a_selector_wants_all_of_its_labels() {
        let pod = labels(&[("app", "httpbin"), ("version", "v1")]);
        for (selector, selected) in [
            (labels(&[]), true),
            (labels(&[("app", "httpbin")]), true),
            (labels(&[("app", "httpbin"), ("version", "v1")]), true),
            (labels(&[("app", "httpbin"), ("version", "v2")]), false),
            (labels(&[("tier", "")]), false),
        ] {
            assert_eq!(selects(&selector, &pod), selected, "{selector:?}");
        }
    }

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
