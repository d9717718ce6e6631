//! A tunnel as its streams use it. What they have to say they put into its output themselves; what is due is sent by the
//! [driver](super::driver), or at once where it is much.

use std::{
    cell::{Cell, RefCell},
    mem,
    rc::Rc,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use culvert_http2::{Connection, StreamId};
use tokio::net::TcpStream;

use super::{
    super::{
        arena::{self, AT_ONCE},
        failure::Failure,
        records::Records,
        yielding::Yielding,
    },
    arrears::Arrears,
    crowd::Crowd,
    flow::Flow,
    load::Load,
    outlet::{Flushed, Outlet},
    portion::Portion,
};
use crate::{identity::VerifiedPeer, sys};

/// A live tunnel to a peer that has proven who it is, as its streams use it.
pub(super) struct Link {
    pub(super) peer: VerifiedPeer,
    pub(super) load: Rc<Load>,
    pub(super) tcp: TcpStream,
    pub(super) core: RefCell<Core>,
    driver: RefCell<Option<Waker>>,
    fault: RefCell<Option<Failure>>,
    /// The peer takes no more streams.
    pub(super) is_leaving: Cell<bool>,
}

/// What streams and driver have in common.
pub(super) struct Core {
    pub(super) http: Connection<Rc<Flow>>,
    pub(super) outlet: Outlet,
    portion: Portion,
    /// How often something was put into the output since it was last sent.
    words: usize,
    /// How many bytes were, since the driver had its turn.
    ahead: usize,
    /// Streams that found the output full, and those that found no credit.
    crowd: Crowd,
    /// How often the driver saw that some wait for their turn since somebody has spoken.
    silences: u8,
    yielding: Yielding,
    arrears: Arrears,
    starved: Vec<Rc<Flow>>,
}

/// When the driver is to ask again whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// When there is something else to do.
    WithNews,
    /// Once the sockets have been looked at.
    Again,
    /// Then, if there is nothing else to do before.
    By(Instant),
}

/// What streams say is sent at the latest when so many have spoken: the peer, on another core, is at work on it while
/// the others speak. When all wait for all, two cores do the work of one.
const WORDS: usize = 4;
/// How far streams get ahead of the driver, which alone hears of new credit: a thousand that all have their say first
/// would be out of it before the driver's turn comes.
const AHEAD: usize = 2 * AT_ONCE;
/// So many times in a row those who have their turn must have nothing to say for another to be let in: what an application
/// has written long ago, for its turn, is in the cache no more. After the first time the core is left to the applications,
/// unless messages come between: those would wait for it, too.
const PATIENCE: u8 = 6;

impl Link {
    pub(super) fn new(
        peer: VerifiedPeer,
        tcp: TcpStream,
        records: Records,
        http: Connection<Rc<Flow>>,
    ) -> Rc<Self> {
        Rc::new(Self {
            peer,
            load: Load::new(),
            tcp,
            core: RefCell::new(Core {
                http,
                outlet: Outlet::new(records),
                portion: Portion::default(),
                words: 0,
                ahead: 0,
                crowd: Crowd::default(),
                silences: 0,
                yielding: Yielding::default(),
                arrears: Arrears::default(),
                starved: Vec::new(),
            }),
            driver: RefCell::default(),
            fault: RefCell::default(),
            is_leaving: Cell::new(false),
        })
    }

    /// Lets `act` change what is to be sent, and has it sent once the tasks that are due have had their say, or enough of
    /// them.
    pub(super) fn send<R>(&self, act: impl FnOnce(&mut Connection<Rc<Flow>>) -> R) -> R {
        let (result, is_much) = {
            let Core { http, words, ahead, silences, .. } = &mut *self.core.borrow_mut();
            let before = http.output().len();
            let result = act(http);
            let put = http.output().len() - before;
            *words += usize::from(put > 0);
            *ahead += put;
            if put > 0 {
                *silences = 0;
            }
            (result, *words >= WORDS && *ahead < AHEAD)
        };
        self.wake_driver_if_due();
        if is_much {
            self.flush();
        }
        result
    }

