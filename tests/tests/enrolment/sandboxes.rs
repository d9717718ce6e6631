//! From the sandbox's beginning to its end.

use std::io::Read as _;

use culvert_abi::{FlowKey, SocketAddress};
use culvert_testbed::{AgentOptions, CgroupDriver, Family, PodSpec};

use crate::{Site, count, eventually, maps::Maps, pass, says};

#[test]
fn an_application_that_starts_after_its_sandbox_is_captured_from_its_first_connection() {
    let mut site = Site::start(&AgentOptions::default());
    let spec = PodSpec::new("full", "early").enrolled();
    let expected = site.machine.expect(&site.node, spec).unwrap();
    site.machine.publish().unwrap();
    let line = site.agent.wait_for(|line| says(line, "not enrolled yet", "full/early")).unwrap();
    assert!(line["because"].as_str().unwrap().starts_with("no cgroup below"), "{line}");

    // The status says Pending, and no address.
    let pod = site.machine.sandbox(&site.node, &expected).unwrap();
    site.wait_enrolled("full/early");
    let mut streams = Family::ALL.map(|family| site.assert_carried(&pod, family));
    let warned = site.agent.lines().into_iter().filter(|line| line.json["level"] == "WARN");
    assert_eq!(warned.count(), 0);

    // That it runs, and where, is nothing new.
    site.machine.set_running(&pod);
    let _other = site.pod("other");
    for (asked, answered) in &mut streams {
        pass(asked, answered);
        pass(answered, asked);
    }
    assert_eq!(count(&site.agent, "enrolled", "full/early"), 1);
    assert_eq!(count(&site.agent, "released", "full/early"), 0);
}

#[test]
fn a_pod_whose_object_comes_after_its_sandbox_is_found_at_once() {
    let mut site = Site::start(&AgentOptions::default());
    let pod = site.pod("late");
    for family in Family::ALL {
        site.assert_carried(&pod, family);
    }
    assert_eq!(count(&site.agent, "not enrolled yet", "full/late"), 0);
}

#[test]
fn pods_of_each_cgroup_driver_are_found_inside_a_nested_cgroup_namespace() {
    let mut site = Site::start(&AgentOptions::default().nested());
    let drivers = [
        ("kind", CgroupDriver::Kind),
        ("systemd", CgroupDriver::Systemd),
        ("cgroupfs", CgroupDriver::Cgroupfs),
    ];
    for (name, driver) in drivers {
        let spec = PodSpec::new("full", name).driver(driver).enrolled();
        let pod = site.machine.pod(&site.node, spec).unwrap();
        site.machine.publish().unwrap();
        site.wait_enrolled(pod.name());
        for family in Family::ALL {
            site.assert_carried(&pod, family);
        }
    }
}

#[test]
fn a_deleted_pod_leaves_nothing_in_any_map() {
    let mut site = Site::start(&AgentOptions::default());
    let mut pod = site.pod("short");
    let (own, peers) = (Maps::of(&site.agent), Maps::of(&site.server_agent));
    let streams = Family::ALL.map(|family| site.assert_carried(&pod, family));
    let netns = own.netns_of(&pod).unwrap();
    let unaccepted = FlowKey::new(netns, SocketAddress::new(pod.ip(Family::V4).into(), 49152));
    own.file_origin(unaccepted, SocketAddress::new(site.server.ip(Family::V4).into(), 80));
    for address in Family::ALL.map(|family| pod.ip(family)) {
        assert!(!own.ports(address).is_empty() && !own.peers(address).is_empty());
        assert!(!peers.peers(address).is_empty(), "the server's node knows it as a peer");
    }
    assert_eq!(peers.clients().len(), streams.len());

    pod.end().unwrap();
    site.agent.wait_for(|line| says(line, "released", "full/short")).unwrap();
    site.machine.forget(&pod);
    site.machine.publish().unwrap();
    let addresses = streams.each_ref().map(|(asked, _)| asked.local_addr().unwrap().ip());
    eventually("the end of its entries", || {
        let of_address =
            |maps: &Maps| addresses.iter().all(|&it| maps.peers(it).is_empty() && maps.ports(it).is_empty());
        (own.pods().is_empty() && of_address(&own) && of_address(&peers)).then_some(())
    });
    assert_eq!(own.origins(), []);
    // Its link may go before it can say that it ends: its peers would notice after a minute without a word.
    drop(streams);
    eventually("the end of its connections", || peers.clients().is_empty().then_some(()));
}

#[test]
fn a_restarted_sandbox_is_captured_and_nothing_of_the_old_one_is_left() {
    let mut site = Site::start(&AgentOptions::default());
    let mut pod = site.pod("restarted");
    let (maps, peers) = (Maps::of(&site.agent), Maps::of(&site.server_agent));
    let before = maps.netns_of(&pod).unwrap();
    let (mut asked, answered) = site.assert_carried(&pod, Family::V4);
    let unaccepted = FlowKey::new(before, SocketAddress::new(pod.ip(Family::V4).into(), 49152));
    maps.file_origin(unaccepted, SocketAddress::new(site.server.ip(Family::V4).into(), 80));

    let mark = site.agent.mark();
    pod.restart().unwrap();
    site.agent.wait_for_since(mark, |line| says(line, "released", "full/restarted")).unwrap();
    site.agent.wait_for_since(mark, |line| says(line, "enrolled", "full/restarted")).unwrap();
    assert!(matches!(asked.read(&mut [0]), Ok(0) | Err(_)), "its connections ended with the sandbox");
    drop(answered);
    eventually("the end of its connections", || peers.clients().is_empty().then_some(()));
    assert_eq!(maps.origins(), []);
    for address in Family::ALL.map(|family| pod.ip(family)) {
        assert_eq!(maps.ports(address).len(), 3, "the default, and the two new listeners");
    }
    for family in Family::ALL {
        site.assert_carried(&pod, family);
    }
    let now: Vec<u64> = maps.pods().into_keys().collect();
    assert_eq!(now, [maps.netns_of(&pod).unwrap()]);
    assert_ne!(now, [before]);
}
