//! One stream of a tunnel, and its way to an application and back.

use std::{
    future::poll_fn,
    io,
    rc::Rc,
    task::{Context, Poll, ready},
};

use culvert_http2::{ErrorCode, StreamId};
use culvert_policy::Reason;

use super::{
    super::{
        failure::Failure,
        leg::{Broken, Leg, Lookout, Tcp},
        relay::{Ended, part},
        tasks::come_back,
    },
    early::Early,
    flow::{Flow, Reset},
    link::Link,
    load::Busy,
    socket,
};
use crate::observe::Record;

/// A stream of a tunnel. It is reset unless it came to its end in both directions.
pub(in super::super) struct Stream {
    pub(super) link: Rc<Link>,
    pub(super) id: StreamId,
    pub(super) flow: Rc<Flow>,
    /// What the application has said, and the peer could not be told yet.
    unsaid: Vec<u8>,
    is_finished: bool,
    _busy: Busy,
}

impl Stream {
    pub(super) const fn new(link: Rc<Link>, id: StreamId, flow: Rc<Flow>, busy: Busy) -> Self {
        Self { link, id, flow, unsaid: Vec::new(), is_finished: false, _busy: busy }
    }

    /// Sends as much of what the application has said as there is credit for; how much.
    pub(super) fn say(&self, words: &[u8]) -> usize {
        let mut said = 0;
        while said < words.len() && self.link.room(self.id, &self.flow) > 0 {
            let rest = &words[said..];
            said += self.link.send(|http| {
                http.send(self.id, rest.len(), |room| {
                    room.copy_from_slice(&rest[..room.len()]);
                    (room.len(), room.len())
                })
            });
        }
        said
    }

    /// Has what was not said yet said first when the stream is carried.
    pub(super) fn keep_unsaid(&mut self, early: &Early) {
        self.unsaid = early.unsaid().to_vec();
    }

    /// Carries the bytes of `app` until both directions have ended or one side breaks off; the other is then broken off
    /// too.
    pub(in super::super) fn carry(self, app: Tcp, record: Rc<Record>) -> impl Future<Output = Ended> {
        self.flow.attach(app.socket());
        // Outside of what waits, which would have room for each of them twice.
        let mut carried =
            Carried { app, stream: self, up: Up::Open, is_down_done: false, lookout: Lookout::default() };
        async move {
            let ended = poll_fn(|cx| carried.poll(cx, &record)).await;
            if matches!(ended, Ended::Far(Broken::Deaf)) {
                Box::pin(part(carried.app)).await;
            }
            ended
        }
    }

    /// Why nothing more comes or goes, as far as that is not the regular end.
    fn broken(&self) -> Option<Broken> {
        match self.flow.reset.get() {
            Some(Reset::ByPeer(_)) => Some(Broken::Reset),
            Some(Reset::Unseen) => {
                Some(Broken::Failed(Failure::new(Reason::TunnelFailed, "the peer goes away")))
            }
            Some(Reset::ByUs(code)) => {
                let detail = format_args!("the peer broke a rule of HTTP/2 on the stream: {code}");
                Some(Broken::Failed(Failure::new(Reason::TunnelFailed, detail)))
            }
            None => self.link.fault().map(Broken::Failed),
        }
    }

    /// The server has answered and hears no more, which it says by `NO_ERROR` (RFC 9113, section 8.1).
    fn is_unheard(&self) -> bool {
        self.flow.reset.get() == Some(Reset::ByPeer(ErrorCode::NoError))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let is_whole = self.is_finished && self.flow.is_ended.get();
        if !is_whole && self.flow.reset.get().is_none() {
            self.link.send(|http| http.reset(self.id, ErrorCode::Cancel));
        }
        self.link.forget(self.id, &self.flow);
    }
}

/// A stream with its application.
struct Carried {
    app: Tcp,
    stream: Stream,
    up: Up,
    is_down_done: bool,
    lookout: Lookout,
}

/// How far the application's bytes have come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Up {
    Open,
    /// There is something to be read, and no place to put it.
    Stuck,
    Done,
}

impl Carried {
    fn poll(&mut self, cx: &mut Context<'_>, record: &Record) -> Poll<Ended> {
        self.stream.flow.listen(cx);
        let moved = self.poll_directions(cx, record);
        record.received.set(self.stream.flow.delivered());
        if let Err(ended) = moved {
            self.app.reset();
            return Poll::Ready(ended);
        }
        if self.up == Up::Done && self.is_down_done {
            return Poll::Ready(Ended::Finished);
        }
        if let Some(ended) = self.broken_off() {
            return Poll::Ready(ended);
        }
        if self.up != Up::Open {
            // Nothing of the application is waited for, so its breaking off would go unnoticed.
            ready!(self.lookout.poll(&self.app, cx));
            self.app.reset();
            return Poll::Ready(Ended::App(Broken::Reset));
        }
        Poll::Pending
    }

