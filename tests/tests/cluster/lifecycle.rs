//! How an agent ends, what holds while there is none, and how the next one takes over.

use std::{
    fs,
    io::{self, ErrorKind},
    net::TcpStream,
    path::PathBuf,
    process::Output,
};

use culvert_testbed::{AgentOptions, Family, Mesh, Node, culvert};
use http::StatusCode;
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    common::{Cluster, Echo, ask, eventually, exchange, mode, one_line, peer_authentication, wait_closed},
    wire::{Hbone, connect_to},
};

const LEGACY: &str = "spiffe://cluster.local/ns/legacy/sa/sleep";

fn pins(node: &Node) -> PathBuf {
    PathBuf::from("/sys/fs/bpf/culvert").join(node.name())
}

fn open_streams(cluster: &Cluster) -> [TcpStream; 2] {
    Family::ALL.map(|family| {
        ask(&cluster.client, cluster.server.address(family, 80)).expect("agents carry the connection")
    })
}

#[test]
fn a_server_that_is_asked_to_end_says_so_and_lets_streams_finish() {
    let mut cluster = Cluster::start();
    let _echo = Echo::start(&cluster.server, &[80]);
    let own = Mesh::of(&cluster.machine).certificate(LEGACY);
    let mut hbone = Hbone::open(&cluster.legacy, &cluster.server, Family::V4, &own).unwrap();
    let mut answer = hbone.request(connect_to(cluster.server.address(Family::V4, 80))).unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let mut streams = open_streams(&cluster);

    cluster.server_agent.terminate().unwrap();
    cluster.server_agent.wait_for(|line| line["message"] == "ending").unwrap();
    let error =
        eventually("GOAWAY", || hbone.request(connect_to(cluster.server.address(Family::V4, 80))).err());
    assert!(error.is_go_away() && error.is_remote(), "{error:?}");
    assert_eq!(error.reason(), Some(h2::Reason::NO_ERROR));
    for family in Family::ALL {
        eventually("the listener's end", || {
            cluster.legacy.connect(cluster.server.address(family, 15008)).err()
        });
    }

    for stream in &mut streams {
        exchange(stream).unwrap();
    }
    hbone.exchange(&mut answer, b"word").unwrap();
    hbone.finish(answer).unwrap();
    hbone.closed().unwrap();
    drop(streams);
    assert!(cluster.server_agent.wait().unwrap().success());
    cluster.server_agent.wait_for(|line| line["cut"] == 0).unwrap();
}

#[test]
fn a_client_that_is_asked_to_end_lets_streams_finish() {
    let mut cluster = Cluster::start();
    let _echo = Echo::start(&cluster.server, &[80]);
    let mut streams = open_streams(&cluster);
    cluster.client_agent.terminate().unwrap();
    cluster.client_agent.wait_for(|line| line["message"] == "ending").unwrap();
    for (stream, family) in streams.iter_mut().zip(Family::ALL) {
        eventually("the refusal", || cluster.client.connect(cluster.server.address(family, 80)).err());
        exchange(stream).unwrap();
    }
    let sources = streams.each_ref().map(|stream| stream.local_addr().unwrap());
    drop(streams);
    for source in sources {
        assert_eq!(cluster.outbound(source)["outcome"], "ok");
    }
    assert!(cluster.client_agent.wait().unwrap().success());
}

#[test]
fn streams_that_do_not_finish_are_cut_at_the_deadline() {
    let mut cluster = Cluster::with(&[], &AgentOptions::default().flag("drain", "1s"));
    let _echo = Echo::start(&cluster.server, &[80]);
    let mut streams = open_streams(&cluster);
    assert!(cluster.client_agent.stop().unwrap().success());
    for stream in &mut streams {
        wait_closed(stream);
        let record = cluster.outbound(stream.local_addr().unwrap());
        assert_eq!(record["reason"], "shutting_down");
    }
    cluster.client_agent.wait_for(|line| line["cut"] == 2).unwrap();
}

/// With the client's agent gone and `failure: closed`, what has to be captured is refused, and the rest passes.
fn assert_closed(cluster: &Cluster, served: &Echo) {
    let seen = served.clients().len();
    let plain = Echo::start(&cluster.legacy, &[80]);
    for family in Family::ALL {
        let try_once = || {
            let refused = cluster.client.connect(cluster.server.address(family, 80));
            refused.expect_err("it would be plaintext").kind()
        };
        assert!([ErrorKind::ConnectionRefused, ErrorKind::PermissionDenied].contains(&try_once()));
        // After a while without a heartbeat the kernel refuses by itself.
        eventually("the kernel's refusal", || (try_once() == ErrorKind::PermissionDenied).then_some(()));
        ask(&cluster.client, cluster.legacy.address(family, 80)).expect("a peer without mTLS is as ever");
    }
    assert_eq!(plain.clients().len(), 2);
    assert_eq!(served.clients().len(), seen, "something was sent in plaintext");
}

fn assert_carried(cluster: &Cluster) {
    for family in Family::ALL {
        let record = cluster.call(&cluster.client, family, 80).expect("agents carry it");
        assert_eq!(record["transport"], "hbone");
    }
}

#[test]
fn after_sigterm_connections_are_refused_until_the_next_agent_takes_over() {
    let mut cluster = Cluster::start();
    let echo = Echo::start(&cluster.server, &[80]);
    assert_carried(&cluster);
    assert!(cluster.client_agent.stop().unwrap().success());
    assert_closed(&cluster, &echo);
    cluster.client_agent = cluster.a.agent(&AgentOptions::default()).unwrap();
    cluster.client_agent.wait_ready().unwrap();
    assert_carried(&cluster);
}

