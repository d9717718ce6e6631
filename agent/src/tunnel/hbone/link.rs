//! A tunnel as its streams use it. What they have to say they put into its output themselves; the [driver](super::driver)
//! sends it.

use std::{
    cell::{Cell, RefCell},
    mem,
    rc::Rc,
    task::{Context, Waker},
};

use culvert_http2::{Connection, StreamId};

use super::{
    super::{
        arena::{self, AT_ONCE},
        failure::Failure,
    },
    flow::Flow,
    load::Load,
};
use crate::identity::VerifiedPeer;

/// A live tunnel to a peer that has proven who it is, as its streams use it.
pub(super) struct Link {
    pub(super) peer: VerifiedPeer,
    pub(super) load: Rc<Load>,
    pub(super) core: RefCell<Core>,
    driver: RefCell<Option<Waker>>,
    fault: RefCell<Option<Failure>>,
    /// The peer takes no more streams.
    pub(super) is_leaving: Cell<bool>,
}

/// What streams and driver have in common.
pub(super) struct Core {
    pub(super) http: Connection<Rc<Flow>>,
    /// Streams that found the output full, or no credit.
    pub(super) crowded: Vec<Rc<Flow>>,
    pub(super) starved: Vec<Rc<Flow>>,
}

impl Link {
    pub(super) fn new(peer: VerifiedPeer, http: Connection<Rc<Flow>>) -> Rc<Self> {
        Rc::new(Self {
            peer,
            load: Load::new(),
            core: RefCell::new(Core { http, crowded: Vec::new(), starved: Vec::new() }),
            driver: RefCell::default(),
            fault: RefCell::default(),
            is_leaving: Cell::new(false),
        })
    }

    /// Lets `act` change what is to be sent, and has it sent once the tasks that are due have had their say.
    pub(super) fn send<R>(&self, act: impl FnOnce(&mut Connection<Rc<Flow>>) -> R) -> R {
        let http = &mut self.core.borrow_mut().http;
        let result = act(http);
        if !http.output().is_empty() {
            self.wake_driver();
        }
        result
    }

    pub(super) fn ask<R>(&self, act: impl FnOnce(&Connection<Rc<Flow>>) -> R) -> R {
        act(&self.core.borrow().http)
    }

    /// How many bytes a stream may put into the output now; none has it woken when there may be more.
    pub(super) fn room(&self, id: StreamId, flow: &Rc<Flow>) -> usize {
        let Core { http, crowded, starved } = &mut *self.core.borrow_mut();
        let output = http.output();
        arena::equip(output);
        let free = AT_ONCE.saturating_sub(output.len());
        let credit = http.credit(id);
        if free == 0 {
            enlist(crowded, flow, &flow.is_crowded);
        } else if credit == 0 {
            enlist(starved, flow, &flow.is_starved);
        }
        free.min(credit)
    }

    /// Has the task that polls be woken when there is something to send.
    pub(super) fn listen(&self, cx: &Context<'_>) {
        self.driver.borrow_mut().get_or_insert_with(|| cx.waker().clone()).clone_from(cx.waker());
    }

    pub(super) fn wake_driver(&self) {
        if let Some(driver) = &*self.driver.borrow() {
            driver.wake_by_ref();
        }
    }

    /// Why the tunnel is over; none while it is not.
    pub(super) fn fault(&self) -> Option<Failure> {
        self.fault.borrow().clone()
    }

    /// There is room in the output again.
    pub(super) fn wake_crowded(&self) {
        for flow in self.take(|core| &mut core.crowded) {
            flow.is_crowded.set(false);
            flow.wake();
        }
    }

    /// The tunnel has credit again.
    pub(super) fn wake_starved(&self) {
        for flow in self.take(|core| &mut core.starved) {
            flow.is_starved.set(false);
            flow.wake();
        }
    }

    fn take(&self, list: impl FnOnce(&mut Core) -> &mut Vec<Rc<Flow>>) -> Vec<Rc<Flow>> {
        mem::take(list(&mut self.core.borrow_mut()))
    }

    /// A stream is over: nobody waits for it.
    pub(super) fn forget(&self, id: StreamId, flow: &Rc<Flow>) {
        let Core { http, crowded, starved } = &mut *self.core.borrow_mut();
        http.forget(id);
        if http.is_finished() || !http.output().is_empty() {
            self.wake_driver();
        }
        for (list, is_in) in [(crowded, &flow.is_crowded), (starved, &flow.is_starved)] {
            if is_in.replace(false) {
                list.retain(|other| !Rc::ptr_eq(other, flow));
            }
        }
    }

    /// Every stream learns that it is over.
    pub(super) fn end(&self, failure: Failure) {
        self.is_leaving.set(true);
        self.fault.borrow_mut().get_or_insert(failure);
        let core = self.core.borrow();
        for id in core.http.ids() {
            if let Some(flow) = core.http.get(id) {
                flow.wake();
            }
        }
    }
}

/// However often a stream finds nothing, it is woken once.
fn enlist(list: &mut Vec<Rc<Flow>>, flow: &Rc<Flow>, is_in: &Cell<bool>) {
    if !is_in.replace(true) {
        list.push(Rc::clone(flow));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_finds_nothing_again_and_again_waits_once() {
        let (mut list, flow) = (Vec::new(), Rc::<Flow>::default());
        for _ in 0..3 {
            enlist(&mut list, &flow, &flow.is_starved);
        }
        assert_eq!((list.len(), flow.is_starved.get(), flow.is_crowded.get()), (1, true, false));
    }
}