    fn poll_directions(&mut self, cx: &mut Context<'_>, record: &Record) -> Result<(), Ended> {
        self.poll_down(cx)?;
        self.poll_up(cx, record)
    }

    /// A peer that only wants to hear no more is heard to its end first.
    fn broken_off(&mut self) -> Option<Ended> {
        let broken = self.stream.broken()?;
        if self.stream.is_unheard() {
            if self.is_down_done {
                return Some(Ended::Far(Broken::Deaf));
            }
            if self.stream.flow.is_ended.get() || self.stream.flow.has_backlog() {
                return None;
            }
        }
        self.app.reset();
        Some(Ended::Far(broken))
    }

    /// What the driver could not hand over, and the end.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Result<(), Ended> {
        let flow = &self.stream.flow;
        let app = self.app.socket();
        while flow.has_backlog() {
            let Poll::Ready(ready) = app.poll_write_ready(cx) else { return Ok(()) };
            ready.map_err(lost)?;
            match flow.deliver_backlog(&app) {
                Ok(taken) => self.stream.link.send(|http| http.consumed(self.stream.id, taken)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(lost(error)),
            }
        }
        if flow.is_ended.get() && !self.is_down_done {
            self.app.finish().map_err(Ended::App)?;
            self.is_down_done = true;
        }
        Ok(())
    }

    fn poll_up(&mut self, cx: &mut Context<'_>, record: &Record) -> Result<(), Ended> {
        if self.up == Up::Done || self.stream.broken().is_some() {
            return Ok(());
        }
        if !self.stream.unsaid.is_empty() {
            let said = self.stream.say(&self.stream.unsaid);
            self.stream.unsaid.drain(..said);
            if !self.stream.unsaid.is_empty() {
                self.up = Up::Stuck;
                return Ok(());
            }
        }
        for _ in 0..ROUNDS {
            let Poll::Ready(ready) = self.app.socket().poll_read_ready(cx) else {
                self.up = Up::Open;
                return Ok(());
            };
            ready.map_err(lost)?;
            let room = self.stream.link.room(self.stream.id, &self.stream.flow);
            if room == 0 {
                self.up = Up::Stuck;
                return Ok(());
            }
            match self.read(room) {
                Ok(0) => {
                    self.finish();
                    return Ok(());
                }
                Ok(length) => {
                    self.stream.link.has_said(&self.stream.flow, length);
                    record.sent.set(record.sent.get() + length as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(lost(error)),
            }
        }
        self.up = Up::Open;
        come_back(cx);
        Ok(())
    }

    /// Straight to where header and record will be sealed.
    fn read(&self, room: usize) -> io::Result<usize> {
        let Self { app, stream, .. } = self;
        stream.link.send(|http| {
            http.send(stream.id, room, |buffer| {
                let read = socket::receive(&app.socket(), buffer);
                (read.as_ref().map_or(0, |length| *length), read)
            })
        })
    }

    fn finish(&mut self) {
        self.app.received_all();
        self.stream.link.send(|http| http.finish(self.stream.id));
        self.stream.is_finished = true;
        self.up = Up::Done;
    }
}

fn lost(_error: io::Error) -> Ended {
    Ended::App(Broken::Reset)
}

/// Reads before the worker's other connections have their turn.
const ROUNDS: usize = 4;

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use culvert_http2::{Connection, Request};
    use tokio::{
        io::AsyncWriteExt,
        net::{TcpListener, TcpStream},
    };

    use super::{
        super::{
            super::{
                records::tests::accepted,
                tests::fixture::{record, soon},
            },
            LIMITS,
            driver::Driver,
            flow::WORTH,
        },
        *,
    };

    async fn app() -> (TcpStream, Tcp) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let app = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (app, Tcp::new(listener.accept().await.unwrap().0))
    }

    #[tokio::test]
    async fn the_end_of_a_flow_is_no_message() {
        let (session, _peer) = accepted().await;
        let (link, mut driver) = Driver::new(session, Connection::client(LIMITS));
        let flow = Rc::<Flow>::default();
        let request = Request { authority: "10.0.0.7:80", headers: &[] };
        let id = link.send(|http| http.connect(&request, Rc::clone(&flow))).unwrap();
        let stream = Stream::new(Rc::clone(&link), id, Rc::clone(&flow), link.load.begin());
        let (mut app, leg) = app().await;
        app.write_all(&[7; WORTH]).await.unwrap();
        app.shutdown().await.unwrap();
        let record = record(app.local_addr().unwrap());
        let carried = stream.carry(leg, record);
        // An idle connection keeps it.
        assert!(size_of_val(&carried) <= 192, "{}", size_of_val(&carried));
        let mut carried = pin!(carried);
        let said_all = poll_fn(|cx| {
            assert!(driver.poll(cx, &mut |_| {}).is_pending() && carried.as_mut().poll(cx).is_pending());
            if link.ask(|http| http.credit(id)) == 0 { Poll::Ready(()) } else { Poll::Pending }
        });
        soon(said_all).await;
        assert!(!flow.says_little());
    }
}
