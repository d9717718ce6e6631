//! One connection, end to end. This test also runs alone, on other kernels.

use std::io::{Read as _, Write as _};

use culvert_testbed::{AgentOptions, Family, Machine, PodSpec};

#[test]
fn one_connection_is_captured() {
    let mut machine = Machine::new().unwrap();
    let (a, b) = (machine.node("a").unwrap(), machine.node("b").unwrap());
    let client = machine.pod(&a, PodSpec::new("full", "sleep").enrolled()).unwrap();
    let server = machine.pod(&b, PodSpec::new("full", "httpbin").enrolled()).unwrap();
    machine.publish().unwrap();
    let agents = [a.agent(&AgentOptions::default()).unwrap(), b.agent(&AgentOptions::default()).unwrap()];
    for agent in &agents {
        agent.wait_ready().unwrap();
    }

    for family in Family::ALL {
        let address = server.address(family, 80);
        let listener = server.listen(address).unwrap();
        let mut asked = client.connect(address).unwrap();
        let (mut answered, shown) = listener.accept().unwrap();
        asked.write_all(b"question").unwrap();
        let mut question = [0; 8];
        answered.read_exact(&mut question).unwrap();
        assert_eq!(&question, b"question");

        assert_eq!(asked.peer_addr().unwrap(), address);
        assert_eq!(asked.local_addr().unwrap().ip(), client.ip(family));
        assert_eq!(shown, asked.local_addr().unwrap());
        drop((asked, answered));
        let record = agents[1].wait_for_record(|record| record["source"] == shown.to_string()).unwrap();
        assert_eq!(record["transport"], "hbone");
        assert_eq!(record["peer_identity"], "spiffe://cluster.local/ns/full/sa/sleep");
    }
}
