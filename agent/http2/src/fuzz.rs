//! Bytes of a peer that may be anyone.

use crate::{Connection, Event, Limits, Violation};

/// Feeds both ends the same bytes, whole and cut, and holds each to its promises. Whether one of them accepted all.
///
/// # Panics
/// Where a promise is broken.
pub fn receive(data: &[u8]) -> bool {
    let ends: [fn(Limits) -> Connection<u32>; 2] = [Connection::server, Connection::client];
    let accepts = ends.map(|end| {
        let whole = Run::of(end, data, data.len().max(1));
        for size in [1, 7] {
            assert_eq!(Run::of(end, data, size), whole, "what bytes mean depends on where they are cut");
        }
        whole.violation.is_none()
    });
    accepts.contains(&true)
}

const LIMITS: Limits =
    Limits { streams: 8, stream_window: 1000, connection_window: 70_000, frame: 1 << 14, header_list: 1024 };

/// What came of the bytes.
#[derive(Debug, Default, Eq, PartialEq)]
struct Run {
    events: Vec<String>,
    /// Payload of streams, as one, so that its parts do not show.
    payload: Vec<(u32, u8)>,
    violation: Option<Violation>,
    output: Vec<u8>,
}

impl Run {
    fn of(end: fn(Limits) -> Connection<u32>, data: &[u8], size: usize) -> Self {
        let (mut connection, mut run) = (end(LIMITS), Self::default());
        let request = crate::Request { authority: "10.0.0.7:80", headers: &[] };
        for number in 0..3 {
            let _ = connection.connect(&request, number);
        }
        for part in data.chunks(size) {
            run.violation = run.feed(&mut connection, part).err();
            assert!(connection.open() <= 8, "more streams are open than announced");
            if let Some(violation) = run.violation {
                assert_eq!(
                    connection.receive(part).err(),
                    Some(violation),
                    "a connection that is over goes on"
                );
                break;
            }
        }
        run.output.extend(connection.output().filled());
        run
    }

    fn feed(&mut self, connection: &mut Connection<u32>, mut part: &[u8]) -> Result<(), Violation> {
        while !part.is_empty() {
            let received = connection.receive(part)?;
            assert!(
                received.event.is_some() || received.consumed == part.len(),
                "bytes are left without an event"
            );
            part = &part[received.consumed..];
            if let Some(event) = received.event {
                self.act(connection, &event);
            }
        }
        Ok(())
    }

    /// What an owner might do.
    fn act(&mut self, connection: &mut Connection<u32>, event: &Event<'_>) {
        let over = match *event {
            Event::Request { id, .. } => {
                connection.keep(id, id.into());
                connection.respond(
                    id,
                    if u32::from(id) % 8 == 1 { 200 } else { 503 },
                    u32::from(id) % 8 == 3,
                );
                None
            }
            Event::Data { id, bytes, end } => {
                self.payload.extend(bytes.iter().map(|byte| (id.into(), *byte)));
                end.then_some(id)
            }
            Event::End { id } | Event::Response { id, end: true, .. } | Event::Reset { id, .. } => Some(id),
            Event::Credit { id: Some(id) } => {
                connection.send(id, 4, |room| {
                    room.fill(0);
                    (room.len(), ())
                });
                None
            }
            _ => None,
        };
        if !matches!(event, Event::Data { .. }) {
            self.events.push(format!("{event:?}"));
        }
        if let Some(id) = over {
            connection.finish(id);
            connection.forget(id);
        }
    }
}
