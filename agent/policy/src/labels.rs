//! Labels, annotations and selectors.

use std::{fmt, sync::Arc};

/// Kubernetes labels or annotations, or a selector's `matchLabels`. Cheap to clone, so that the pods of one Deployment
/// can share theirs.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(
    /// By key, each once. None is the same as empty, without the memory.
    Option<Arc<[Label]>>,
);

/// A key and its value.
pub type Label = (Arc<str>, Arc<str>);

impl Labels {
    /// No labels.
    pub const fn new() -> Self {
        Self(None)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        let labels = self.as_slice();
        let at = labels.binary_search_by(|(found, _)| (**found).cmp(key)).ok()?;
        Some(&labels[at].1)
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// All of them, by key.
    pub fn iter(&self) -> impl Iterator<Item = &Label> {
        self.as_slice().iter()
    }

    /// How many handles there are to these labels; 0 where there are none.
    pub fn handles(&self) -> usize {
        self.0.as_ref().map_or(0, Arc::strong_count)
    }

    fn as_slice(&self) -> &[Label] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl FromIterator<Label> for Labels {
    /// Of several values of one key the last counts.
    fn from_iter<I: IntoIterator<Item = Label>>(labels: I) -> Self {
        let mut labels: Vec<Label> = labels.into_iter().collect();
        labels.reverse();
        labels.sort_by(|one, other| one.0.cmp(&other.0));
        labels.dedup_by(|one, other| one.0 == other.0);
        if labels.is_empty() { Self(None) } else { Self(Some(labels.into())) }
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(key, value)| (key, value))).finish()
    }
}

/// Whether an object with these labels carries all of the selector's. An empty selector selects everything.
pub fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::labels;

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
    fn the_order_in_which_labels_are_written_does_not_matter() {
        let written = labels(&[("b", "2"), ("a", "1"), ("c", "3")]);
        assert_eq!(written, labels(&[("c", "3"), ("b", "2"), ("a", "1")]));
        assert_eq!(["a", "b", "c", "d"].map(|key| written.get(key)), [Some("1"), Some("2"), Some("3"), None]);
    }

    #[test]
    fn of_two_values_the_last_counts() {
        assert_eq!(labels(&[("a", "1"), ("b", "2"), ("a", "3")]), labels(&[("a", "3"), ("b", "2")]));
    }

    #[test]
    fn no_labels_are_no_labels_however_they_are_made() {
        assert_eq!(labels(&[]), Labels::new());
        assert!(labels(&[]).is_empty());
    }
}