    /// A stream has put so many bytes of its application's into the output.
    pub(super) fn has_said(&self, flow: &Flow, bytes: usize) {
        flow.has_said(bytes);
        let Core { portion, crowd, .. } = &mut *self.core.borrow_mut();
        portion.note(flow, bytes);
        crowd.note(flow, bytes);
    }

    /// The driver's turn: streams may get ahead of it again.
    pub(super) fn catch_up(&self) {
        self.core.borrow_mut().ahead = 0;
    }

    /// Sends what there is to be sent, as far as the socket takes it. The driver waits for it where it is blocked.
    pub(super) fn flush(&self) -> Flushed {
        let flushed = {
            let Core { http, outlet, words, .. } = &mut *self.core.borrow_mut();
            *words = 0;
            outlet.flush(http, &self.tcp)
        };
        self.admit();
        flushed
    }

    pub(super) fn ask<R>(&self, act: impl FnOnce(&Connection<Rc<Flow>>) -> R) -> R {
        act(&self.core.borrow().http)
    }

    /// How many bytes a stream may put into the output now; none has it woken when there may be more.
    pub(super) fn room(&self, id: StreamId, flow: &Rc<Flow>) -> usize {
        if self.free() == 0 && self.core.borrow().ahead < AHEAD {
            self.flush();
        }
        let free = self.free();
        let Core { http, crowd, arrears, starved, .. } = &mut *self.core.borrow_mut();
        if crowd.is_before(flow) {
            crowd.add(flow);
            self.wake_driver();
            return 0;
        }
        let credit = http.credit(id);
        if crowd.is_turn_of(flow) {
            arrears.note(credit > 0);
        }
        if free == 0 {
            crowd.add(flow);
        } else if credit == 0 && http.is_starved() && !flow.is_starved.replace(true) {
            starved.push(Rc::clone(flow));
        }
        free.min(credit)
    }

