//! A wire that loses packets costs time, and neither bytes nor ends nor encryption.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Mutex,
        mpsc::{Sender, channel},
    },
    thread,
    time::Duration,
};

use culvert_testbed::{
    Agent, DEADLINE, Family, Loss, Pair,
    conversation::{self, Abort, End, Held},
    pattern, skip,
};

/// What is lost each way, in percent.
const SOME: u8 = 3;
const ALL: u8 = 100;

/// None, and it is said, where packets cannot be lost by chance.
fn start(test: &str) -> Option<Pair> {
    let pair = Pair::start().unwrap();
    match pair.a.lose(&pair.b, SOME).map(drop) {
        Ok(()) => Some(pair),
        Err(error) => {
            skip(test, &format!("nftables of this kernel lose nothing by chance: {error:#}"));
            None
        }
    }
}

/// Has the wire lose packets in both directions.
fn lose(pair: &Pair, percent: u8) -> [Loss<'_>; 2] {
    [(&pair.a, &pair.b), (&pair.b, &pair.a)].map(|(to, from)| to.lose(from, percent).unwrap())
}

#[test]
fn connections_end_whole_and_aborts_stay_aborts_whatever_is_lost() {
    const EACH: u32 = 250;
    let name = "connections_end_whole_and_aborts_stay_aborts_whatever_is_lost";
    let Some(pair) = start(name) else { return };
    let wires = lose(&pair, SOME);
    for (family, first) in Family::ALL.into_iter().zip([0, EACH]) {
        let asked = pair.server.address(family, 80);
        let listener = pair.server.listen(asked).unwrap();
        let numbers = first..first + EACH;
        let held = conversation::hold(numbers, &pair.client, asked, listener, Abort::IsTold).unwrap();
        for held in &held {
            was_carried(&pair, held);
        }
    }
    for wire in &wires {
        let lost = wire.lost().unwrap();
        assert!(lost > 100, "only {lost} packets were lost");
        assert_eq!(wire.stray().unwrap(), 0, "packets that belong to no tunnel");
    }
    assert!(pair.agents.iter().flat_map(Agent::records).all(|record| record["transport"] == "hbone"));
}

/// As the agents have it; one that was aborted at once may not have come to them.
fn was_carried(pair: &Pair, held: &Held) {
    let (up, down) = held.plan.sizes();
    match held.plan.end {
        End::Regular => pair.was_carried(held.source, up, down).unwrap(),
        End::ClientAborts | End::ServerAborts => drop(pair.records(held.source).unwrap()),
        End::ClientAbortsAtOnce => {}
    }
}

/// Of a transfer, in bytes.
const WHOLE: u64 = 32 << 20;
const BEGINNING: u64 = 1 << 20;
/// Long enough for TCP to send again in vain, three times and more (RFC 6298, from 200 ms on in Linux).
const OUTAGE: Duration = Duration::from_secs(2);
/// TCP waits longer each time, and longer from the start where a busy machine takes long to answer.
const PATIENCE: Duration = DEADLINE.saturating_mul(3);

#[test]
fn transfers_outlast_a_wire_that_loses_all_for_a_while() {
    let Some(pair) = start("transfers_outlast_a_wire_that_loses_all_for_a_while") else { return };
    let pairs = Family::ALL.map(|family| pair.connect(family, 80).unwrap());
    for end in pairs.iter().flat_map(|(client, server)| [client, server]) {
        end.set_read_timeout(Some(PATIENCE)).unwrap();
        end.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    let gate = Mutex::new(());
    let late = thread::scope(|scope| {
        let closed = gate.lock().unwrap();
        let (begun, beginnings) = channel();
        for (client, server) in &pairs {
            for (from, to) in [(client, server), (server, client)] {
                let (begun, gate) = (begun.clone(), &gate);
                scope.spawn(|| (&*from).write_all(&pattern(WHOLE)).unwrap());
                scope.spawn(move || receive(to, &begun, gate));
            }
        }
        for _ in 0..2 * pairs.len() {
            beginnings.recv_timeout(DEADLINE).unwrap();
        }
        let wires = lose(&pair, ALL);
        drop(closed);
        let late = Family::ALL.map(|family| ask(&pair, family, 81));
        for wire in &wires {
            wire.wait_until_lost(1).unwrap();
        }
        thread::sleep(OUTAGE);
        late
    });
    for late in late {
        late.answer(&pair);
    }
    for (client, server) in pairs {
        let source = client.local_addr().unwrap();
        drop((client, server));
        pair.was_carried(source, WHOLE, WHOLE).unwrap();
    }
}

/// Reads the beginning, and the rest once the gate is open.
fn receive(stream: &TcpStream, begun: &Sender<()>, gate: &Mutex<()>) {
    let mut received = Vec::new();
    stream.take(BEGINNING).read_to_end(&mut received).unwrap();
    begun.send(()).unwrap();
    drop(gate.lock());
    let rest = WHOLE - received.len() as u64;
    let end = stream.take(rest).read_to_end(&mut received);
    let (count, peer) = (received.len(), stream.peer_addr().unwrap());
    assert!(received == pattern(WHOLE), "{count} bytes came from {peer}, or others: {end:?}");
}

#[test]
fn a_tunnel_comes_about_once_packets_arrive() {
    let Some(pair) = start("a_tunnel_comes_about_once_packets_arrive") else { return };
    let wires = lose(&pair, ALL);
    let asked = Family::ALL.map(|family| ask(&pair, family, 80));
    // A SYN and one more over each family.
    wires[1].wait_until_lost(4).unwrap();
    drop(wires);
    for asked in asked {
        asked.answer(&pair);
    }
}

/// A client that has said something, which may be on its way.
struct Asked {
    client: TcpStream,
    listener: TcpListener,
}

fn ask(pair: &Pair, family: Family, port: u16) -> Asked {
    let to = pair.server.address(family, port);
    let listener = pair.server.listen(to).unwrap();
    let mut client = pair.client.connect(to).unwrap();
    client.write_all(b"question").unwrap();
    Asked { client, listener }
}

impl Asked {
    /// Has the server hear it and answer, and both of them end.
    fn answer(mut self, pair: &Pair) {
        let source = self.client.local_addr().unwrap();
        let (mut server, _) = self.listener.accept().unwrap();
        let mut heard = [0; 8];
        server.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"question");
        server.write_all(b"answer").unwrap();
        drop(server);
        let mut heard = Vec::new();
        self.client.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, b"answer");
        drop(self.client);
        pair.was_carried(source, 8, 6).unwrap();
    }
}
