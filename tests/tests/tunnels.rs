//! Tunnels between two agents: few, unreadable on the wire, and made anew when they break.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use culvert_testbed::{AgentOptions, Family, Pair, PodSpec, SocketSpec};

#[test]
fn many_streams_share_one_tunnel() {
    const STREAMS: usize = 64;
    let pair = Pair::start().unwrap();
    for family in Family::ALL {
        let asked = pair.server.address(family, 80);
        let listener = pair.server.listen(asked).unwrap();
        // All at once, so that the first of them are there before the tunnel is.
        let started =
            [(); STREAMS].map(|()| pair.client.start_connect(asked, SocketSpec::default()).unwrap());
        let mut answering = [(); STREAMS].map(|()| listener.accept().unwrap().0);
        let mut asking = started.map(|socket| {
            socket.set_nonblocking(false).unwrap();
            TcpStream::from(socket)
        });
        asking.sort_by_key(|stream| stream.local_addr().unwrap());
        answering.sort_by_key(|stream| stream.peer_addr().unwrap());
        assert_eq!(pair.tunnels(family).unwrap().len(), 1);

        let sources = asking.each_ref().map(|stream| stream.local_addr().unwrap());
        for (index, (client, server)) in (0..).zip(asking.iter_mut().zip(&mut answering)) {
            assert_eq!(server.peer_addr().unwrap(), client.local_addr().unwrap());
            round_trip(client, server, &[index; 8]);
        }
        drop((asking, answering));
        for source in sources {
            pair.was_carried(source, 8, 8).unwrap();
        }
    }
}

#[test]
fn a_tunnel_that_lies_idle_is_used_again() {
    let pair = Pair::start().unwrap();
    for family in Family::ALL {
        use_tunnel(&pair, family);
        let tunnel = pair.tunnels(family).unwrap();
        use_tunnel(&pair, family);
        assert_eq!(pair.tunnels(family).unwrap(), tunnel);
    }
}

#[test]
fn nothing_of_a_tunnelled_stream_is_readable_on_the_wire() {
    const SECRETS: [&[u8]; 2] =
        [b"a question that nobody else may read", b"an answer that nobody else may read"];
    let mut pair = Pair::prepare().unwrap();
    let plain = pair.machine.pod(&pair.a, PodSpec::new("legacy", "sleep")).unwrap();
    pair.start_agents().unwrap();
    let capture = pair.a.capture(&pair.b).unwrap();
    for family in Family::ALL {
        for pod in [&pair.client, &plain] {
            let asked = pair.server.address(family, 80);
            let listener = pair.server.listen(asked).unwrap();
            let mut client = pod.connect(asked).unwrap();
            let mut server = listener.accept().unwrap().0;
            carry(&mut client, &mut server, SECRETS[0]);
            carry(&mut server, &mut client, SECRETS[1]);
        }
    }
    let traffic = capture.stop().unwrap();
    for secret in SECRETS {
        assert_eq!(traffic.readable(secret), 2, "the plain connections' alone, once for each family");
        for stream in traffic.streams() {
            let is_plain = [stream.from, stream.to]
                .iter()
                .any(|end| Family::ALL.map(|f| plain.ip(f)).contains(&end.ip()));
            let ports = [stream.from.port(), stream.to.port()];
            assert!(is_plain || ports.contains(&15008), "{} to {}", stream.from, stream.to);
        }
    }
    for family in Family::ALL {
        let sent = traffic.streams().iter().filter(|stream| stream.to == pair.server.address(family, 15008));
        assert_eq!(sent.count(), 1, "the pod's own address and one tunnel");
    }
}

#[test]
fn a_server_whose_agent_comes_back_is_reached_again() {
    let mut pair = Pair::start().unwrap();
    for family in Family::ALL {
        let (mut client, mut server) = pair.connect(family, 80).unwrap();
        round_trip(&mut client, &mut server, b"before");
        let source = client.local_addr().unwrap();

        pair.agents[1].kill().unwrap();
        client.read(&mut [0]).unwrap_err();
        server.read(&mut [0]).unwrap_err();
        let record = pair.agents[0].wait_for_record(|record| record["source"] == source.to_string()).unwrap();
        assert_eq!(record["outcome"], "failed", "{record}");

        pair.agents[1] = pair.b.agent(&AgentOptions::default()).unwrap();
        pair.agents[1].wait_ready().unwrap();
        use_tunnel(&pair, family);
    }
}

#[test]
fn a_client_whose_agent_comes_back_connects_again() {
    let mut pair = Pair::start().unwrap();
    for family in Family::ALL {
        use_tunnel(&pair, family);
        pair.agents[0].kill().unwrap();
        pair.agents[0] = pair.a.agent(&AgentOptions::default()).unwrap();
        pair.agents[0].wait_ready().unwrap();
        use_tunnel(&pair, family);
    }
}

/// One connection from its beginning to its end.
fn use_tunnel(pair: &Pair, family: Family) {
    let (mut client, mut server) = pair.connect(family, 80).unwrap();
    round_trip(&mut client, &mut server, b"word");
    let source = client.local_addr().unwrap();
    drop((client, server));
    pair.was_carried(source, 4, 4).unwrap();
}

fn round_trip(client: &mut TcpStream, server: &mut TcpStream, word: &[u8]) {
    carry(client, server, word);
    carry(server, client, word);
}

fn carry(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).unwrap();
    let mut received = vec![0; bytes.len()];
    to.read_exact(&mut received).unwrap();
    assert_eq!(received, bytes);
}