    fn free(&self) -> usize {
        let mut core = self.core.borrow_mut();
        let output = core.http.output();
        arena::equip(output);
        let length = output.len();
        core.portion.free(length)
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

    pub(super) fn wake_driver_if_due(&self) {
        let is_due = {
            let Core { http, outlet, .. } = &mut *self.core.borrow_mut();
            !http.output().is_empty() || outlet.records.is_owing()
        };
        if is_due {
            self.wake_driver();
        }
    }

    /// Why the tunnel is over; none while it is not.
    pub(super) fn fault(&self) -> Option<Failure> {
        self.fault.borrow().clone()
    }

    /// Lets in whose turn it is, where there is room in the output. They may have nothing to say any more: as long as
    /// somebody waits, the driver comes by again.
    fn admit(&self) {
        let admitted = {
            let Core { http, portion, crowd, .. } = &mut *self.core.borrow_mut();
            crowd.admit(portion.free(http.output().len()))
        };
        if admitted.is_empty() {
            return;
        }
        for flow in admitted {
            flow.wake();
        }
        self.wake_driver();
    }

    /// Lets in one of those that wait for their turn, unless some that have theirs may come yet: who has something to say
    /// has come when the driver asks again, or once applications had the core to write it, or once a peer that is behind
    /// has given credit.
    pub(super) fn pass_turn(&self) -> Ask {
        let admitted = {
            let Core { http, portion, crowd, silences, yielding, arrears, .. } = &mut *self.core.borrow_mut();
            let is_full = portion.free(http.output().len()) == 0;
            if is_full || !crowd.is_idle() {
                return Ask::WithNews;
            }
            *silences = PATIENCE.min(*silences + 1);
            if crowd.is_in_turn() {
                if *silences < PATIENCE {
                    if *silences > 1 && !portion.is_disturbed() {
                        yielding.try_yield();
                    }
                    return Ask::Again;
                }
                if let Some(end) = arrears.worth_waiting_until(|| self.way()) {
                    return Ask::By(end);
                }
            }
            arrears.settle();
            crowd.admit_waiting()
        };
        if let Some(flow) = admitted {
            flow.wake();
        }
        Ask::Again
    }

    /// How long bytes take to the peer and their acknowledgement back, at best.
    fn way(&self) -> Duration {
        sys::min_rtt(&self.tcp).unwrap_or(Duration::MAX)
    }

    /// The tunnel has credit again.
    pub(super) fn wake_starved(&self) {
        let starved = mem::take(&mut self.core.borrow_mut().starved);
        for flow in starved {
            flow.is_starved.set(false);
            flow.wake();
        }
    }

    /// There is news for every stream.
    pub(super) fn wake_all(&self) {
        let core = self.core.borrow();
        for flow in core.http.ids().filter_map(|id| core.http.get(id)) {
            flow.wake();
        }
    }

    /// A stream is over: nobody waits for it.
    pub(super) fn forget(&self, id: StreamId, flow: &Rc<Flow>) {
        let Core { http, crowd, starved, .. } = &mut *self.core.borrow_mut();
        http.forget(id);
        if http.is_finished() || !http.output().is_empty() {
            self.wake_driver();
        }
        crowd.forget(flow);
        if flow.is_starved.replace(false) {
            starved.retain(|other| !Rc::ptr_eq(other, flow));
        }
    }

    /// Every stream learns that it is over.
    pub(super) fn end(&self, failure: Failure) {
        self.is_leaving.set(true);
        self.fault.borrow_mut().get_or_insert(failure);
        self.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll};

    use culvert_http2::Request;
    use futures::{StreamExt, stream::FuturesUnordered};
    use tokio::io::AsyncReadExt;

    use super::{
        super::{
            super::{records::tests, tests::fixture::soon},
            LIMITS,
            driver::Driver,
        },
        *,
    };

    fn bulk() -> Rc<Flow> {
        let flow = Rc::<Flow>::default();
        flow.has_said(4 * AT_ONCE);
        flow
    }

    fn open(link: &Link, flow: &Rc<Flow>) -> StreamId {
        let request = Request { authority: "10.0.0.7:80", headers: &[] };
        link.send(|http| http.connect(&request, Rc::clone(flow))).unwrap()
    }

    #[tokio::test]
    async fn who_has_its_turn_is_waited_for_a_while() {
        let (session, _peer) = tests::accepted().await;
        let (link, _driver) = Driver::new(session, Connection::client(LIMITS));
        soon(link.tcp.writable()).await.unwrap();
        let flows = [bulk(), bulk()];
        let ids = flows.each_ref().map(|flow| open(&link, flow));
        link.core.borrow_mut().http.output().extend(&vec![0; AT_ONCE]);
        link.core.borrow_mut().ahead = AHEAD;
        assert_eq!([0, 1].map(|it| link.room(ids[it], &flows[it])), [0; 2]);
        link.flush();
        let crowded = || flows.each_ref().map(|flow| flow.is_crowded.get());
        assert_eq!(link.pass_turn(), Ask::Again);
        assert_eq!(crowded(), [false, true]);
        link.core.borrow_mut().crowd.lengthen_turn();
        link.send(|http| http.output().extend(b"words"));
        for _ in 1..PATIENCE {
            assert_eq!(link.pass_turn(), Ask::Again);
            assert_eq!(crowded(), [false, true]);
        }
        assert_eq!(link.pass_turn(), Ask::Again);
        assert_eq!(crowded(), [false; 2]);
        assert_eq!(link.pass_turn(), Ask::WithNews);
    }

    /// One has its turn and has used its credit up, another waits.
    fn without_credit(link: &Link) -> [Rc<Flow>; 2] {
        let flows = [bulk(), bulk()];
        let [one, _] = flows.each_ref().map(|flow| open(link, flow));
        let fill = |room: &mut [u8]| (room.len(), ());
        while link.ask(|http| http.credit(one)) > 0 {
            link.core.borrow_mut().http.send(one, usize::MAX, fill);
        }
        link.core.borrow_mut().http.output().clear();
        for flow in &flows {
            link.core.borrow_mut().crowd.add(flow);
        }
        assert_eq!(link.pass_turn(), Ask::Again);
        link.core.borrow_mut().crowd.lengthen_turn();
        assert_eq!(link.room(one, &flows[0]), 0);
        link.core.borrow_mut().arrears.assume_near();
        flows
    }

    #[tokio::test]
    async fn who_has_its_turn_and_no_credit_is_waited_for() {
        let (session, _peer) = tests::accepted().await;
        let (link, _driver) = Driver::new(session, Connection::client(LIMITS));
        let [_, other] = without_credit(&link);
        link.core.borrow_mut().arrears.prolong();
        for _ in 2..PATIENCE {
            assert_eq!(link.pass_turn(), Ask::Again);
        }
        assert!(matches!(link.pass_turn(), Ask::By(_)) && other.is_crowded.get());
        link.core.borrow_mut().arrears.settle();
        assert_eq!(link.pass_turn(), Ask::Again);
        assert!(!other.is_crowded.get());
    }

    #[tokio::test]
    async fn who_gets_no_credit_is_not_waited_for_much_longer() {
        let (session, _peer) = tests::accepted().await;
        let (link, mut driver) = Driver::new(session, Connection::client(LIMITS));
        let [_, other] = without_credit(&link);
        let passed = poll_fn(|cx| {
            assert!(driver.poll(cx, &mut |_| {}).is_pending());
            if other.is_crowded.get() { Poll::Pending } else { Poll::Ready(()) }
        });
        // A time limit that is up polls once more; in a set only who was woken is polled.
        let mut set: FuturesUnordered<_> = [passed].into_iter().collect();
        soon(set.next()).await;
    }

    #[tokio::test]
    async fn who_has_had_its_turn_makes_room_for_those_who_wait() {
        let (session, _peer) = tests::accepted().await;
        let (link, _driver) = Driver::new(session, Connection::client(LIMITS));
        let flows = [bulk(), bulk(), Rc::default()];
        let [one, other, small] = flows.each_ref().map(|flow| open(&link, flow));
        let room = |id, flow| link.room(id, flow) > 0;
        assert!(room(one, &flows[0]));
        link.core.borrow_mut().crowd.add(&flows[1]);
        assert!(!room(one, &flows[0]) && !room(other, &flows[1]) && room(small, &flows[2]));
        assert_eq!(link.pass_turn(), Ask::Again);
        assert!(room(other, &flows[1]));
    }

    #[tokio::test]
    async fn much_is_sent_before_the_driver_has_its_turn() {
        let (session, _peer) = tests::accepted().await;
        let (link, _driver) = Driver::new(session, Connection::server(LIMITS));
        soon(link.tcp.writable()).await.unwrap();
        let words: Vec<bool> = (0..WORDS)
            .map(|_| {
                link.send(|http| http.output().extend(b"words"));
                link.core.borrow_mut().http.output().is_empty()
            })
            .collect();
        assert_eq!(words, [false, false, false, true]);
    }

    #[tokio::test]
    async fn all_who_found_the_output_full_have_their_turn_though_none_has_anything_to_say() {
        let (session, mut peer) = tests::accepted().await;
        let (link, mut driver) = Driver::new(session, Connection::client(LIMITS));
        let flows: Vec<_> = (0..10).flat_map(|_| [Rc::<Flow>::default(), bulk()]).collect();
        let ids: Vec<_> = flows.iter().map(|flow| open(&link, flow)).collect();
        let fill = || link.core.borrow_mut().http.output().extend(&vec![0; AT_ONCE]);
        fill();
        while link.flush() == Flushed::All {
            fill();
        }
        fill();
        for (id, flow) in ids.into_iter().zip(&flows) {
            assert_eq!(link.room(id, flow), 0);
        }
        let crowded = || flows.iter().filter(|flow| flow.is_crowded.get()).count();
        assert_eq!(crowded(), flows.len());
        let read = tokio::spawn(async move { peer.read_to_end(&mut Vec::new()).await });
        let emptied = poll_fn(|cx| {
            assert!(driver.poll(cx, &mut |_| {}).is_pending());
            if crowded() == 0 { Poll::Ready(()) } else { Poll::Pending }
        });
        soon(emptied).await;
        read.abort();
    }
}
