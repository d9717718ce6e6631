//! Connections between enrolled pods end, break, fill and stall as direct ones do.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    fs,
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::Duration,
};

use culvert_testbed::{DEADLINE, Family, Pair, Pod, SocketSpec, pattern};
use rustix::event::{PollFd, PollFlags, poll};
use socket2::SockRef;

const MIB: u64 = 1024 * 1024;
/// What a large transfer amounts to.
const LARGE: u64 = 64 * MIB;

#[test]
fn each_direction_ends_on_its_own() {
    let pair = Pair::start().unwrap();
    for family in Family::ALL {
        for client_first in [true, false] {
            let (client, server) = pair.connect(family, 80).unwrap();
            let source = client.local_addr().unwrap();
            let (first, last) = if client_first { (client, server) } else { (server, client) };
            end_one_after_the_other(first, last);
            let (sent, received) = if client_first { (8, 6) } else { (6, 8) };
            pair.was_carried(source, sent, received).unwrap();
        }
    }
}

fn end_one_after_the_other(mut first: TcpStream, mut last: TcpStream) {
    first.write_all(b"question").unwrap();
    first.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut last), b"question");
    last.write_all(b"ans").unwrap();
    let mut half = [0; 3];
    first.read_exact(&mut half).unwrap();
    last.write_all(b"wer").unwrap();
    drop(last);
    assert_eq!(read_all(&mut first), b"wer");
}

#[test]
fn a_reset_reaches_the_other_application() {
    let pair = Pair::start().unwrap();
    for family in Family::ALL {
        for by_client in [true, false] {
            let (client, server) = pair.connect(family, 80).unwrap();
            let source = client.local_addr().unwrap();
            let (mut breaking, mut other) = if by_client { (client, server) } else { (server, client) };
            breaking.write_all(b"word").unwrap();
            other.read_exact(&mut [0; 4]).unwrap();
            reset(breaking);
            assert_eq!(other.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
            let (sent, received) = if by_client { (4, 0) } else { (0, 4) };
            pair.was_carried(source, sent, received).unwrap();
        }
    }
}

/// As an application does that aborts, or ends with bytes unread.
fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

#[test]
fn a_reset_overtakes_a_reader_that_stalls() {
    let pair = Pair::start().unwrap();
    for family in Family::ALL {
        let (client, mut server) = pair.connect(family, 80).unwrap();
        fill(&client);
        let source = client.local_addr().unwrap();
        reset(client);
        assert_eq!(read_to_error(&mut server), ErrorKind::ConnectionReset);
        drop(server);
        pair.records(source).unwrap();
    }
}

fn read_to_error(stream: &mut TcpStream) -> ErrorKind {
    io::copy(stream, &mut io::sink()).unwrap_err().kind()
}

#[test]
fn large_transfers_arrive_whole() {
    let pair = Pair::start().unwrap();
    for family in Family::ALL {
        let (client, server) = pair.connect(family, 80).unwrap();
        let source = client.local_addr().unwrap();
        transfer(&client, &server);
        transfer(&server, &client);
        drop((client, server));
        pair.was_carried(source, LARGE, LARGE).unwrap();
    }
}

#[test]
fn both_directions_carry_at_once() {
    let pair = Pair::start().unwrap();
    for family in Family::ALL {
        let (client, server) = pair.connect(family, 80).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| transfer(&client, &server));
            transfer(&server, &client);
        });
    }
}

#[test]
fn a_server_may_speak_first() {
    let pair = Pair::start().unwrap();
    for family in Family::ALL {
        let (mut client, mut server) = pair.connect(family, 25).unwrap();
        server.write_all(b"220 ready").unwrap();
        let mut greeting = [0; 9];
        client.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"220 ready");
        let source = client.local_addr().unwrap();
        drop((client, server));
        pair.was_carried(source, 0, 9).unwrap();
    }
}

#[test]
fn a_reader_that_stalls_holds_its_writer_up_and_loses_nothing() {
    let pair = Pair::start().unwrap();
    for family in Family::ALL {
        let (client, server) = pair.connect(family, 80).unwrap();
        for (reader, writer) in [(&client, &server), (&server, &client)] {
            let before = resident(&pair);
            let held = fill(writer);
            for (before, after) in before.into_iter().zip(resident(&pair)) {
                let grown = after.saturating_sub(before);
                assert!(grown < 8 * MIB, "an agent grew by {grown} bytes over a window of 1 MiB");
            }
            expect(reader, held);
        }
    }
}

/// Segments within a pod are of 64 KiB, by which the kernel measures what it takes of a sender.
#[test]
fn little_waits_in_the_kernel_for_an_agent_that_has_to_wait() {
    let pair = Pair::start().unwrap();
    for family in Family::ALL {
        let (client, server) = pair.connect(family, 80).unwrap();
        for (writer, reader, pod) in [(&client, &server, &pair.client), (&server, &client, &pair.server)] {
            let held = fill(writer);
            let queued = queued(pod);
            assert!(queued < MIB, "{queued} of {held} bytes wait between the application and the agent");
            expect(reader, held);
        }
    }
}

