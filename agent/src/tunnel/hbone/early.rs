//! What an application says before the peer's agent has answered.

use std::task::{Context, Poll};

use super::{
    super::{arena, leg::Tcp},
    socket::receive,
    stream::Stream,
};

/// The first words of an application. They go out right behind the CONNECT, which saves a round trip between the nodes, and
/// are kept until there is an answer: a tunnel that turns out to be stale is replaced, and they are said again.
///
/// The peer has proven who it is by then; what it refuses to connect it drops.
#[derive(Default)]
pub(in super::super) struct Early {
    words: Vec<u8>,
    said: usize,
}

impl Early {
    pub(super) const fn rewind(&mut self) {
        self.said = 0;
    }

    /// Says what there is to say on a stream.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, app: &Tcp, stream: &Stream) {
        if self.words.is_empty() {
            self.listen(cx, app);
        }
        self.said += stream.say(self.unsaid());
    }

    /// An error, or the end, is found by whoever reads next.
    fn listen(&mut self, cx: &mut Context<'_>, app: &Tcp) {
        let socket = app.socket();
        if let Poll::Ready(Ok(())) = socket.poll_read_ready(cx) {
            let mut room = arena::lend();
            let read = receive(&socket, &mut room[..MOST]).unwrap_or(0);
            self.words = room[..read].to_vec();
            arena::give_back(room);
        }
    }

    /// What was not said for want of credit.
    pub(super) fn unsaid(&self) -> &[u8] {
        &self.words[self.said..]
    }

    /// How many bytes were read from the application.
    pub(in super::super) fn len(&self) -> u64 {
        self.words.len() as u64
    }
}

/// As much as any peer takes unasked: less than its first window, and one frame.
const MOST: usize = 16 * 1024;
