//! Strings and sets of labels that many objects have in common, kept once.
//!
//! A cluster of 100,000 pods has a few thousand namespaces, nodes, service accounts and sets of labels, and names each
//! pod again in an endpoint slice. The pool belongs to the thread that decodes: there is no lock, and an object of
//! another thread is the same object with more memory.

use std::{cell::RefCell, collections::HashSet, hash::Hash, sync::Arc};

use culvert_policy::{Label, Labels};

/// The string, shared with all objects that say the same.
pub(super) fn text(text: &str) -> Arc<str> {
    POOL.with_borrow_mut(|pool| pool.text(text))
}

/// The labels, shared with all objects that have the same.
pub(super) fn labels(labels: impl IntoIterator<Item = Label>) -> Labels {
    let labels: Labels = labels.into_iter().collect();
    POOL.with_borrow_mut(|pool| pool.labels(labels))
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

#[derive(Default)]
struct Pool {
    labels: Shared<Labels>,
    texts: Shared<Arc<str>>,
}

impl Pool {
    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.set.get(text) {
            return known.clone();
        }
        if self.texts.is_due() {
            // Sets of labels that nobody has any more hold strings.
            self.labels.sweep();
            self.texts.sweep();
        }
        let new: Arc<str> = text.into();
        self.texts.set.insert(new.clone());
        new
    }

    fn labels(&mut self, labels: Labels) -> Labels {
        if let Some(known) = self.labels.set.get(&labels) {
            return known.clone();
        }
        if self.labels.is_due() {
            self.labels.sweep();
        }
        self.labels.set.insert(labels.clone());
        labels
    }
}

/// What is shared. It is swept whenever it has doubled, so it is never much larger than what is in use, and a new entry
/// costs the same however many there are.
struct Shared<T> {
    set: HashSet<T>,
    sweep_at: usize,
}

/// Below this many entries sweeping is not worth it.
const SMALLEST_SWEEP: usize = 1024;

impl<T: Handle + Eq + Hash> Shared<T> {
    fn is_due(&self) -> bool {
        self.set.len() >= self.sweep_at
    }

    fn sweep(&mut self) {
        self.set.retain(Handle::is_in_use);
        self.sweep_at = SMALLEST_SWEEP.max(self.set.len() * 2);
    }
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { set: HashSet::new(), sweep_at: SMALLEST_SWEEP }
    }
}

/// One of several owners of the same memory.
trait Handle {
    /// Whether anybody but the pool has it.
    fn is_in_use(&self) -> bool;
}

impl Handle for Arc<str> {
    fn is_in_use(&self) -> bool {
        Self::strong_count(self) > 1
    }
}

impl Handle for Labels {
    fn is_in_use(&self) -> bool {
        self.handles() > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_equal_is_the_same_memory() {
        assert!(Arc::ptr_eq(&text("one"), &text("one")));
        let pair = || [(text("app"), text("httpbin"))];
        let (one, other) = (labels(pair()), labels(pair()));
        assert_eq!(one, other);
        assert_eq!(one.handles(), 3);
    }

    #[test]
    fn what_nobody_has_any_more_is_forgotten() {
        let mut pool = Pool::default();
        let kept = pool.text("kept");
        for number in 0..10 * SMALLEST_SWEEP {
            let name = pool.text(&format!("pod-{number}"));
            pool.labels([(name.clone(), name)].into_iter().collect());
        }
        assert!(pool.texts.set.len() <= 2 * SMALLEST_SWEEP, "{}", pool.texts.set.len());
        assert!(pool.labels.set.len() <= 2 * SMALLEST_SWEEP, "{}", pool.labels.set.len());
        assert!(Arc::ptr_eq(&kept, &pool.text("kept")));
    }
}