/// Bytes that the kernel holds in the pod, but for those of tunnels.
fn queued(pod: &Pod) -> u64 {
    let others = "sport != :15008 and dport != :15008";
    let output = pod.command("ss").args(["-Htn", "state", "established", others]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let both = text.lines().flat_map(|line| line.split_whitespace().take(2));
    both.map(|bytes| bytes.parse::<u64>().unwrap()).sum()
}

#[test]
fn an_application_keeps_the_mark_that_it_has_chosen_for_what_is_unsent() {
    let pair = Pair::start().unwrap();
    for family in Family::ALL {
        let address = pair.server.address(family, 80);
        let listener = pair.server.listen(address).unwrap();
        let mark = |from: &Pod, unsent_mark| {
            let spec = SocketSpec { unsent_mark, ..SocketSpec::default() };
            let asking = from.connect_as(address, spec).unwrap();
            let (answering, _) = listener.accept().unwrap();
            [asking, answering].map(|socket| SockRef::from(&socket).tcp_notsent_lowat().unwrap())
        };
        let ours = 64 * 1024;
        assert_eq!(mark(&pair.client, None), [ours, ours]);
        assert_eq!(mark(&pair.client, Some(7000)), [7000, ours]);
        // What a pod says to itself is none of ours.
        assert_eq!(mark(&pair.server, None), [0, 0]);
    }
}

/// There is no network between an application and the agent that pacing would spare. The tunnel keeps what the node uses.
#[test]
fn nothing_is_paced_within_a_pod() {
    let used = &another_control();
    for family in Family::ALL {
        let pair = Pair::start().unwrap();
        for pod in [&pair.client, &pair.server] {
            let setting = format!("net.ipv4.tcp_congestion_control={used}");
            assert!(pod.command("sysctl").args(["-qw", &setting]).status().unwrap().success());
        }
        let _connected = pair.connect(family, 80).unwrap();
        for pod in [&pair.client, &pair.server] {
            assert_eq!(controlled_by(pod, "reno", "sport != :15008 and dport != :15008"), 2);
            assert_eq!(controlled_by(pod, used, "sport = :15008 or dport = :15008"), 1);
        }
        let address = pair.server.address(family, 81);
        let _listener = pair.server.listen(address).unwrap();
        let own = pair.server.connect(address).unwrap();
        let control = SockRef::from(&own).tcp_congestion().unwrap();
        assert!(control.starts_with(used.as_bytes()), "what a pod says to itself is none of ours");
    }
}

/// What a network namespace may use and the agent does not: which ones that are is the machine's to say.
fn another_control() -> String {
    let allowed = fs::read_to_string("/proc/sys/net/ipv4/tcp_allowed_congestion_control").unwrap();
    let other = allowed.split_whitespace().find(|name| *name != "reno");
    other.expect("the machine allows another congestion control than Reno").to_owned()
}

/// How many of the pod's connections have this congestion control.
fn controlled_by(pod: &Pod, control: &str, which: &str) -> usize {
    let output = pod.command("ss").args(["-HOtni", "state", "established", which]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| line.split_whitespace().any(|word| word == control)).count()
}

fn resident(pair: &Pair) -> Vec<u64> {
    pair.agents.iter().map(|agent| agent.resident().unwrap()).collect()
}

/// A stalled stream in each direction holds nothing up: not the other direction, not the other streams.
#[test]
fn a_stalled_reader_slows_no_other_stream() {
    let pair = Pair::start().unwrap();
    for family in Family::ALL {
        let (idle_client, writing_server) = pair.connect(family, 80).unwrap();
        let (writing_client, idle_server) = pair.connect(family, 81).unwrap();
        let held = [&writing_server, &writing_client].map(fill);

        let (client, server) = pair.connect(family, 82).unwrap();
        transfer(&client, &server);
        transfer(&server, &client);
        assert_eq!(pair.tunnels(family).unwrap().len(), 1, "the streams were to share a tunnel");

        expect(&idle_client, held[0]);
        expect(&idle_server, held[1]);
    }
}

#[test]
fn a_port_without_listener_refuses_at_once() {
    let pair = Pair::start().unwrap();
    for family in Family::ALL {
        // The agent accepts before it knows, so the refusal may come with the first read.
        let connected = pair.client.connect(pair.server.address(family, 81));
        let kind = connected.and_then(|mut client| client.read(&mut [0])).unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset), "{kind}");
        let asked = pair.server.address(family, 81).to_string();
        for (agent, reason) in pair.agents.iter().zip(["peer_app_unreachable", "app_unreachable"]) {
            let record = agent.wait_for_record(|record| record["destination"] == asked).unwrap();
            assert_eq!(
                (&record["outcome"], &record["reason"]),
                (&"failed".into(), &reason.into()),
                "{record}"
            );
        }
    }
}

/// Sends a large amount from one end to the other.
fn transfer(from: &TcpStream, to: &TcpStream) {
    thread::scope(|scope| {
        scope.spawn(|| (&*from).write_all(&pattern(LARGE)).unwrap());
        expect(to, LARGE);
    });
}

/// Writes until there is no more room on the whole way; how much there was.
fn fill(stream: &TcpStream) -> u64 {
    let bytes = pattern(LARGE);
    let mut written = 0;
    stream.set_nonblocking(true).unwrap();
    while is_writable_soon(stream) {
        assert!(written < bytes.len(), "nothing holds the writer up");
        match (&*stream).write(&bytes[written..]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            result => written += result.unwrap(),
        }
    }
    stream.set_nonblocking(false).unwrap();
    written as u64
}

/// On a slow machine this may say no too early: then less is held, and no more than that is asked for.
fn is_writable_soon(stream: &TcpStream) -> bool {
    let soon = Duration::from_millis(300).try_into().unwrap();
    poll(&mut [PollFd::new(stream, PollFlags::OUT)], Some(&soon)).unwrap() > 0
}

/// Reads that much of the pattern.
fn expect(stream: &TcpStream, length: u64) {
    let mut received = Vec::new();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.take(length).read_to_end(&mut received).unwrap();
    assert!(received == pattern(length), "{} of {length} bytes came, or others", received.len());
}

fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}
