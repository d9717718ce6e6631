//! The streams of a tunnel that wait to put something into its output, and whose turn it is.

use std::{
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};

use super::flow::{Flow, WORTH};

/// Streams that found the output full, or others before them. Few have their turn at a time, no more than keep the tunnel
/// busy, and go on for as long as that lasts: what their applications write meanwhile is read while it is still in the
/// cache. So they are let in one by one. Who says little goes first, so as not to wait for all who say much.
#[derive(Default)]
pub(super) struct Crowd {
    first: VecDeque<Rc<Flow>>,
    waiting: VecDeque<Rc<Flow>>,
    /// How many were let in since the last of those that wait for their turn.
    ahead: usize,
    turn: Turn,
    /// How many bytes those who have said little said beyond their share of all.
    advance: usize,
}

/// The turn of some streams, which bear its number.
#[derive(Default)]
struct Turn {
    number: u32,
    end: Option<Instant>,
}

/// How long all turns take together, if they can be short enough, and how long one takes.
const ROUND: Duration = Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_millis(4);
const LONGEST: Duration = Duration::from_millis(12);
/// Who has said no more than that since its last turn began, in bytes, goes first.
const LITTLE: u32 = 256 * 1024;
/// Such may say one byte of so many, and as much as this before; in bytes. When a thousand flows began at once, and each had
/// its first 256 KiB so, the agents had filled the server's queues with 250 MB before the first turn.
const SHARE: usize = 8;
const ADVANCE: usize = 4 << 20;
/// As many as this are let in ahead of those that wait for their turn, who would not have one for as long as others come
/// anew.
const AHEAD: usize = 64;

impl Crowd {
    /// Whether a stream has to wait although there is room.
    pub(super) fn is_before(&self, flow: &Flow) -> bool {
        !self.waiting.is_empty() && !self.goes_first(flow)
    }

    /// However often a stream has to wait, it does so once.
    pub(super) fn add(&mut self, flow: &Rc<Flow>) {
        if !flow.is_crowded.replace(true) {
            let list = if self.goes_first(flow) { &mut self.first } else { &mut self.waiting };
            list.push_back(Rc::clone(flow));
        }
    }

    fn goes_first(&self, flow: &Flow) -> bool {
        let has_said_little = flow.spent.get() <= LITTLE && self.advance < ADVANCE;
        flow.says_little() || has_said_little || self.is_turn_of(flow)
    }

    /// A stream has put so many bytes into the output.
    pub(super) fn note(&mut self, flow: &Flow, bytes: usize) {
        self.advance = self.advance.saturating_sub(bytes / SHARE);
        let had_said_little = flow.spent.get() as usize <= LITTLE as usize + bytes;
        if had_said_little && !flow.says_little() && !self.is_turn_of(flow) {
            self.advance += bytes;
        }
    }

    pub(super) fn is_turn_of(&self, flow: &Flow) -> bool {
        flow.turn.get() == self.turn.number && self.turn.is_on()
    }

    /// Whether some have their turn.
    pub(super) fn is_in_turn(&self) -> bool {
        self.turn.is_on()
    }

    /// Whether only such are there as wait for their turn.
    pub(super) fn is_idle(&self) -> bool {
        self.first.is_empty() && !self.waiting.is_empty()
    }

    /// Lets in as many of those that go first as fill the room together, going by what each said lately. More would find
    /// it full, and wait again.
    pub(super) fn admit(&mut self, mut room: usize) -> Vec<Rc<Flow>> {
        let mut admitted = Vec::new();
        while room > 0
            && let Some(flow) = self.next()
        {
            room = room.saturating_sub(WORTH.max(flow.said.get() as usize));
            admitted.push(flow);
        }
        admitted
    }

    fn next(&mut self) -> Option<Rc<Flow>> {
        if self.first.is_empty() {
            return None;
        }
        self.ahead += 1;
        let waited = if self.ahead > AHEAD { self.admit_waiting() } else { None };
        waited.or_else(|| self.first.pop_front().inspect(|flow| flow.is_crowded.set(false)))
    }

    /// Lets one more have its turn.
    pub(super) fn admit_waiting(&mut self) -> Option<Rc<Flow>> {
        self.ahead = 0;
        if !self.turn.is_on() {
            self.turn.begin(self.waiting.len());
        }
        self.waiting.pop_front().inspect(|flow| {
            flow.is_crowded.set(false);
            flow.turn.set(self.turn.number);
            flow.spent.set(0);
        })
    }

    #[cfg(test)]
    pub(super) fn lengthen_turn(&mut self) {
        self.turn.end = Some(Instant::now() + Duration::from_mins(1));
    }

    /// A stream is over.
    pub(super) fn forget(&mut self, flow: &Rc<Flow>) {
        if flow.is_crowded.replace(false) {
            self.first.retain(|other| !Rc::ptr_eq(other, flow));
            self.waiting.retain(|other| !Rc::ptr_eq(other, flow));
        }
    }
}

impl Turn {
    fn is_on(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() < end)
    }

    fn begin(&mut self, waiting: usize) {
        self.number = self.number.wrapping_add(1);
        self.end = Some(Instant::now() + length(waiting));
    }
}

