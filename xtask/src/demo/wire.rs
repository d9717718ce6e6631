//! What of a call could be read between the nodes.

use culvert_testbed::{Stream, Traffic};

use super::call::Call;

/// Bytes of one call that somebody on the wire could read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Readable {
    pub(super) request: usize,
    pub(super) answer: usize,
}

impl Readable {
    /// Looks for a call's marker in what was captured.
    pub(super) fn of(call: &Call, traffic: &Traffic) -> Self {
        let found = traffic.streams().iter().map(|stream| Self::in_stream(call, stream));
        found.fold(Self::default(), |sum, found| Self {
            request: sum.request + found.request,
            answer: sum.answer + found.answer,
        })
    }

    /// All of it, and nothing twice.
    pub(super) const fn is_all_of(self, call: &Call) -> bool {
        self.request == call.sent && self.answer == call.body.len()
    }

    pub(super) fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// A marker that stands in no answer makes all that surrounds it count as the request.
    fn in_stream(call: &Call, stream: &Stream) -> Self {
        let Some(at) = find(&stream.bytes, call.marker.as_bytes()) else {
            return Self::default();
        };
        let body = call.body.as_bytes();
        if !body.is_empty() && find(&stream.bytes, body).is_some() {
            Self { request: 0, answer: body.len() }
        } else {
            Self { request: head_around(&stream.bytes, at).len(), answer: 0 }
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// The head of the HTTP request that this place is in; heads end with an empty line.
fn head_around(bytes: &[u8], at: usize) -> &[u8] {
    let (before, after) = bytes.split_at(at);
    let begin = before.windows(END.len()).rposition(|window| window == END).map_or(0, |end| end + END.len());
    let end = find(after, END).map_or(bytes.len(), |end| at + end + END.len());
    &bytes[begin..end]
}

const END: &[u8] = b"\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::head_around;

    #[test]
    fn a_head_goes_from_empty_line_to_empty_line() {
        let stream = b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\nX-Marker: m\r\n\r\nGET /3";
        let at = stream.iter().position(|byte| *byte == b'm').unwrap();
        assert_eq!(head_around(stream, at), b"GET /2 HTTP/1.1\r\nX-Marker: m\r\n\r\n");
        assert_eq!(head_around(b"X-Marker: m", 10), b"X-Marker: m");
    }
}
