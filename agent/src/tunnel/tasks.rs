//! Tasks that can be counted, waited for and cut, and that let others go on.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    pin::pin,
    rc::Rc,
    task::Context,
};

use futures::FutureExt;
use tokio::{
    sync::Notify,
    task::{AbortHandle, spawn_local, yield_now},
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

/// Has the task that polls polled again once all that are ready have had their turn and the runtime has looked for what
/// has come on the sockets. A task that wakes itself keeps it from that, 61 times (tokio's `event_interval`).
pub(super) fn come_back(cx: &mut Context<'_>) {
    let _pending = pin!(yield_now()).poll(cx);
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, io::Write, task::Poll, time::Duration};

    use rustix::io::ioctl_fionread;
    use tokio::net::{TcpListener, TcpStream};

    use super::{
        super::{tests::fixture::soon, workers::runtime},
        *,
    };

    #[test]
    fn sockets_are_looked_at_before_a_task_comes_back() {
        runtime(Duration::ZERO).unwrap().block_on(soon(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (hearer, _) = listener.accept().await.unwrap();
            let hearer = Rc::new(hearer);
            let mut peer = peer.into_std().unwrap();
            let turns = Rc::new(Cell::new(0));
            let (counted, heard) = (Rc::clone(&turns), Rc::clone(&hearer));
            let busy = spawn_local(poll_fn(move |cx| {
                if counted.replace(counted.get() + 1) == 0 {
                    peer.write_all(b"word").unwrap();
                    while ioctl_fionread(&*heard).unwrap() == 0 {}
                }
                come_back(cx);
                Poll::<()>::Pending
            }));
            hearer.peek(&mut [0]).await.unwrap();
            assert!(turns.get() <= 2, "{}", turns.get());
            busy.abort();
        }));
    }
}
