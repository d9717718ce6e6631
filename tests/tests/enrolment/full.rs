//! A kernel map without room keeps one pod out, and harms no other.

use culvert_testbed::{AgentOptions, Family, PodSpec};
use serde_json::Value;

use crate::{Site, count, maps::Maps, says};

#[test]
fn a_pod_for_which_there_is_no_room_is_refused_alone_until_there_is() {
    let mut site = Site::start(&AgentOptions::default());
    let inside = site.pod("inside");
    let maps = Maps::of(&site.agent);
    for name in ["pods", "ports"] {
        let make_room = maps.fill(name);
        let outside = site.machine.pod(&site.node, PodSpec::new("full", name).enrolled()).unwrap();
        site.machine.publish().unwrap();
        let refused = |line: &Value| says(line, "not enrolled", outside.name());
        let line = site.agent.wait_for(refused).unwrap();
        assert_eq!(line["level"], "WARN");
        assert!(line["because"].as_str().unwrap().contains("the pod stays outside the mesh"), "{line}");
        for family in Family::ALL {
            site.assert_carried(&inside, family);
        }
        make_room();
        site.wait_enrolled(outside.name());
        for family in Family::ALL {
            site.assert_carried(&outside, family);
        }
        assert_eq!(count(&site.agent, "not enrolled", outside.name()), 1, "it is told once");
    }
    assert_eq!(count(&site.agent, "released", "full/inside"), 0);
}
