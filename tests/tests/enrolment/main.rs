//! When pods are taken in, when they are let go, and what is in the kernel's maps then.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod addresses;
mod api_server;
mod full;
mod maps;
mod sandboxes;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use culvert_testbed::{
    Agent, AgentOptions, DEADLINE, Family, Machine, Node, Pod, PodSpec,
    apiserver::{ApiServer, TokenSpec},
};
use serde_json::Value;

/// A server on a node of its own, and a node for the pods of a test. Each has an agent.
struct Site {
    agent: Agent,
    /// Those of that agent.
    options: AgentOptions,
    server_agent: Agent,
    server: Pod,
    node: Node,
    _server_node: Node,
    machine: Machine,
}

impl Site {
    fn start(options: &AgentOptions) -> Self {
        Self::on(Machine::new().unwrap(), |_, _| [options.clone(), AgentOptions::default()])
    }

    /// Both agents follow an API server.
    fn following(server: &ApiServer) -> Self {
        let token = server.issue_token(&TokenSpec::new("culvert-system", "culvert-agent")).unwrap();
        Self::on(Machine::new().unwrap().with_api(server), |machine, nodes| {
            nodes.map(|node| {
                AgentOptions::default().kubeconfig(&machine.kubeconfig(node, "agent", &token).unwrap())
            })
        })
    }

    fn on(mut machine: Machine, options: impl FnOnce(&mut Machine, [&Node; 2]) -> [AgentOptions; 2]) -> Self {
        let (node, server_node) = (machine.node("a").unwrap(), machine.node("b").unwrap());
        let server = machine.pod(&server_node, PodSpec::new("full", "httpbin").enrolled()).unwrap();
        machine.publish().unwrap();
        let [options, server_options] = options(&mut machine, [&node, &server_node]);
        let agent = node.agent(&options).unwrap();
        let server_agent = server_node.agent(&server_options).unwrap();
        agent.wait_ready().unwrap();
        server_agent.wait_ready().unwrap();
        Self { agent, options, server_agent, server, node, _server_node: server_node, machine }
    }

    /// A pod that runs, and is enrolled.
    fn pod(&mut self, name: &str) -> Pod {
        let pod = self.machine.pod(&self.node, PodSpec::new("full", name).enrolled()).unwrap();
        self.machine.publish().unwrap();
        self.wait_enrolled(pod.name());
        pod
    }

    fn wait_enrolled(&self, pod: &str) {
        self.agent.wait_for(|line| says(line, "enrolled", pod)).unwrap();
    }

    /// The pod's first connection to the server is carried over mTLS, and is the pod's; it stays open.
    fn assert_carried(&self, pod: &Pod, family: Family) -> (TcpStream, TcpStream) {
        let to = self.server.address(family, 80);
        let listener = self.server.listen(to).unwrap();
        let mut asked = pod.connect(to).unwrap();
        let (mut answered, _) = listener.accept().unwrap();
        pass(&mut asked, &mut answered);
        let tunnels = pod.command("ss").args(["-Htn", "state", "established", "dport = :15008"]).output();
        assert!(!tunnels.unwrap().stdout.is_empty(), "{} was not captured", pod.name());
        (asked, answered)
    }
}

/// Sends a word from one end to the other.
fn pass(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"word").unwrap();
    let mut word = [0; 4];
    to.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"word");
}

fn says(line: &Value, message: &str, pod: &str) -> bool {
    line["message"] == message && line["pod"] == pod
}

fn count(agent: &Agent, message: &str, pod: &str) -> usize {
    agent.lines().iter().filter(|line| says(&line.json, message, pod)).count()
}

/// Tries until there is a result.
fn eventually<R>(what: &str, attempt: impl FnMut() -> Option<R>) -> R {
    within(DEADLINE, what, attempt)
}

fn within<R>(patience: Duration, what: &str, mut attempt: impl FnMut() -> Option<R>) -> R {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(Instant::now() < deadline, "{what} does not come");
        thread::sleep(Duration::from_millis(20));
    }
}
