//! `culvert status`, asked of a real agent that follows an API server.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::BTreeSet,
    fs,
    io::Read as _,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime},
};

use culvert_abi::names::{maps, programs};
use culvert_testbed::{
    Agent, AgentOptions, DEADLINE, Family, Machine, Node, Pod, PodSpec, StatusAnswer,
    apiserver::{ApiServer, TokenSpec},
    culvert,
};
use serde_json::{Value, json};

const USAGE: Option<i32> = Some(64);

/// A node with one enrolled pod, `full/sleep`, and an API server.
struct Site {
    pod: Pod,
    node: Node,
    api: ApiServer,
    machine: Machine,
}

impl Site {
    fn new() -> Self {
        let api = ApiServer::start().unwrap();
        let mut machine = Machine::new().unwrap().with_api(&api);
        let node = machine.node("a").unwrap();
        let pod = machine.pod(&node, PodSpec::new("full", "sleep").enrolled()).unwrap();
        machine.publish().unwrap();
        Self { pod, node, api, machine }
    }

    fn options(&mut self) -> AgentOptions {
        let token = self.api.issue_token(&TokenSpec::new("culvert-system", "culvert-agent")).unwrap();
        AgentOptions::default().kubeconfig(&self.machine.kubeconfig(&self.node, "agent", &token).unwrap())
    }

    fn agent(&mut self) -> Agent {
        let options = self.options();
        self.node.agent(&options).unwrap()
    }

    fn ask(&self, flags: &[&str]) -> StatusAnswer {
        self.node.status(flags).unwrap()
    }