#[test]
fn after_a_crash_connections_are_refused_until_the_next_agent_takes_over() {
    let mut cluster = Cluster::start();
    let echo = Echo::start(&cluster.server, &[80]);
    let mut streams = open_streams(&cluster);
    cluster.client_agent.kill().unwrap();
    for stream in &mut streams {
        wait_closed(stream);
    }
    assert_closed(&cluster, &echo);
    cluster.client_agent = cluster.a.agent(&AgentOptions::default()).unwrap();
    cluster.client_agent.wait_ready().unwrap();
    assert_carried(&cluster);
}

#[test]
fn an_agent_that_hangs_is_as_one_that_is_gone() {
    let cluster = Cluster::start();
    let echo = Echo::start(&cluster.server, &[80]);
    let agent = Pid::from_raw(cluster.client_agent.process().try_into().unwrap()).unwrap();
    kill_process(agent, Signal::STOP).unwrap();
    eventually("all of its threads stop", || are_stopped(agent).unwrap().then_some(()));
    for family in Family::ALL {
        let refused = || cluster.client.connect(cluster.server.address(family, 80)).err();
        let error = eventually("the kernel's refusal", refused);
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    }
    assert_eq!(echo.clients(), []);
    kill_process(agent, Signal::CONT).unwrap();
    for family in Family::ALL {
        eventually("the agent's return", || cluster.call(&cluster.client, family, 80).ok());
    }
}

/// The kernel stops the threads of a process one after the other.
fn are_stopped(process: Pid) -> io::Result<bool> {
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let stat = fs::read_to_string(thread?.path().join("stat"))?;
        if !stat.rsplit(") ").next().is_some_and(|fields| fields.starts_with('T')) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[test]
fn with_failure_open_a_crash_lets_plaintext_pass_to_who_accepts_it() {
    let strict = peer_authentication(
        "full",
        "httpbin",
        "{ selector: { matchLabels: { app: httpbin } }, portLevelMtls: { 80: { mode: STRICT } } }",
    );
    let mut cluster = Cluster::with(&[&strict], &AgentOptions::default().flag("failure", "open"));
    let echo = Echo::start(&cluster.server, &[80, 8080]);
    cluster.client_agent.kill().unwrap();
    for family in Family::ALL {
        let open = || ask(&cluster.client, cluster.server.address(family, 8080)).ok();
        let source = eventually("plaintext", open).local_addr().unwrap();
        assert_eq!(cluster.inbound(source)["transport"], "plaintext");
    }
    cluster.server_agent.kill().unwrap();
    for family in Family::ALL {
        let refused = ask(&cluster.client, cluster.server.address(family, 80)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "STRICT has to outlive the agent");
        ask(&cluster.client, cluster.server.address(family, 8080)).unwrap();
    }
    assert!(echo.clients().len() >= 4);
}

#[test]
fn with_failure_open_sigterm_leaves_nothing() {
    let strict = peer_authentication("istio-system", "default", &mode("STRICT"));
    let mut cluster = Cluster::with(&[&strict], &AgentOptions::default().flag("failure", "open"));
    let _echo = Echo::start(&cluster.server, &[80]);
    assert!(pins(&cluster.a).exists() && pins(&cluster.b).exists());
    assert!(cluster.client_agent.stop().unwrap().success());
    assert!(cluster.server_agent.stop().unwrap().success());
    assert_left_alone(&cluster);
}

/// No pins, and so no programs: what they refused before passes.
fn assert_left_alone(cluster: &Cluster) {
    assert!(!pins(&cluster.a).exists() && !pins(&cluster.b).exists());
    for family in Family::ALL {
        for place in [&cluster.client, &cluster.legacy] {
            let stream = ask(place, cluster.server.address(family, 80)).expect("nobody is in the way");
            assert_eq!(stream.peer_addr().expect("it is connected"), cluster.server.address(family, 80));
        }
    }
}

#[test]
fn detach_leaves_nothing() {
    let strict = peer_authentication("istio-system", "default", &mode("STRICT"));
    let mut cluster = Cluster::with(&[&strict], &AgentOptions::default());
    let _echo = Echo::start(&cluster.server, &[80]);
    cluster.client_agent.kill().unwrap();
    cluster.server_agent.kill().unwrap();
    for family in Family::ALL {
        cluster.client.connect(cluster.server.address(family, 80)).unwrap_err();
        cluster.legacy.connect(cluster.server.address(family, 80)).unwrap_err();
    }
    for node in [&cluster.a, &cluster.b] {
        let output = detach(node).unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b""[..], &b""[..]));
    }
    assert_left_alone(&cluster);
}

fn detach(node: &Node) -> io::Result<Output> {
    node.agent_command(culvert()).args(["detach", "--node", node.name()]).output()
}

#[test]
fn one_node_has_one_agent() {
    let cluster = Cluster::start();
    let _echo = Echo::start(&cluster.server, &[80]);
    let mut second = cluster.a.agent_command(culvert());
    second.args(["agent", "--node", cluster.a.name()]);
    second.arg("--cgroup-root").arg(cluster.a.cgroup_root());
    second.arg("--manifests").arg(cluster.machine.manifests());
    let line = one_line(&mut second);
    assert!(
        line.starts_with("culvert: another agent serves node") && line.contains("stop it first"),
        "{line}"
    );
    // Nothing is detached under an agent's feet.
    let mut detach = cluster.a.agent_command(culvert());
    one_line(detach.args(["detach", "--node", cluster.a.name()]));
    assert_carried(&cluster);
}
