//! A recording, put together again: the bytes of each TCP connection in each direction.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::Context;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use pcap_file::pcap::PcapReader;

/// What a recording holds.
#[derive(Debug, Default)]
pub struct Traffic {
    streams: Vec<Stream>,
}

/// One direction of one TCP connection.
#[derive(Debug)]
pub struct Stream {
    /// Who sent.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// What; bytes that the recording lacks are left out.
    pub bytes: Vec<u8>,
}

impl Traffic {
    /// How often `needle` can be read in the streams, wherever packets begin and end.
    pub fn readable(&self, needle: &[u8]) -> usize {
        self.streams.iter().map(|stream| occurrences(&stream.bytes, needle)).sum()
    }

    /// All streams that carry bytes, in the order in which they began.
    pub fn streams(&self) -> &[Stream] {
        &self.streams
    }

    /// Reads a recording in tcpdump's format.
    pub(crate) fn parse(recording: &[u8]) -> anyhow::Result<Self> {
        let mut reader =
            PcapReader::new(recording).context("tcpdump recorded something else than packets")?;
        let mut assembly = Assembly::default();
        while let Some(packet) = reader.next_packet() {
            // The last packet may be cut: it is the one that marked the end.
            let Ok(packet) = packet else { break };
            if let Some(segment) = Segment::parse(&packet.data) {
                assembly.add(segment);
            }
        }
        Ok(assembly.finish())
    }
}

fn occurrences(haystack: &[u8], needle: &[u8]) -> usize {
    haystack.windows(needle.len()).filter(|window| *window == needle).count()
}

struct Segment {
    from: SocketAddr,
    to: SocketAddr,
    sequence: u32,
    opens: bool,
    payload: Vec<u8>,
}

impl Segment {
    fn parse(frame: &[u8]) -> Option<Self> {
        let packet = SlicedPacket::from_ethernet(frame).ok()?;
        let (source, destination) = match packet.net? {
            NetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
            NetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
            NetSlice::Arp(_) => return None,
        };
        let TransportSlice::Tcp(tcp) = packet.transport? else {
            return None;
        };
        Some(Self {
            from: SocketAddr::new(source, tcp.source_port()),
            to: SocketAddr::new(destination, tcp.destination_port()),
            sequence: tcp.sequence_number(),
            opens: tcp.syn(),
            payload: tcp.payload().to_vec(),
        })
    }
}

#[derive(Default)]
struct Assembly {
    /// The directions that are open, by index.
    open: BTreeMap<(SocketAddr, SocketAddr), usize>,
    directions: Vec<Direction>,
}

/// Payloads by their distance from the first byte. The distance wraps after 4 GiB, which no test sends.
struct Direction {
    from: SocketAddr,
    to: SocketAddr,
    first: u32,
    payloads: BTreeMap<u32, Vec<u8>>,
}

impl Assembly {
    fn add(&mut self, segment: Segment) {
        let direction = self.direction(&segment);
        // The SYN itself takes one number, before the first byte.
        let at = segment.sequence.wrapping_add(u32::from(segment.opens));
        let distance = at.wrapping_sub(direction.first);
        let known = direction.payloads.entry(distance).or_default();
        // A segment that was sent again may carry more than before.
        if segment.payload.len() > known.len() {
            *known = segment.payload;
        }
    }

    /// A SYN begins a new connection, unless it is the same one sent again. A connection that was there before the
    /// recording begins with the first segment seen.
    fn direction(&mut self, segment: &Segment) -> &mut Direction {
        let first = segment.sequence.wrapping_add(u32::from(segment.opens));
        let key = (segment.from, segment.to);
        let known = self
            .open
            .get(&key)
            .copied()
            .filter(|&index| !segment.opens || self.directions[index].first == first);
        let index = known.unwrap_or_else(|| {
            self.directions.push(Direction {
                from: segment.from,
                to: segment.to,
                first,
                payloads: BTreeMap::new(),
            });
            self.directions.len() - 1
        });
        self.open.insert(key, index);
        &mut self.directions[index]
    }

    fn finish(self) -> Traffic {
        let streams = self.directions.into_iter().map(Direction::finish);
        Traffic { streams: streams.filter(|stream| !stream.bytes.is_empty()).collect() }
    }
}

impl Direction {
    fn finish(self) -> Stream {
        let mut bytes = Vec::new();
        let mut next = 0;
        for (at, payload) in self.payloads {
            let known = usize::try_from(next - at.min(next)).expect("a 32-bit number fits");
            if let Some(new) = payload.get(known..) {
                bytes.extend_from_slice(new);
                next = at.max(next).saturating_add(u32::try_from(new.len()).unwrap_or(u32::MAX));
            }
        }
        Stream { from: self.from, to: self.to, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(sequence: u32, opens: bool, payload: &[u8]) -> Segment {
        let (from, to) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
        Segment { from, to, sequence, opens, payload: payload.to_vec() }
    }

    fn assembled(segments: impl IntoIterator<Item = Segment>) -> Traffic {
        let mut assembly = Assembly::default();
        segments.into_iter().for_each(|segment| assembly.add(segment));
        assembly.finish()
    }

    #[test]
    fn words_that_span_packets_are_found() {
        let traffic =
            assembled([segment(9, true, b""), segment(10, false, b"sec"), segment(13, false, b"ret")]);
        assert_eq!(traffic.readable(b"secret"), 1);
    }

    #[test]
    fn order_and_repetition_make_no_difference() {
        let traffic = assembled([
            segment(u32::MAX - 1, true, b""),
            segment(2, false, b"ret"),
            segment(u32::MAX, false, b"sec"),
            segment(u32::MAX, false, b"secret"),
            segment(1, false, b"cret"),
        ]);
        assert_eq!(traffic.streams()[0].bytes, b"secret");
    }

    #[test]
    fn a_port_that_is_used_again_is_another_stream() {
        let traffic = assembled([
            segment(9, true, b""),
            segment(10, false, b"one"),
            segment(900, true, b""),
            segment(901, false, b"two"),
        ]);
        let streams: Vec<_> = traffic.streams().iter().map(|stream| stream.bytes.as_slice()).collect();
        assert_eq!(streams, [b"one", b"two"]);
    }
}