    /// Asks until the answer is as it is wanted.
    fn wait(&self, flags: &[&str], wanted: impl Fn(&StatusAnswer) -> bool) -> StatusAnswer {
        let deadline = Instant::now() + 3 * DEADLINE;
        loop {
            let answer = self.ask(flags);
            if wanted(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "the last answer: {answer:#?}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Asks until one thing needs a person, of which these words are said; and the exit status is 1.
    fn wait_concern(&self, words: &[&str]) -> Value {
        let answer = self.wait(&["-o", "json"], |answer| {
            let document = answer.json();
            let mut concerns = texts(&document["concerns"]).into_iter();
            concerns.any(|concern| words.iter().all(|word| concern.contains(word)))
        });
        assert_eq!(answer.code, Some(1), "{answer:#?}");
        let text = self.ask(&[]).text;
        let is_told = |line: &str| line.starts_with("! ") && words.iter().all(|word| line.contains(word));
        assert!(text.lines().any(is_told), "{words:?} in {text}");
        answer.json()
    }

    /// Asks until all is well.
    fn wait_well(&self) -> Value {
        self.wait(&["-o", "json"], |answer| answer.code == Some(0)).json()
    }

    fn socket(&self) -> PathBuf {
        culvert::status::socket_of(self.node.name())
    }

    /// The agent where everybody may run it.
    fn copy_for_all(&self) -> PathBuf {
        let copy = self.machine.directory().join("culvert");
        fs::copy(culvert(), &copy).unwrap();
        for path in [&self.machine.directory(), &copy] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        copy
    }
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// In alphabetical order.
fn keys(object: &Value) -> Vec<&str> {
    let keys: BTreeSet<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.into_iter().collect()
}

fn time(value: &Value) -> SystemTime {
    humantime::parse_rfc3339(value.as_str().unwrap()).unwrap()
}

/// The one of a list that bears a name.
fn named<'a>(list: &'a Value, key: &str, name: &str) -> &'a Value {
    let found = list.as_array().unwrap().iter().find(|item| item[key] == name);
    found.unwrap_or_else(|| panic!("there is no {name} in {list:#}"))
}

const RESOURCES: [&str; 9] = [
    "configmaps/istio",
    "destinationrules.networking.istio.io",
    "endpointslices.discovery.k8s.io",
    "namespaces",
    "peerauthentications.security.istio.io",
    "pods",
    "serviceentries.networking.istio.io",
    "services",
    "workloadentries.networking.istio.io",
];

fn is_announced(answer: &StatusAnswer) -> bool {
    answer.code == Some(0) && answer.json()["pods"]["enrolled"][0]["announced"] == true
}

const IDENTITY: &str = "spiffe://cluster.local/ns/full/sa/sleep";

#[test]
fn an_agent_that_is_well_tells_machines_everything() {
    let mut site = Site::new();
    let _agent = site.agent();
    let document = site.wait(&["-o", "json"], is_announced).json();
    check_agent(&site, &document);
    check_programs(&site, &document["programs"]);
    check_pods(&site, &document["pods"]);
    check_cluster(&site, &document["cluster"]);
    check_certificates(&document);
    check_kernel(&document);
}

fn check_agent(site: &Site, document: &Value) {
    let all = [
        "certificates",
        "cluster",
        "concerns",
        "connects",
        "failure",
        "lostRecords",
        "maps",
        "node",
        "notReady",
        "pods",
        "programs",
        "roots",
        "since",
        "version",
    ];
    assert_eq!(keys(document), all);
    assert_eq!(document["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document["node"], site.node.name());
    assert_eq!(document["failure"], "closed");
    assert!(time(&document["since"]) <= SystemTime::now());
    assert_eq!([&document["notReady"], &document["concerns"]], [&json!([]); 2]);
}

fn check_programs(site: &Site, attached: &Value) {
    let root = site.node.cgroup_root().display().to_string();
    for &program in programs::ALL {
        let to = named(attached, "name", program)["attachedTo"].as_str().unwrap();
        let place = if program == programs::SK_LOOKUP { site.pod.name() } else { &root };
        assert!(to.contains(place), "{program}: {to}");
    }
}

fn check_pods(site: &Site, pods: &Value) {
    assert_eq!(keys(pods), ["enrolled", "notEnrolled"]);
    assert_eq!(pods["notEnrolled"], json!([]));
    let mut enrolled = pods["enrolled"][0].clone();
    let addresses: BTreeSet<String> = serde_json::from_value(enrolled["addresses"].take()).unwrap();
    assert_eq!(addresses, BTreeSet::from(Family::ALL.map(|family| site.pod.ip(family).to_string())));
    assert!(time(&enrolled["since"].take()) <= SystemTime::now());
    let rest = json!({
        "pod": "full/sleep", "identity": IDENTITY, "addresses": null, "since": null, "announced": true,
        "problem": null,
    });
    assert_eq!(enrolled, rest);
}

fn check_cluster(site: &Site, cluster: &Value) {
    assert_eq!(keys(cluster), ["problems", "revision", "synced", "watches"]);
    assert_eq!([&cluster["problems"], &cluster["synced"]], [&json!([]), &json!(true)]);
    assert!(cluster["revision"].as_u64().unwrap() > 0);
    assert_eq!(cluster["watches"].as_array().unwrap().len(), RESOURCES.len());
    for resource in RESOURCES {
        let watch = named(&cluster["watches"], "resource", resource);
        assert_eq!(keys(watch), ["error", "lastEvent", "objects", "resource", "settled", "state"]);
        assert_eq!([&watch["state"], &watch["error"]], [&json!("watching"), &Value::Null], "{resource}");
        assert!(time(&watch["lastEvent"]) <= SystemTime::now(), "{resource}");
        let plural = resource.split(['.', '/']).next().unwrap();
        assert_eq!(watch["objects"], site.api.list(plural).len(), "{resource}");
    }
}

fn check_certificates(document: &Value) {
    let certificate = named(&document["certificates"], "identity", IDENTITY);
    assert_eq!(keys(certificate), ["error", "identity", "notAfter", "renewal"]);
    assert_eq!(certificate["error"], Value::Null);
    let (renewal, end) = (time(&certificate["renewal"]), time(&certificate["notAfter"]));
    assert!(SystemTime::now() < renewal && renewal < end, "{certificate}");
    let root = &document["roots"][0];
    assert_eq!(root["fingerprint"].as_str().unwrap().len(), 64);
    assert!(time(&root["notAfter"]) > end, "{root}");
}

fn check_kernel(document: &Value) {
    for (map, entries) in [(maps::PODS, 1), (maps::PEERS, 0), (maps::PORTS, 0), (maps::SIDECARS, 0)] {
        let map = named(&document["maps"], "name", map);
        assert_eq!(keys(map), ["capacity", "entries", "id", "name"]);
        assert!(map["entries"].as_u64().unwrap() >= entries, "{map}");
        assert!(map["entries"].as_u64() < map["capacity"].as_u64(), "{map}");
        assert!(map["id"].as_u64().unwrap() > 0, "{map}");
    }
    let connects = document["connects"].as_array().unwrap();
    assert!(!connects.is_empty() && connects.iter().all(|count| keys(count) == ["count", "outcome"]));
    assert_eq!(document["lostRecords"], 0);
}

#[test]
fn an_agent_that_is_well_tells_people_everything() {
    let mut site = Site::new();
    let options = site.options().flag("failure", "open");
    let _agent = site.node.agent(&options).unwrap();
    site.wait(&["-o", "json"], is_announced);
    let StatusAnswer { code, text, complaint } = site.ask(&[]);
    assert_eq!((code, complaint.as_str()), (Some(0), ""));
    let first = text.lines().next().unwrap();
    for part in ["culvert", env!("CARGO_PKG_VERSION"), site.node.name(), "ready", "failure open"] {
        assert!(first.contains(part), "{part} in {first}");
    }
    let headers = ["ATTACHED TO", "LAST EVENT", "EXPIRES IN", "RENEWED IN", "CAPACITY", "ROOT"];
    let facts = headers.into_iter().chain(["full/sleep", IDENTITY, maps::PEERS, "watching"]);
    for part in facts.chain(RESOURCES).chain(programs::ALL.iter().copied()) {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("! "), "nothing needs a person: {text}");
}

#[test]
fn pods_that_wish_to_be_enrolled_and_are_not_are_named_with_the_reason() {
    let mut site = Site::new();
    let late = PodSpec::new("full", "late").enrolled();
    site.machine.expect(&site.node, late).unwrap();
    site.machine.publish().unwrap();
    site.api
        .apply(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "namespace": "full", "name": "host", "labels": { "culvert.io/capture": "enabled" } },
            "spec": {
                "nodeName": site.node.name(), "hostNetwork": true,
                "containers": [{ "name": "main", "image": "none" }],
            },
            "status": { "phase": "Running" },
        }))
        .unwrap();
    let _agent = site.agent();
    let document = site.wait_concern(&["pod full/host is not enrolled", "hostNetwork: true"]);
    let not_enrolled = &document["pods"]["notEnrolled"];
    let host = named(not_enrolled, "pod", "full/host");
    assert_eq!([&host["transient"], &host["since"]], [&json!(false), &Value::Null]);
    let late = named(not_enrolled, "pod", "full/late");
    assert!(late["reason"].as_str().unwrap().contains("no cgroup"), "{late}");
    assert_eq!(keys(late), ["pod", "reason", "since", "transient"]);
    assert_eq!(late["transient"], true);
    assert!(time(&late["since"]) <= SystemTime::now());
    let text = site.ask(&[]).text;
    assert!(text.contains("NOT ENROLLED") && text.contains("full/late"), "{text}");

    site.api.delete("pods", "full", "host").unwrap();
    let document = site.wait_well();
    assert_eq!(document["pods"]["notEnrolled"].as_array().unwrap().len(), 1, "one that starts is no fault");
}

#[test]
fn a_policy_that_was_refused_is_named_until_it_is_put_right() {
    let mut site = Site::new();
    let _agent = site.agent();
    site.wait_well();
    let policy = |mode: &str| {
        json!({
            "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
            "metadata": { "namespace": "full", "name": "wrong" }, "spec": { "mtls": { "mode": mode } },
        })
    };
    site.api.apply(&policy("STRIKT")).unwrap();
    let document = site.wait_concern(&["PeerAuthentication full/wrong", "mtls.mode", "STRIKT"]);
    assert_eq!(texts(&document["cluster"]["problems"]).len(), 1);
    site.api.apply(&policy("STRICT")).unwrap();
    site.wait_well();
}

#[test]
fn a_resource_that_may_not_be_read_is_named_and_the_agent_is_not_ready() {
    for resource in ["services", "peerauthentications"] {
        let mut site = Site::new();
        site.api.deny(resource);
        let _agent = site.agent();
        let document = site.wait_concern(&["the agent is not ready", resource, "forbidden"]);
        let watches = document["cluster"]["watches"].as_array().unwrap();
        let unread: Vec<_> = watches.iter().filter(|watch| watch["state"] == "denied").collect();
        assert_eq!((unread.len(), &unread[0]["settled"]), (1, &json!(false)), "{watches:#?}");
        let readiness = site.ask(&["--ready"]);
        assert_eq!(readiness.code, Some(1));
        assert!(
            readiness.text.starts_with(resource) && readiness.text.contains("forbidden"),
            "{readiness:?}"
        );
        assert_eq!(document["pods"]["enrolled"], json!([]));

        site.api.deny_nothing();
        let document = site.wait(&["-o", "json"], is_announced).json();
        for resource in RESOURCES {
            assert_eq!(named(&document["cluster"]["watches"], "resource", resource)["state"], "watching");
        }
    }
}

#[test]
fn a_certificate_that_cannot_be_had_is_named_and_the_agent_is_not_ready() {
    let mut site = Site::new();
    let (roots, token) = (site.machine.directory().join("roots"), site.machine.directory().join("token"));
    fs::write(&roots, site.api.ca_pem()).unwrap();
    fs::write(&token, "none").unwrap();
    let nobody = ([127, 0, 0, 1], 1).into();
    let options = site.options().certificates_from(nobody, &roots, &token);
    let _agent = site.node.agent(&options).unwrap();
    let document = site.wait_concern(&["there is no certificate of", IDENTITY, "127.0.0.1:1"]);
    let certificate = named(&document["certificates"], "identity", IDENTITY);
    assert_eq!(certificate["notAfter"], Value::Null);
    assert!(
        time(&certificate["renewal"]) <= SystemTime::now() + Duration::from_mins(10),
        "it is tried again"
    );
    let readiness = site.ask(&["--ready"]);
    assert_eq!(readiness.code, Some(1));
    assert!(readiness.text.contains(&format!("no certificate of {IDENTITY} yet")), "{readiness:?}");
}

#[test]
fn it_is_ready_once_the_cluster_is_known_and_not_before() {
    let mut site = Site::new();
    let options = site.options();
    site.api.go_away().unwrap();
    let _agent = site.node.agent(&options).unwrap();
    let early = site.wait(&["--ready"], |answer| answer.text.contains("pods were not listed yet"));
    assert_eq!(early.code, Some(1));
    let document = site.wait_concern(&["cannot be reached"]);
    assert_eq!(document["cluster"]["synced"], false);
    site.api.come_back().unwrap();
    let ready = site.wait(&["--ready"], |answer| answer.code == Some(0));
    assert_eq!(ready.text, "ready\n");
    site.wait_well();
}

#[test]
fn flags_that_are_wrong_are_told_with_a_status_of_their_own() {
    for (flags, told) in [
        (&["--nonsense"][..], "there is no flag --nonsense"),
        (&["-o", "yaml"], "--output: expected text or json"),
        (&["--ready", "-o", "json"], "--ready goes without --output"),
        (&["--node", "a/b"], "--node: expected"),
        (&["now"], "unexpected argument \"now\""),
    ] {
        let answer = StatusAnswer::of(Command::new(culvert()).arg("status").args(flags)).unwrap();
        assert_eq!((answer.code, answer.text.as_str()), (USAGE, ""), "{flags:?}");
        assert!(answer.complaint.contains(told), "{flags:?}: {}", answer.complaint);
    }
}

#[test]
fn without_an_agent_it_says_where_it_looked() {
    let mut site = Site::new();
    let expected = format!("no agent answers at {}", site.socket().display());
    for flags in [&[][..], &["-o", "json"], &["--ready"]] {
        let answer = site.ask(flags);
        assert_eq!((answer.code, answer.text.as_str()), (Some(1), ""), "{flags:?}");
        assert!(
            answer.complaint.contains(&expected) && answer.complaint.contains("is one running"),
            "{answer:?}"
        );
    }
    // One that was killed leaves its socket behind.
    let mut agent = site.agent();
    site.wait_well();
    agent.kill().unwrap();
    let answer = site.ask(&[]);
    assert!(site.socket().exists() && answer.complaint.contains(&expected), "{answer:?}");
    assert_eq!(answer.code, Some(1));
}

#[test]
fn the_socket_is_for_root_alone() {
    let mut site = Site::new();
    let _agent = site.agent();
    site.wait_well();
    let mut status = Command::new("setpriv");
    status.args(["--reuid=65534", "--clear-groups"]).arg(site.copy_for_all());
    let answer = StatusAnswer::of(status.args(["status", "--node", site.node.name()])).unwrap();
    assert_eq!(answer.code, Some(1));
    let expected = format!("the agent's socket {} may not be opened", site.socket().display());
    assert!(answer.complaint.contains(&expected) && answer.complaint.contains("ask as root"), "{answer:?}");
}

#[test]
fn who_says_nothing_does_not_keep_others_waiting() {
    let mut site = Site::new();
    let _agent = site.agent();
    site.wait_well();
    let mut silent: Vec<_> = (0..100).map(|_| UnixStream::connect(site.socket()).unwrap()).collect();
    let answers = thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| site.ask(&["-o", "json"]))).collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).collect::<Vec<_>>()
    });
    for answer in answers {
        assert_eq!((answer.code, &answer.json()["node"]), (Some(0), &json!(site.node.name())), "{answer:?}");
    }
    for stream in &mut silent {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the agent hangs up on who says nothing");
    }
}
