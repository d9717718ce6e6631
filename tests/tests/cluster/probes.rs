//! The kubelet's probes, and who only looks like the kubelet.

use std::{io::ErrorKind, net::SocketAddr};

use culvert_testbed::{AgentOptions, Family, PodSpec, SocketSpec};
use socket2::SockRef;

use crate::common::{Cluster, Echo, ask, mode, peer_authentication};

fn strict(options: &AgentOptions) -> Cluster {
    let policy = peer_authentication("istio-system", "default", &mode("STRICT"));
    Cluster::with(&[&policy], options)
}

#[test]
fn the_kubelet_reaches_a_strict_pod_and_other_programs_of_the_node_do_not() {
    let cluster = strict(&AgentOptions::default());
    let echo = Echo::start(&cluster.server, &[80]);
    let other = cluster.b.place("other").unwrap();
    for family in Family::ALL {
        let asked = cluster.server.address(family, 80);
        let probe = ask(&cluster.b, asked).unwrap();
        let source = probe.local_addr().unwrap();
        assert_eq!(source.ip(), cluster.b.ip(family));
        drop(probe);
        let record = cluster.inbound(source);
        assert_eq!((&record["transport"], &record["outcome"]), (&"plaintext".into(), &"ok".into()));
        assert_eq!(record["reason"], "kubelet_probe");

        assert_eq!(ask(&other, asked).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(
            ask(&cluster.a, asked).unwrap_err().kind(),
            ErrorKind::ConnectionRefused,
            "of another node"
        );
        assert_eq!(echo.connections_of(cluster.b.ip(family)), 1);
    }
}

#[test]
fn a_port_that_a_probe_has_left_is_no_longer_the_kubelets() {
    let cluster = strict(&AgentOptions::default());
    let _echo = Echo::start(&cluster.server, &[80]);
    let other = cluster.b.place("other").unwrap();
    for family in Family::ALL {
        let asked = cluster.server.address(family, 80);
        let probe = ask(&cluster.b, asked).unwrap();
        let bind = Some(probe.local_addr().unwrap());
        // Without TIME_WAIT, so that the port is free.
        SockRef::from(&probe).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(probe);
        let refused = other.connect_as(asked, SocketSpec { bind, ..SocketSpec::default() }).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn a_pod_that_forges_the_nodes_address_is_refused() {
    let mut cluster = strict(&AgentOptions::default());
    let pod = cluster.machine.pod(&cluster.b, PodSpec::new("legacy", "forger")).unwrap();
    cluster.machine.publish().unwrap();
    let echo = Echo::start(&cluster.server, &[80]);
    for family in Family::ALL {
        let (node, asked) = (cluster.b.ip(family), cluster.server.address(family, 80));
        let own: &[&str] = if node.is_ipv4() { &[] } else { &["nodad"] };
        let add = ["address", "add", &node.to_string(), "dev", "lo"];
        assert!(pod.command("ip").args(add).args(own).status().unwrap().success());
        let bind = Some(SocketAddr::new(node, 0));
        let forged = pod.start_connect(asked, SocketSpec { bind, ..SocketSpec::default() }).unwrap();
        // What comes later is answered, and so what came before was judged.
        ask(&cluster.b, asked).unwrap();
        assert_eq!(echo.connections_of(node), 1, "the forged connection reached the application");
        drop(forged);
    }
}

#[test]
fn the_kubelets_cgroup_can_be_named() {
    let mut machine_has_none = strict(&AgentOptions::default().flag("kubelet-cgroup", "/nowhere"));
    let cluster = &mut machine_has_none;
    let _echo = Echo::start(&cluster.server, &[80]);
    cluster.server_agent.wait_for(|line| line["level"] == "WARN").unwrap();
    let asked = cluster.server.address(Family::V4, 80);
    assert_eq!(ask(&cluster.b, asked).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    cluster.server_agent.stop().unwrap();
    let other = cluster.b.place("other").unwrap();
    let named = other.cgroup().display().to_string();
    cluster.server_agent = cluster.b.agent(&AgentOptions::default().flag("kubelet-cgroup", named)).unwrap();
    cluster.server_agent.wait_ready().unwrap();
    for family in Family::ALL {
        let asked = cluster.server.address(family, 80);
        ask(&other, asked).unwrap();
        assert_eq!(ask(&cluster.b, asked).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}
