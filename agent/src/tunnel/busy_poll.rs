//! Looking for what comes next instead of sleeping until it comes, for as long as that pays.
//!
//! Where a core has nothing else to do, being woken takes longer than all that is done for a small message. The kernel
//! looks at network devices like that (`net.core.busy_poll`), but not for what comes from the same node.

use std::{
    cell::RefCell,
    future::{pending, poll_fn},
    mem,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use super::yielding::Yielding;

thread_local! {
    static WORKER: RefCell<Option<Worker>> = const { RefCell::new(None) };
}

struct Worker {
    waits: Waits,
    /// Of a task that does nothing: when it is woken, the runtime looks at the sockets and does not sleep.
    again: Waker,
}

/// Lets this thread look for what comes, for at most `limit` at a time. To be polled for as long as it shall.
pub(super) async fn poll_for(limit: Duration) {
    let again = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
    WORKER.set(Some(Worker { waits: Waits::new(limit), again }));
    pending::<()>().await;
}

/// So many bytes have been read from a socket.
pub(super) fn heard(bytes: usize) {
    WORKER.with_borrow_mut(|worker| {
        if let Some(Worker { waits, .. }) = worker {
            waits.heard(bytes, Instant::now);
        }
    });
}

/// To be called whenever the thread is about to sleep. Whoever else has work for its core comes first.
pub(super) fn before_sleep() {
    WORKER.with_borrow_mut(|worker| {
        let Some(Worker { waits, again }) = worker else { return };
        let now = Instant::now();
        if waits.is_worth_another_look(now) {
            waits.yielding.yield_at(now);
            again.wake_by_ref();
        }
    });
}

/// What the waits of a thread have been like, and the one that goes on.
struct Waits {
    limit: Duration,
    current: Option<Wait>,
    /// Bytes read since the last wait, and between two of them on the average.
    heard: usize,
    usual: usize,
    trust: u8,
    yielding: Yielding,
}

struct Wait {
    since: Instant,
    is_awake: bool,
}

/// With so much trust a wait is spent looking, and more than the most is not gained. A short wait brings one. A wait in
/// vain costs what three have brought, or more, so no more than one of four is; a sleep that was long what two have.
const TRUSTED: u8 = 8;
const MOST: u8 = 16;
const IN_VAIN: u8 = 4;
const LONG: u8 = 2;
/// A sleep of so many times the limit would have been below it: it took waking up at both ends.
const SHORT: u32 = 2;
/// In bytes. What comes in larger pieces is a flow, for which nobody waits a message at a time.
const LITTLE: usize = 4096;

impl Waits {
    fn new(limit: Duration) -> Self {
        Self { limit, current: None, heard: 0, usual: 0, trust: 0, yielding: Yielding::default() }
    }

    fn heard(&mut self, bytes: usize, now: impl FnOnce() -> Instant) {
        self.heard += bytes;
        let Some(Wait { since, is_awake }) = self.current.take() else { return };
        let was_short = is_awake || now().duration_since(since) <= self.limit * SHORT;
        self.trust = if was_short { MOST.min(self.trust + 1) } else { self.trust.saturating_sub(LONG) };
    }

    fn is_worth_another_look(&mut self, now: Instant) -> bool {
        match &mut self.current {
            None => self.begin(now),
            Some(wait) if wait.is_awake && now.duration_since(wait.since) >= self.limit => {
                wait.is_awake = false;
                self.trust = self.trust.saturating_sub(IN_VAIN);
                false
            }
            Some(wait) => wait.is_awake,
        }
    }

    fn begin(&mut self, now: Instant) -> bool {
        self.usual = (7 * self.usual + mem::take(&mut self.heard)) / 8;
        let is_awake = self.trust >= TRUSTED && self.usual <= LITTLE && self.yielding.pays(now);
        self.current = Some(Wait { since: now, is_awake });
        is_awake
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tokio::sync::mpsc::unbounded_channel;

    use super::{
        super::{tests::fixture::soon, workers::runtime},
        *,
    };

    const LIMIT: Duration = Duration::from_micros(100);
    const MESSAGE: usize = 64;

    /// Waits on a clock of their own.
    struct Story {
        waits: Waits,
        now: Instant,
    }

    impl Story {
        fn begin() -> Self {
            Self { waits: Waits::new(LIMIT), now: Instant::now() }
        }

        /// Whether the wait was begun awake.
        fn wait(&mut self, time: Duration, bytes: usize) -> bool {
            let is_awake = self.waits.is_worth_another_look(self.now);
            self.now += time;
            if is_awake && time >= LIMIT {
                assert!(!self.waits.is_worth_another_look(self.now));
            }
            self.waits.heard(bytes, || self.now);
            is_awake
        }

        fn looked(&mut self, waits: usize, time: Duration, bytes: usize) -> usize {
            (0..waits).filter(|_| self.wait(time, bytes)).count()
        }
    }

    #[test]
    fn who_is_soon_answered_looks_for_the_answer() {
        let mut story = Story::begin();
        assert_eq!(story.looked(usize::from(TRUSTED), LIMIT * SHORT, MESSAGE), 0);
        assert_eq!(story.looked(100, LIMIT / 2, MESSAGE), 100);
    }

    #[test]
    fn who_waits_for_long_sleeps() {
        let mut story = Story::begin();
        assert_eq!(story.looked(100, LIMIT * (SHORT + 1), MESSAGE), 0);
        story.looked(100, LIMIT / 2, MESSAGE);
        let in_vain = story.looked(100, LIMIT * (SHORT + 1), MESSAGE);
        assert_eq!(in_vain, 2);
    }

    #[test]
    fn one_wait_of_four_is_in_vain_at_most() {
        let mut story = Story::begin();
        let mut in_vain = 0;
        for _ in 0..1000 {
            story.looked(2, LIMIT / 2, MESSAGE);
            in_vain += story.looked(1, LIMIT * SHORT, MESSAGE);
        }
        assert!(in_vain <= 3000 / 4, "{in_vain}");
    }

    #[test]
    fn who_is_answered_soon_but_asked_seldom_sleeps() {
        let mut story = Story::begin();
        for _ in 0..100 {
            assert_eq!(story.looked(3, LIMIT / 2, MESSAGE) + story.looked(2, LIMIT * 10, MESSAGE), 0);
        }
    }

    #[test]
    fn a_flow_is_not_looked_for() {
        let mut story = Story::begin();
        story.looked(100, LIMIT / 2, 100 * LITTLE);
        assert_eq!(story.looked(10, LIMIT / 2, 100 * LITTLE), 0);
        story.looked(100, LIMIT / 2, MESSAGE);
        assert_eq!(story.looked(10, LIMIT / 2, MESSAGE), 10);
    }

    #[test]
    fn who_has_others_on_the_core_sleeps() {
        let mut story = Story::begin();
        story.looked(100, LIMIT / 2, MESSAGE);
        let end = story.now + Duration::from_millis(1);
        story.waits.yielding.took(story.now, end);
        story.now = end;
        assert!(!story.wait(LIMIT / 2, MESSAGE));
        story.now += Duration::from_secs(1);
        assert!(story.wait(LIMIT / 2, MESSAGE));
    }

    #[test]
    fn a_thread_looks_again_and_again() {
        let runtime = runtime(Duration::from_mins(1)).unwrap();
        let (ask, asked) = std::sync::mpsc::channel();
        let (answer, mut answered) = unbounded_channel();
        let peer = thread::spawn(move || asked.into_iter().try_for_each(|()| answer.send(())));
        let trust = || WORKER.with_borrow(|worker| worker.as_ref().map_or(0, |worker| worker.waits.trust));
        runtime.block_on(soon(async {
            while trust() < MOST {
                ask.send(()).unwrap();
                answered.recv().await.unwrap();
                heard(MESSAGE);
            }
        }));
        drop(ask);
        peer.join().unwrap().unwrap();
    }
}
