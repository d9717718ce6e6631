//! Tasks that can be counted, waited for and cut.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use futures::FutureExt;
use tokio::{
    sync::Notify,
    task::{AbortHandle, spawn_local},
};

/// A set of tasks on this thread, each with a label. A task leaves the set when it ends, however it ends.
pub(super) struct Tasks<L>(Rc<Inner<L>>);

struct Inner<L> {
    next: Cell<u64>,
    live: RefCell<HashMap<u64, (L, AbortHandle)>>,
    emptied: Notify,
}

impl<L: 'static> Tasks<L> {
    pub(super) fn new() -> Self {
        Self(Rc::new(Inner { next: Cell::new(0), live: RefCell::default(), emptied: Notify::new() }))
    }

    pub(super) fn spawn(&self, label: L, task: impl Future<Output = ()> + 'static) {
        let id = self.0.next.get();
        self.0.next.set(id + 1);
        let leave = Leave(Rc::clone(&self.0), id);
        // A block that awaits what it has captured has room for it twice.
        let handle = spawn_local(task.map(|()| drop(leave)));
        self.0.live.borrow_mut().insert(id, (label, handle.abort_handle()));
    }

    /// Ends those tasks whose label is chosen. They are gone once the thread has run its next round.
    pub(super) fn abort_if(&self, mut chosen: impl FnMut(&L) -> bool) {
        for (label, handle) in self.0.live.borrow().values() {
            if chosen(label) {
                handle.abort();
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.live.borrow().len()
    }

    pub(super) async fn emptied(&self) {
        while self.len() > 0 {
            self.0.emptied.notified().await;
        }
    }

    /// Ends all tasks and waits until they are gone; how many there were.
    pub(super) async fn cut(&self) -> usize {
        let count = self.len();
        self.abort_if(|_| true);
        self.emptied().await;
        count
    }
}

struct Leave<L>(Rc<Inner<L>>, u64);

impl<L> Drop for Leave<L> {
    fn drop(&mut self) {
        let left = self.0.live.borrow_mut().remove(&self.1);
        drop(left);
        if self.0.live.borrow().is_empty() {
            self.0.emptied.notify_waiters();
        }
    }
}
