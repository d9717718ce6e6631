//! Pods and the addresses that they have after each other, or claim.

use culvert_abi::port_mode;
use culvert_testbed::{AgentOptions, Family, PodSpec};

use crate::{Site, count, eventually, maps::Maps, says};

const STRICT: &str = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
    metadata: { namespace: strict, name: default }\nspec: { mtls: { mode: STRICT } }\n";

#[test]
fn a_reused_address_is_the_new_pods_alone() {
    let mut site = Site::start(&AgentOptions::default());
    site.machine.apply("strict", STRICT).unwrap();
    let mut old = site.machine.pod(&site.node, PodSpec::new("strict", "old").enrolled()).unwrap();
    site.machine.publish().unwrap();
    site.wait_enrolled("strict/old");
    let maps = Maps::of(&site.agent);
    let default_of = |family| maps.ports(old.ip(family)).get(&0).copied();
    for family in Family::ALL {
        assert_eq!(default_of(family), Some(port_mode::STRICT));
    }

    // The cluster goes on naming the old pod, at the same addresses, for a while.
    let expected =
        site.machine.expect_after(&site.node, PodSpec::new("full", "new").enrolled(), &old).unwrap();
    old.end().unwrap();
    let new = site.machine.sandbox(&site.node, &expected).unwrap();
    site.machine.set_running(&new);
    site.machine.publish().unwrap();
    site.wait_enrolled("full/new");
    let listeners = |family| {
        let ports = maps.ports(new.ip(family));
        assert_eq!(ports.get(&0), Some(&port_mode::PERMISSIVE), "{ports:?}");
        ports.len() - 1
    };
    assert_eq!(Family::ALL.map(listeners), [2, 2]);
    assert_eq!(maps.pods().len(), 1);

    // Its end, when it is told at last, takes nothing of the new pod's.
    site.machine.forget(&old);
    let _other = site.pod("other");
    assert_eq!(Family::ALL.map(listeners), [2, 2]);
    for family in Family::ALL {
        site.assert_carried(&new, family);
    }
    assert_eq!(count(&site.agent, "released", "full/new"), 0);
}

#[test]
fn a_pod_cannot_pass_for_another_by_configuring_its_address() {
    let mut site = Site::start(&AgentOptions::default());
    let victim = site.pod("victim");
    let expected = site.machine.expect(&site.node, PodSpec::new("full", "thief").enrolled()).unwrap();
    let thief = site.machine.sandbox(&site.node, &expected).unwrap();
    for family in Family::ALL {
        let own = format!("{}/{}", thief.ip(family), prefix(family));
        let stolen = format!("{}/{}", victim.ip(family), prefix(family));
        for arguments in [["addr", "del", own.as_str()], ["addr", "add", stolen.as_str()]] {
            let mut ip = thief.command("ip");
            assert!(ip.args(arguments).args(["dev", "eth0"]).status().unwrap().success());
        }
    }
    site.machine.publish().unwrap();
    let refused = |line: &serde_json::Value| says(line, "not enrolled", "full/thief");
    let line = site.agent.wait_for(refused).unwrap();
    assert!(line["because"].as_str().unwrap().contains("belongs to pod full/victim"), "{line}");
    for family in Family::ALL {
        site.assert_carried(&victim, family);
    }
    let maps = Maps::of(&site.agent);
    eventually("one pod", || (maps.pods().len() == 1).then_some(()));
    assert_eq!(count(&site.agent, "released", "full/victim"), 0);
}

const fn prefix(family: Family) -> u8 {
    match family {
        Family::V4 => 32,
        Family::V6 => 128,
    }
}
