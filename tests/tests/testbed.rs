//! The testbed itself: pods reach each other, Services lead to pods, the wire is seen, and nothing is left.

use std::{
    env, fs,
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use culvert_testbed::{Family, Machine, Node, Place, Pod, PodSpec, ServiceSpec, SocketSpec, cgroup_root};
use socket2::SockRef;

struct Pair {
    client: Pod,
    server: Pod,
    a: Node,
    b: Node,
    machine: Machine,
}

fn pair() -> anyhow::Result<Pair> {
    let mut machine = Machine::new()?;
    let (a, b) = (machine.node("a")?, machine.node("b")?);
    let client = machine.pod(&a, PodSpec::new("full", "sleep"))?;
    let server = machine.pod(&b, PodSpec::new("full", "httpbin").label("app", "httpbin"))?;
    Ok(Pair { client, server, a, b, machine })
}

/// Connects, sends a word across, and returns both ends.
fn exchange(
    client: &Place,
    to: SocketAddr,
    spec: SocketSpec,
    listener: &TcpListener,
) -> io::Result<(TcpStream, TcpStream)> {
    let mut sent = client.connect_as(to, spec)?;
    let (mut received, _) = listener.accept()?;
    sent.write_all(b"word")?;
    let mut word = [0; 4];
    received.read_exact(&mut word)?;
    assert_eq!(&word, b"word");
    Ok((sent, received))
}

#[test]
fn pods_reach_each_other_across_nodes() {
    let Pair { client, server, machine: _machine, .. } = pair().unwrap();
    for family in Family::ALL {
        let address = server.address(family, 80);
        let listener = server.listen(address).unwrap();
        let (sent, received) = exchange(&client, address, SocketSpec::default(), &listener).unwrap();
        assert_eq!(sent.peer_addr().unwrap(), address);
        assert_eq!(received.peer_addr().unwrap().ip(), client.ip(family));
        assert_eq!(received.peer_addr().unwrap(), sent.local_addr().unwrap());
    }
}

#[test]
fn sockets_are_made_as_asked() {
    let Pair { client, server, machine: _machine, .. } = pair().unwrap();
    let listener = server.listen_dual(80).unwrap();
    let bind = Some(client.address(Family::V4, 4321));
    let spec = SocketSpec { bind, mapped: true, ..SocketSpec::default() };
    let (sent, received) = exchange(&client, server.address(Family::V4, 80), spec, &listener).unwrap();
    assert_eq!(sent.peer_addr().unwrap(), "[::ffff:10.2.0.2]:80".parse().unwrap());
    assert_eq!(received.peer_addr().unwrap(), "[::ffff:10.1.0.2]:4321".parse().unwrap());
}

#[test]
fn a_socket_that_the_test_closes_is_closed() {
    let Pair { server, a, machine: _machine, .. } = pair().unwrap();
    let address = server.address(Family::V4, 80);
    let _listener = server.listen(address).unwrap();
    let other = a.place("other").unwrap();
    let bind = Some(SocketAddr::new(a.ip(Family::V4), 4321));
    for place in [&*a, &other].into_iter().cycle().take(CLOSED) {
        let stream = place.connect_as(address, SocketSpec { bind, ..SocketSpec::default() }).unwrap();
        // Without TIME_WAIT: the next one can have the port once nobody holds this one.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// Enough for some to meet a helper that holds a socket a moment longer than the test.
const CLOSED: usize = 1000;

#[test]
fn a_refused_connection_is_the_error_of_connect() {
    let Pair { client, server, machine: _machine, .. } = pair().unwrap();
    for family in Family::ALL {
        let error = client.connect(server.address(family, 81)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn a_node_reaches_pods_and_pods_reach_nodes() {
    let Pair { client, a, b, machine: _machine, .. } = pair().unwrap();
    for family in Family::ALL {
        let address = client.address(family, 80);
        let listener = client.listen(address).unwrap();
        exchange(&a, address, SocketSpec::default(), &listener).unwrap();
        let (_sent, received) = exchange(&b, address, SocketSpec::default(), &listener).unwrap();
        assert_eq!(received.peer_addr().unwrap().ip(), b.ip(family));
    }
}

#[test]
fn a_service_leads_to_its_ready_pods_in_turn() {
    let Pair { client, server, a, b, mut machine } = pair().unwrap();
    let other = machine.pod(&a, PodSpec::new("full", "httpbin-2").label("app", "httpbin")).unwrap();
    let service = ServiceSpec::new("full", "httpbin", ("app", "httpbin")).port(8000, 80);
    let service = machine.service(service).unwrap();
    machine.publish().unwrap();
    for family in Family::ALL {
        let [first, second] = [&server, &other].map(|pod| pod.listen(pod.address(family, 80)).unwrap());
        let address = service.address(family, 8000);
        let streams = [(); 2].map(|()| client.connect(address).unwrap());
        assert!(streams.iter().all(|stream| stream.peer_addr().unwrap() == address));
        for listener in [&first, &second] {
            assert_eq!(listener.accept().unwrap().1.ip(), client.ip(family));
        }
    }

    for pod in [&server, &other] {
        machine.set_ready(pod, false);
    }
    machine.publish().unwrap();
    for family in Family::ALL {
        let error = client.connect(service.address(family, 8000)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
    drop(b);
}

#[test]
fn a_pod_reaches_itself_by_its_service() {
    let Pair { server, a: _a, b, mut machine, .. } = pair().unwrap();
    let service = ServiceSpec::new("full", "httpbin", ("app", "httpbin")).port(8000, 80);
    let service = machine.service(service).unwrap();
    machine.publish().unwrap();
    for family in Family::ALL {
        let listener = server.listen(server.address(family, 80)).unwrap();
        let (_sent, received) =
            exchange(&server, service.address(family, 8000), SocketSpec::default(), &listener).unwrap();
        assert_eq!(received.peer_addr().unwrap().ip(), b.ip(family));
    }
}

#[test]
fn programs_run_in_the_pod() {
    let Pair { client, machine: _machine, .. } = pair().unwrap();
    let output = client.command("ip").args(["-o", "addr"]).stderr(Stdio::inherit()).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("10.1.0.2/32"));
    let output = client.command("cat").arg("/proc/self/cgroup").output().unwrap();
    let root = cgroup_root().unwrap();
    let own = client.cgroup().strip_prefix(root).unwrap().display().to_string();
    assert!(String::from_utf8(output.stdout).unwrap().contains(&own));
}

#[test]
fn a_capture_holds_what_went_over_the_wire() {
    let Pair { client, server, a, b, machine: _machine } = pair().unwrap();
    let capture = a.capture(&b).unwrap();
    for family in Family::ALL {
        let listener = server.listen(server.address(family, 80)).unwrap();
        exchange(&client, server.address(family, 80), SocketSpec::default(), &listener).unwrap();
    }
    let traffic = capture.stop().unwrap();
    assert_eq!(traffic.readable(b"word"), 2);
    assert_eq!(traffic.readable(b"words"), 0);
    assert_eq!(traffic.streams().len(), 2);
}

#[test]
fn a_wire_loses_packets_for_as_long_as_it_is_told_to() {
    let Pair { client, server, a, b, machine: _machine } = pair().unwrap();
    let loss = b.lose(&a, 100).unwrap();
    for family in Family::ALL {
        let (near, far) = (client.address(family, 80), server.address(family, 80));
        let listeners = [(&client, near), (&server, far)].map(|(pod, at)| pod.listen(at).unwrap());
        let before = loss.lost().unwrap();
        exchange(&client, near, SocketSpec::default(), &listeners[0]).unwrap();
        let waiting = client.start_connect(far, SocketSpec::default()).unwrap();
        loss.wait_until_lost(before + 1).unwrap();
        assert_eq!(loss.stray().unwrap(), loss.lost().unwrap());
        assert!(waiting.peer_addr().is_err(), "it is connected");
    }
    drop(loss);
    let address = server.address(Family::V4, 80);
    let listener = server.listen(address).unwrap();
    exchange(&client, address, SocketSpec::default(), &listener).unwrap();
}

#[test]
fn manifests_are_replaced_whole() {
    let Pair { client, machine, .. } = pair().unwrap();
    machine.publish().unwrap();
    machine.apply("strict", "kind: PeerAuthentication\n").unwrap();
    let cluster = fs::read_to_string(machine.manifests().join("cluster.yaml")).unwrap();
    assert!(cluster.contains(client.uid()), "{cluster}");
    machine.unapply("strict").unwrap();
    let names: Vec<_> =
        fs::read_dir(machine.manifests()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["cluster.yaml"]);
}

#[test]
fn nothing_is_left_of_a_pod_that_ends() {
    let Pair { client, server, machine: _machine, .. } = pair().unwrap();
    let (netns, cgroup) = (Path::new("/run/netns").join(server.netns()), server.cgroup().to_owned());
    assert!(netns.exists() && cgroup.exists());
    drop(server);
    assert!(!netns.exists() && !cgroup.exists());
    assert!(client.cgroup().exists());
}

#[test]
fn nothing_is_left_of_a_machine_that_ends() {
    let pair = pair().unwrap();
    let run = run_of(&pair.a);
    assert_eq!(remains(&run).len(), 1 + 4 + 1, "a cgroup, four namespaces and a directory");
    drop(pair);
    assert_eq!(remains(&run), Vec::<String>::new());
}

fn run_of(node: &Node) -> String {
    node.name().trim_end_matches("-a").to_owned()
}

fn remains(run: &str) -> Vec<String> {
    let root = cgroup_root().expect("cgroup v2 is mounted");
    let others = ["/run/netns", "/sys/fs/bpf/culvert"].map(PathBuf::from);
    let places = [root, env::temp_dir()].into_iter().chain(others);
    let entries = places.flat_map(|place| fs::read_dir(place).into_iter().flatten().flatten());
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name == run || name.starts_with(&format!("{run}-"))).collect()
}
