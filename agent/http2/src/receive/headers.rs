//! HEADERS and CONTINUATION (RFC 9113, sections 6.2 and 6.10).

use crate::{
    Connection, ErrorCode, Event, Head, StreamId, Violation,
    connection::Role,
    frame::{self, Header},
    head::Malformed,
    hpack::BadBlock,
    stream::Half,
};

/// A field block that did not fit into its HEADERS.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) id: StreamId,
    end: bool,
    bytes: Vec<u8>,
    continuations: u32,
}

impl<T> Connection<T> {
    /// How much of the payload is needed: all. It stays in memory until it is whole, so it is bounded first.
    pub(super) fn begin_block(&mut self, header: Header) -> Result<usize, Violation> {
        let client_opens = self.role == Role::Server && header.id.0 % 2 == 1;
        if !client_opens {
            self.check_opened(header.id)?;
        }
        let (before, continuations) =
            self.reader.block.as_ref().map_or((0, 0), |block| (block.bytes.len(), block.continuations));
        if before + header.length > self.limits.header_list as usize + MAX_PADDING
            || continuations == MAX_CONTINUATIONS
        {
            return Err(Violation::calm("a field block is larger than announced"));
        }
        Ok(header.length)
    }

    pub(super) fn on_headers(
        &mut self,
        header: Header,
        payload: &[u8],
    ) -> Result<Option<Event<'static>>, Violation> {
        let fragment = fragment(header, payload)?;
        let end = header.has(frame::END_STREAM);
        if header.has(frame::END_HEADERS) {
            return self.on_block(header.id, end, fragment);
        }
        let bytes = fragment.to_vec();
        self.reader.block = Some(Block { id: header.id, end, bytes, continuations: 0 });
        Ok(None)
    }

    pub(super) fn on_continuation(
        &mut self,
        header: Header,
        payload: &[u8],
    ) -> Result<Option<Event<'static>>, Violation> {
        let Some(mut block) = self.reader.block.take() else { return Ok(None) };
        block.bytes.extend_from_slice(payload);
        block.continuations += 1;
        if header.has(frame::END_HEADERS) {
            return self.on_block(block.id, block.end, &block.bytes);
        }
        self.reader.block = Some(block);
        Ok(None)
    }

    /// Each block is decoded, whatever becomes of it: the next ones build upon it (section 4.3).
    fn on_block(
        &mut self,
        id: StreamId,
        end: bool,
        block: &[u8],
    ) -> Result<Option<Event<'static>>, Violation> {
        let head = self.decode(block)?;
        let remote = self.streams.get_open(id).map(|stream| stream.remote);
        match (remote, self.role) {
            (Some(Half::Head), _) => self.on_response(id, end, &head),
            (Some(Half::Open), _) => self.on_trailers(id, end, &head),
            (Some(Half::Closed), _) => self.fault(id, ErrorCode::StreamClosed),
            (None, Role::Server) if id > self.newest => self.on_request(id, end, head),
            (None, Role::Server) if !self.streams.was_reset_lately(id) => {
                Err(Violation::new(ErrorCode::StreamClosed, "HEADERS for a stream that is over"))
            }
            (None, _) => self.stale(id).map(|()| None),
        }
    }

    fn decode(&mut self, block: &[u8]) -> Result<Head, Violation> {
        let mut head = Head::default();
        let most = self.limits.header_list as usize;
        let decoded = self.decoder.decode(block, |name, value| {
            head.push(name, value);
            if head.size() > most {
                Err(Violation::calm("a list of fields is larger than announced"))
            } else {
                Ok(())
            }
        });
        decoded.map(|()| head)
    }

    fn on_request(
        &mut self,
        id: StreamId,
        end: bool,
        head: Head,
    ) -> Result<Option<Event<'static>>, Violation> {
        self.newest = id;
        if self.going.excludes(id) {
            self.streams.remember_reset(id);
            return Ok(None);
        }
        if head.check_request().is_err() {
            return self.fault(id, Malformed::CODE);
        }
        if self.open() >= self.limits.streams as usize {
            self.wasted(1)?;
            return self.refuse(id, ErrorCode::RefusedStream).map(|()| None);
        }
        let stream = self.new_stream(Half::Head, Half::after_head(end), None);
        self.streams.insert(id, stream);
        Ok(Some(Event::Request { id, request: head, end }))
    }

    fn on_response(
        &mut self,
        id: StreamId,
        end: bool,
        head: &Head,
    ) -> Result<Option<Event<'static>>, Violation> {
        match head.check_response() {
            Ok(100..200) if !end => self.wasted(1).map(|()| None),
            Ok(status @ 200..) => {
                if let Some(stream) = self.streams.get_open(id) {
                    stream.remote = Half::Open;
                }
                if end {
                    self.streams.close_remote(id);
                }
                Ok(Some(Event::Response { id, status, end }))
            }
            Ok(_) | Err(Malformed) => self.fault(id, Malformed::CODE),
        }
    }

    fn on_trailers(
        &mut self,
        id: StreamId,
        end: bool,
        head: &Head,
    ) -> Result<Option<Event<'static>>, Violation> {
        if !end || head.check_trailers().is_err() {
            return self.fault(id, Malformed::CODE);
        }
        Ok(self.end(id))
    }
}

/// Enough for what any list needs that is within its limit, in frames of the smallest size.
const MAX_CONTINUATIONS: u32 = 16;
/// What may stand in HEADERS beside the block: padding, its length, and a priority.
const MAX_PADDING: usize = 256 + PRIORITY;
/// Bytes of a priority, which is ignored (section 5.3.2).
const PRIORITY: usize = 5;

/// A payload without padding and priority.
fn fragment(header: Header, payload: &[u8]) -> Result<&[u8], Violation> {
    let too_short = Violation::size("HEADERS are too short for their flags");
    let (padding, rest) = match payload {
        [padding, rest @ ..] if header.has(frame::PADDED) => (usize::from(*padding), rest),
        [] if header.has(frame::PADDED) => return Err(too_short),
        _ => (0, payload),
    };
    let priority = if header.has(frame::PRIORITY) { PRIORITY } else { 0 };
    let rest = rest.get(priority..).ok_or(too_short)?;
    let length = rest.len().checked_sub(padding);
    length.map(|length| &rest[..length]).ok_or(Violation::protocol("padding is longer than its frame"))
}

impl From<BadBlock> for Violation {
    fn from(bad: BadBlock) -> Self {
        Self::new(ErrorCode::CompressionError, bad.what())
    }
}
