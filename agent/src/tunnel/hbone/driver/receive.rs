//! What arrives: records, frames in them, and what those mean to the streams.

use std::{
    io::{self, IoSlice},
    mem,
    rc::Rc,
};

use culvert_http2::{Connection, Event, Received, StreamId};
use culvert_policy::Reason;

use super::{
    super::{
        super::{
            arena,
            failure::Failure,
            records::{self, Content},
        },
        flow::{Flow, Reset},
        socket,
    },
    Driver, News,
};

/// Whether there may be more to read.
#[derive(PartialEq, Eq)]
pub(super) enum Read {
    Some,
    End,
}

impl Driver {
    /// Takes what has arrived.
    pub(super) fn read(&mut self, news: &mut dyn FnMut(News)) -> Result<Read, Failure> {
        let mut inbox = arena::lend();
        let have = self.partial.len();
        inbox[..have].copy_from_slice(&self.partial);
        let received = socket::receive(&self.link.tcp, &mut inbox[have..]);
        let read = match received {
            Ok(0) => self.truncated(),
            Ok(length) => self.take_apart(&mut inbox[..have + length], news),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Read::Some),
            Err(error) => Err(self.broken(error)),
        };
        arena::give_back(inbox);
        read
    }

    /// Without a word before, that is an end only where nothing was going on.
    fn truncated(&mut self) -> Result<Read, Failure> {
        match self.send_error() {
            Some(error) => Err(Failure::in_transit(&error)),
            None if self.link.load.streams() == 0 => Ok(Read::End),
            None => Err(Failure::in_transit(&io::ErrorKind::UnexpectedEof.into())),
        }
    }

    pub(super) fn take_apart(
        &mut self,
        mut bytes: &mut [u8],
        news: &mut dyn FnMut(News),
    ) -> Result<Read, Failure> {
        let mut delivery = Delivery::default();
        let mut read = Read::Some;
        while let Some(length) = self.whole_record(bytes)? {
            let (record, rest) = mem::take(&mut bytes).split_at_mut(length);
            bytes = rest;
            let opened = self.link.core.borrow_mut().outlet.records.open(record);
            match opened {
                Ok(Content::Data(frames)) => self.frames(frames, &mut delivery, news)?,
                Ok(Content::Nothing) => {}
                Ok(Content::End) => {
                    read = Read::End;
                    break;
                }
                Err(error) => return Err(self.complain(error)),
            }
        }
        self.deliver(&mut delivery);
        self.partial = bytes.to_vec();
        // After the streams, which may have something to add.
        self.link.wake_driver_if_due();
        Ok(read)
    }

    fn whole_record(&mut self, bytes: &[u8]) -> Result<Option<usize>, Failure> {
        let length = records::length(bytes).map_err(|error| self.complain(error))?;
        Ok(length.filter(|length| *length <= bytes.len()))
    }

    fn frames<'r>(
        &mut self,
        mut frames: &'r [u8],
        delivery: &mut Delivery<'r>,
        news: &mut dyn FnMut(News),
    ) -> Result<(), Failure> {
        while !frames.is_empty() {
            let received = self.link.core.borrow_mut().http.receive(frames);
            let Received { consumed, event } = match received {
                Ok(received) => received,
                Err(violation) => return Err(self.part_with(Failure::new(Reason::TunnelFailed, violation))),
            };
            frames = &frames[consumed..];
            match event {
                Some(Event::Data { id, bytes, end }) => {
                    if !delivery.takes(id) {
                        self.deliver(delivery);
                    }
                    delivery.add(id, bytes, end);
                }
                Some(event) => {
                    self.deliver(delivery);
                    self.heed(event, news);
                }
                None => {}
            }
        }
        Ok(())
    }

    fn deliver(&self, delivery: &mut Delivery<'_>) {
        let Delivery { id: Some(id), parts, end } = mem::take(delivery) else { return };
        let flow = self.flow(id);
        let length = parts.iter().map(|part| part.len()).sum();
        let taken = flow.as_ref().map_or(length, |flow| flow.deliver(&parts));
        self.link.core.borrow_mut().http.consumed(id, taken);
        if let Some(flow) = flow.filter(|_| end) {
            flow.is_ended.set(true);
            flow.wake();
        }
    }

    fn flow(&self, id: StreamId) -> Option<Rc<Flow>> {
        self.link.core.borrow().http.get(id).cloned()
    }

    fn heed(&self, event: Event<'_>, news: &mut dyn FnMut(News)) {
        match event {
            Event::Settings => {
                // It may be their windows that have grown.
                self.link.wake_all();
                news(News::Settled);
            }
            Event::Request { id, request, end } => {
                let flow = Rc::<Flow>::default();
                flow.is_ended.set(end);
                self.link.core.borrow_mut().http.keep(id, flow);
                news(News::Asked(id, request));
            }
            Event::Response { id, status, end } => self.tell(id, |flow| {
                flow.status.set(Some(status));
                flow.is_ended.set(end);
            }),
            Event::End { id } => self.tell(id, |flow| flow.is_ended.set(true)),
            Event::Reset { id, code, by_peer } => {
                let reset = if by_peer { Reset::ByPeer(code) } else { Reset::ByUs(code) };
                self.tell(id, |flow| flow.reset.set(Some(reset)));
            }
            Event::Credit { id: Some(id) } => self.tell(id, |_| {}),
            Event::Credit { id: None } => self.link.wake_starved(),
            Event::GoAway { .. } => {
                self.link.is_leaving.set(true);
                for id in self.link.ask(Connection::unprocessed) {
                    self.tell(id, |flow| flow.reset.set(Some(Reset::Unseen)));
                }
            }
            Event::Data { .. } => {}
        }
    }

    /// Tells the peer what it did wrong, if it still listens.
    fn complain(&self, error: rustls::Error) -> Failure {
        self.link.core.borrow_mut().outlet.complain(&error);
        self.part_with(Failure::in_transit(&io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    /// Sends what is left without waiting: the one it is for is not waited for any more.
    fn part_with(&self, failure: Failure) -> Failure {
        self.link.flush();
        failure
    }

    fn tell(&self, id: StreamId, what: impl FnOnce(&Flow)) {
        if let Some(flow) = self.flow(id) {
            what(&flow);
            flow.wake();
        }
    }
}

/// Parts of one stream's data, which go to its application in one system call.
#[derive(Default)]
struct Delivery<'r> {
    id: Option<StreamId>,
    parts: Vec<IoSlice<'r>>,
    end: bool,
}

impl<'r> Delivery<'r> {
    fn takes(&self, id: StreamId) -> bool {
        self.id == Some(id) && self.parts.len() < PARTS
    }

    fn add(&mut self, id: StreamId, part: &'r [u8], end: bool) {
        self.id = Some(id);
        self.parts.push(IoSlice::new(part));
        self.end = end;
    }
}

/// Far below what one system call takes (`IOV_MAX`).
const PARTS: usize = 64;
