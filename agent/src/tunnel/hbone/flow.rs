//! One stream, as its own task and the tunnel's driver both see it.

use std::{
    cell::{Cell, OnceCell, RefCell},
    io::{self, IoSlice},
    rc::Rc,
    task::{Context, Waker},
};

use bytes::{Buf, BytesMut};
use culvert_http2::ErrorCode;
use tokio::net::TcpStream;

/// What a tunnel keeps with each of its streams. The driver hands what arrives straight to the application's socket; only
/// what that does not take waits here, and is the stream's task's.
#[derive(Default)]
pub(super) struct Flow {
    app: OnceCell<Rc<TcpStream>>,
    backlog: RefCell<BytesMut>,
    delivered: Cell<u64>,
    pub(super) status: Cell<Option<u16>>,
    pub(super) is_ended: Cell<bool>,
    pub(super) reset: Cell<Option<Reset>>,
    /// How many bytes it sends at once, lately.
    pub(super) said: Cell<u32>,
    /// How many it has sent since its last turn began, and the number of that.
    pub(super) spent: Cell<u32>,
    pub(super) turn: Cell<u32>,
    /// Whether the tunnel wakes it when there is room in its output, or credit.
    pub(super) is_crowded: Cell<bool>,
    pub(super) is_starved: Cell<bool>,
    task: RefCell<Option<Waker>>,
}

/// In bytes. To fill an output with less than that at a time costs too many reads.
pub(super) const WORTH: usize = 16 * 1024;

/// How a stream was broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reset {
    ByPeer(ErrorCode),
    /// The peer broke the rules of HTTP/2 on this stream.
    ByUs(ErrorCode),
    /// The peer goes away, and has not looked at it.
    Unseen,
}

impl Flow {
    /// From now on what arrives goes to the application.
    pub(super) fn attach(&self, app: Rc<TcpStream>) {
        self.app.set(app).expect("a stream has one application");
    }

    /// So many bytes were sent. Few of them may be the rest of many.
    pub(super) fn has_said(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.said.set(bytes.max(self.said.get() / 2));
        self.spent.set(self.spent.get().saturating_add(bytes));
    }

    /// Whether what it sends are messages, and no flow.
    pub(super) fn says_little(&self) -> bool {
        (self.said.get() as usize) < WORTH
    }

    /// Has the task that polls be woken when there is news.
    pub(super) fn listen(&self, cx: &Context<'_>) {
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
    }

    pub(super) fn wake(&self) {
        if let Some(task) = &*self.task.borrow() {
            task.wake_by_ref();
        }
    }

    /// Hands over what has arrived; how many bytes the application has taken. The rest its task has to see to.
    pub(super) fn deliver(&self, parts: &[IoSlice<'_>]) -> usize {
        let taken = if self.has_backlog() { 0 } else { self.write(parts) };
        self.keep(parts, taken);
        if self.has_backlog() {
            self.wake();
        }
        taken
    }

    /// An error is found by the stream's task, at the next write.
    fn write(&self, parts: &[IoSlice<'_>]) -> usize {
        let written = match self.app.get() {
            Some(app) => match parts {
                [part] => app.try_write(part),
                parts => app.try_write_vectored(parts),
            }
            .unwrap_or(0),
            None => 0,
        };
        self.count(written);
        written
    }

    fn keep(&self, parts: &[IoSlice<'_>], mut taken: usize) {
        let mut backlog = self.backlog.borrow_mut();
        for part in parts {
            let skipped = taken.min(part.len());
            taken -= skipped;
            backlog.extend_from_slice(&part[skipped..]);
        }
    }

    /// Hands over more of what waits; how many bytes went.
    pub(super) fn deliver_backlog(&self, app: &TcpStream) -> io::Result<usize> {
        let mut backlog = self.backlog.borrow_mut();
        let written = app.try_write(&backlog)?;
        backlog.advance(written);
        if backlog.is_empty() {
            *backlog = BytesMut::new();
        }
        self.count(written);
        Ok(written)
    }

    pub(super) fn has_backlog(&self) -> bool {
        !self.backlog.borrow().is_empty()
    }

    /// Bytes that the application was given.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered.get()
    }

    fn count(&self, bytes: usize) {
        self.delivered.set(self.delivered.get() + bytes as u64);
    }
}
