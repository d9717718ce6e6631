//! Frames that wait to be sent.

use crate::{
    Buffer, ErrorCode, StreamId, Violation,
    frame::{self, Header, Kind},
};

/// The one place where frames are written.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) buffer: Buffer,
    /// The stream and the payload's length of the DATA frame that was written last, with no frame behind it.
    last_data: Option<(StreamId, usize)>,
    /// At least as many frames as there are in the buffer that the peer made us write.
    answers: usize,
}

impl Output {
    pub(crate) fn frame(&mut self, kind: Kind, flags: u8, id: StreamId, payload: &[u8]) {
        self.last_data = None;
        self.buffer.extend(&Header::new(payload.len(), kind, flags, id).to_wire());
        self.buffer.extend(payload);
    }

    /// A frame that the peer can have us write as often as it likes. Without a bound, one that sends and does not read
    /// would fill our memory with answers.
    pub(crate) fn answer(
        &mut self,
        kind: Kind,
        flags: u8,
        id: StreamId,
        payload: &[u8],
    ) -> Result<(), Violation> {
        self.answers = self.answers.min(self.buffer.len() / frame::HEADER) + 1;
        if self.answers > MAX_ANSWERS {
            return Err(Violation::calm("the peer asks for answers and does not read them"));
        }
        self.frame(kind, flags, id, payload);
        Ok(())
    }

    pub(crate) fn reset(&mut self, id: StreamId, code: ErrorCode) {
        self.frame(Kind::Reset, 0, id, &code.to_wire());
    }

    pub(crate) fn window_update(&mut self, id: StreamId, increment: u32) {
        self.frame(Kind::WindowUpdate, 0, id, &increment.to_be_bytes());
    }

    pub(crate) fn go_away(&mut self, last: StreamId, code: ErrorCode) {
        let [l3, l2, l1, l0] = last.0.to_be_bytes();
        let [c3, c2, c1, c0] = code.to_wire();
        self.frame(Kind::GoAway, 0, StreamId(0), &[l3, l2, l1, l0, c3, c2, c1, c0]);
    }

    /// A field block, in as many frames as the peer's frame size asks for (RFC 9113, section 4.3).
    pub(crate) fn headers(&mut self, id: StreamId, block: &[u8], end: bool, max_frame: usize) {
        let (first, mut rest) = block.split_at(block.len().min(max_frame));
        let end_stream = if end { frame::END_STREAM } else { 0 };
        self.frame(Kind::Headers, end_stream | end_headers(rest), id, first);
        while !rest.is_empty() {
            let (next, after) = rest.split_at(rest.len().min(max_frame));
            self.frame(Kind::Continuation, end_headers(after), id, next);
            rest = after;
        }
    }

    /// A DATA frame of what `fill` writes into at most so many bytes; none where it writes nothing. How many it wrote.
    pub(crate) fn data<R>(
        &mut self,
        id: StreamId,
        at_most: usize,
        fill: impl FnOnce(&mut [u8]) -> (usize, R),
    ) -> (usize, R) {
        let room = self.buffer.room(frame::HEADER + at_most);
        let (written, result) = fill(&mut room[frame::HEADER..][..at_most]);
        assert!(written <= at_most, "more was written than there is credit for");
        if written > 0 {
            room[..frame::HEADER].copy_from_slice(&Header::new(written, Kind::Data, 0, id).to_wire());
            self.buffer.commit(frame::HEADER + written);
            self.last_data = Some((id, written));
        }
        (written, result)
    }

    /// The end of what we send on a stream: on its last DATA frame where that still stands last, else on one of its own.
    pub(crate) fn end(&mut self, id: StreamId) {
        let last = self.last_data.take().filter(|(last, _)| *last == id);
        let header = last.and_then(|(_, length)| self.buffer.len().checked_sub(frame::HEADER + length));
        match header {
            Some(at) => self.buffer.filled_mut()[at + frame::FLAGS] |= frame::END_STREAM,
            None => self.frame(Kind::Data, frame::END_STREAM, id, &[]),
        }
    }
}

/// Some 170 kB of them.
const MAX_ANSWERS: usize = 10_000;

const fn end_headers(rest: &[u8]) -> u8 {
    if rest.is_empty() { frame::END_HEADERS } else { 0 }
}