fn length(waiting: usize) -> Duration {
    let share = u32::try_from(waiting).map_or(Duration::ZERO, |waiting| ROUND / waiting.max(1));
    share.clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::{super::super::arena::AT_ONCE, *};

    fn flow(said: usize, spent: u32) -> Rc<Flow> {
        let flow = Rc::<Flow>::default();
        flow.has_said(said);
        flow.spent.set(spent);
        flow
    }

    fn bulk() -> Rc<Flow> {
        flow(AT_ONCE, LITTLE + 1)
    }

    fn crowd(flows: &[&Rc<Flow>]) -> Crowd {
        let mut crowd = Crowd::default();
        for flow in flows {
            crowd.add(flow);
        }
        crowd
    }

    fn is_next(crowd: &mut Crowd, flow: &Rc<Flow>) -> bool {
        crowd.admit_waiting().is_some_and(|next| Rc::ptr_eq(&next, flow))
    }

    #[test]
    fn as_many_are_let_in_as_fill_the_room() {
        let admitted = |said: usize, room| {
            let flows: Vec<_> = (0..12).map(|_| flow(said, 0)).collect();
            crowd(&flows.iter().collect::<Vec<_>>()).admit(room).len()
        };
        assert_eq!([0, WORTH, AT_ONCE / 2, AT_ONCE].map(|said| admitted(said, AT_ONCE)), [8, 8, 2, 1]);
        assert_eq!((admitted(0, 1), admitted(0, 0)), (1, 0));
    }

    #[test]
    fn who_has_to_wait_again_and_again_waits_once() {
        let one = flow(0, 0);
        let mut crowd = crowd(&[&one, &one]);
        assert_eq!((crowd.admit(AT_ONCE).len(), one.is_crowded.get()), (1, false));
    }

    #[test]
    fn who_says_little_goes_before_those_who_say_much() {
        let (much, small, seldom) = (bulk(), flow(WORTH - 1, LITTLE + 1), flow(AT_ONCE, LITTLE));
        let mut crowd = crowd(&[&much]);
        assert!([&small, &seldom].iter().all(|flow| !crowd.is_before(flow)));
        crowd.add(&small);
        crowd.add(&seldom);
        assert!(!crowd.is_idle());
        assert_eq!(crowd.admit(2 * AT_ONCE).len(), 2);
        assert!(crowd.is_idle());
        assert!(is_next(&mut crowd, &much));
    }

    #[test]
    fn the_rest_of_much_is_not_little() {
        let (one, other) = (bulk(), bulk());
        let crowd = crowd(&[&other]);
        one.has_said(1);
        assert!(crowd.is_before(&one));
        for _ in 0..3 {
            one.has_said(1);
        }
        assert!(!crowd.is_before(&one));
    }

    #[test]
    fn who_has_its_turn_goes_first_until_it_ends() {
        let (one, other) = (bulk(), bulk());
        let mut crowd = crowd(&[&one, &other]);
        assert!(!crowd.is_in_turn());
        assert!(is_next(&mut crowd, &one));
        one.spent.set(LITTLE + 1);
        crowd.lengthen_turn();
        assert!(crowd.is_in_turn() && !crowd.is_before(&one));
        crowd.turn.end = Some(Instant::now());
        assert!(!crowd.is_in_turn() && crowd.is_before(&one));
        crowd.add(&one);
        assert!(is_next(&mut crowd, &other));
        assert!(is_next(&mut crowd, &one));
    }

    fn say(crowd: &mut Crowd, flow: &Flow, bytes: usize) {
        flow.has_said(bytes);
        crowd.note(flow, bytes);
    }

    #[test]
    fn many_who_have_said_little_say_much_together() {
        let bulk = bulk();
        let mut crowd = crowd(&[&bulk]);
        let new = || flow(AT_ONCE, 0);
        let most = 2 * ADVANCE / AT_ONCE;
        let first = (0..most).take_while(|_| {
            let (one, small) = (new(), flow(1, 0));
            let goes_first = !crowd.is_before(&one);
            say(&mut crowd, &one, AT_ONCE);
            assert!(!crowd.is_before(&small));
            goes_first
        });
        assert!((most / 2..most).contains(&first.count()));
        say(&mut crowd, &bulk, 2 * SHARE * AT_ONCE);
        assert!(!crowd.is_before(&new()));
    }

    #[test]
    fn neither_messages_nor_what_is_said_in_a_turn_are_an_advance() {
        let (one, other) = (bulk(), bulk());
        let mut crowd = crowd(&[&one, &other]);
        assert!(is_next(&mut crowd, &one));
        crowd.lengthen_turn();
        say(&mut crowd, &one, 2 * ADVANCE);
        crowd.note(&flow(1, 0), 2 * ADVANCE);
        assert!(!crowd.is_before(&flow(AT_ONCE, LITTLE)));
    }

    #[test]
    fn nobody_waits_where_nobody_else_does() {
        assert!(!Crowd::default().is_before(&bulk()));
    }

    #[test]
    fn those_who_go_first_hold_nobody_up_for_ever() {
        let waiting = bulk();
        let mut crowd = crowd(&[&waiting]);
        let before = (0..).take_while(|_| {
            crowd.add(&flow(0, 0));
            !crowd.admit(WORTH).iter().any(|flow| Rc::ptr_eq(flow, &waiting))
        });
        assert_eq!(before.count(), AHEAD);
    }

    #[test]
    fn the_more_wait_the_shorter_a_turn() {
        assert_eq!([1, 100, 1_000_000].map(length), [LONGEST, ROUND / 100, SHORTEST]);
    }

    #[test]
    fn who_is_over_is_let_in_no_more() {
        let flows = [flow(0, 0), bulk()];
        let mut crowd = crowd(&[&flows[0], &flows[1]]);
        for flow in &flows {
            crowd.forget(flow);
        }
        assert!(crowd.admit(AT_ONCE).is_empty() && crowd.admit_waiting().is_none());
    }
}
