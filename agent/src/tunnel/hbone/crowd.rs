//! The streams of a tunnel that found its output full, and whose turn it is when there is room again.

use std::{collections::VecDeque, rc::Rc};

use super::{super::arena::AT_ONCE, flow::Flow};

/// Streams that wait for room. One that has had its turn waits for all others to have theirs; until then it is let in
/// before those. So what its application writes on is read while it is still in the cache, and who says little does not
/// wait for all who say much.
#[derive(Default)]
pub(super) struct Crowd {
    in_turn: VecDeque<Rc<Flow>>,
    waiting: VecDeque<Rc<Flow>>,
    /// How many were let in since the last of those that wait for their turn.
    ahead: usize,
}

/// What a turn lasts for, in bytes.
const TURN: u32 = 1 << 20;
/// As many as this are let in ahead of those that wait for their turn, who would not have one for as long as others come
/// anew.
const AHEAD: usize = 64;
/// With less room than this the output counts as full: it would be filled by small frames, of which each costs a read.
/// Who is let in counts as wanting that much at the least.
const WORTH: usize = 16 * 1024;

impl Crowd {
    /// However often a stream finds the output full, it waits once.
    pub(super) fn add(&mut self, flow: &Rc<Flow>) {
        if !flow.is_crowded.replace(true) {
            let list = if flow.spent.get() < TURN { &mut self.in_turn } else { &mut self.waiting };
            list.push_back(Rc::clone(flow));
        }
    }

    /// Lets in as many as fill the room together, going by what each said last. More would find it full, and wait again.
    pub(super) fn admit(&mut self, mut room: usize) -> Vec<Rc<Flow>> {
        let mut admitted = Vec::new();
        while room > 0
            && let Some(flow) = self.next()
        {
            flow.is_crowded.set(false);
            room = room.saturating_sub(WORTH.max(flow.said.get() as usize));
            admitted.push(flow);
        }
        admitted
    }

    fn next(&mut self) -> Option<Rc<Flow>> {
        if self.ahead < AHEAD || self.waiting.is_empty() {
            self.ahead += 1;
            if let Some(flow) = self.in_turn.pop_front() {
                return Some(flow);
            }
        }
        self.ahead = 0;
        self.waiting.pop_front().inspect(|flow| flow.spent.set(0))
    }

    /// A stream is over.
    pub(super) fn forget(&mut self, flow: &Rc<Flow>) {
        if flow.is_crowded.replace(false) {
            self.in_turn.retain(|other| !Rc::ptr_eq(other, flow));
            self.waiting.retain(|other| !Rc::ptr_eq(other, flow));
        }
    }
}

/// How much more an output takes that has so much in it.
pub(super) const fn free(length: usize) -> usize {
    let free = AT_ONCE.saturating_sub(length);
    if free < WORTH { 0 } else { free }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(said: usize, spent: u32) -> Rc<Flow> {
        let flow = Rc::<Flow>::default();
        flow.has_said(said);
        flow.spent.set(spent);
        flow
    }

    fn crowd(flows: &[Rc<Flow>]) -> Crowd {
        let mut crowd = Crowd::default();
        for flow in flows {
            crowd.add(flow);
        }
        crowd
    }

    fn is_let_in(crowd: &mut Crowd, flow: &Rc<Flow>) -> bool {
        crowd.admit(WORTH).iter().any(|other| Rc::ptr_eq(other, flow))
    }

    #[test]
    fn an_output_with_little_room_is_full() {
        assert_eq!([AT_ONCE - WORTH, AT_ONCE - WORTH + 1, AT_ONCE + 9].map(free), [WORTH, 0, 0]);
    }

    #[test]
    fn as_many_are_let_in_as_fill_the_room() {
        let admitted = |said: [usize; 12], room| crowd(&said.map(|said| flow(said, 0))).admit(room).len();
        assert_eq!([0, WORTH, AT_ONCE / 2, AT_ONCE].map(|said| admitted([said; 12], AT_ONCE)), [8, 8, 2, 1]);
        assert_eq!((admitted([0; 12], 1), admitted([0; 12], 0)), (1, 0));
    }

    #[test]
    fn who_finds_it_full_again_and_again_waits_once() {
        let one = flow(0, 0);
        let mut crowd = crowd(&[Rc::clone(&one), Rc::clone(&one)]);
        assert_eq!((crowd.admit(AT_ONCE).len(), one.is_crowded.get()), (1, false));
    }

    #[test]
    fn who_has_had_a_turn_waits_for_the_others_and_has_another_then() {
        let (done, fresh) = (flow(0, TURN), flow(0, 0));
        let mut crowd = crowd(&[Rc::clone(&done), Rc::clone(&fresh)]);
        assert!(is_let_in(&mut crowd, &fresh));
        assert!(is_let_in(&mut crowd, &done));
        assert_eq!(done.spent.get(), 0);
    }

    #[test]
    fn those_who_come_anew_hold_nobody_up_for_ever() {
        let done = flow(0, TURN);
        let mut crowd = crowd(&[Rc::clone(&done)]);
        let before = (0..).take_while(|_| {
            crowd.add(&flow(0, 0));
            !is_let_in(&mut crowd, &done)
        });
        assert_eq!(before.count(), AHEAD);
    }

    #[test]
    fn who_is_over_is_let_in_no_more() {
        let flows = [flow(0, 0), flow(0, TURN)];
        let mut crowd = crowd(&flows);
        for flow in &flows {
            crowd.forget(flow);
        }
        assert!(crowd.admit(AT_ONCE).is_empty());
    }
}
