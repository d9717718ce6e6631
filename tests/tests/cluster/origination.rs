//! TLS to servers outside the mesh, by the settings of a `DestinationRule`.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::Command,
};

use culvert_testbed::{Agent, AgentOptions, Family, Pod, PodSpec, culvert};
use rustls::version::TLS12;
use serde_json::Value;

use crate::{
    common::{Cluster, eventually},
    outside::{ABRUPT, Authority, BOTH, Outside, Seen},
};

/// What the application sends: nobody on the way may read it.
const SECRET: &[u8] = b"nobody on the way reads this";

/// A cluster, a pod outside of it, and a directory that the agent reads files from.
struct Site {
    cluster: Cluster,
    outside: Pod,
    files: PathBuf,
}

/// The port at which each site shows that its rules are in force.
const PROBE: u16 = 7000;

/// The port of a host whose `ServiceEntry` says whom its servers' certificates are for.
const NAMED: u16 = 7009;

impl Site {
    fn start(manifests: &[&str]) -> Self {
        let mut cluster = Cluster::with(manifests, &AgentOptions::default());
        let spec = PodSpec::new("elsewhere", "outside");
        let outside = cluster.machine.pod(&cluster.b, spec).expect("a pod can be made");
        let files = cluster.machine.directory();
        Self { cluster, outside, files }
    }

    fn write(&self, name: &str, content: &str) -> String {
        let (draft, path) = (self.files.join("draft"), self.files.join(name));
        fs::write(&draft, content).expect("it can be written");
        fs::rename(&draft, &path).expect("it can be renamed");
        path.display().to_string()
    }

    /// Puts a rule in force for each port: the host of port 7001 is `port-7001.example.com`.
    fn rule(&self, rules: &[(u16, String)]) {
        let addresses = Family::ALL.map(|family| self.outside.ip(family).to_string()).join(", ");
        let probe = (PROBE, "mode: SIMPLE, insecureSkipVerify: true".to_owned());
        let mut yaml = String::new();
        for (port, tls) in rules.iter().chain([&probe]) {
            write!(yaml, "{}---\n{}---\n", entry(*port, &addresses), rule(*port, tls)).expect("it is memory");
        }
        self.cluster.machine.apply("outside", &yaml).expect("manifests can be written");
        eventually("the rules", || self.ask(Family::V6, PROBE).ok());
    }

    /// What a person is told to look at.
    fn concerns(&self) -> Vec<String> {
        let status = self.cluster.a.status(&["-o", "json"]).expect("it can be started").json();
        serde_json::from_value(status["concerns"].clone()).expect("a list of sentences")
    }

    fn ask(&self, family: Family, port: u16) -> io::Result<SocketAddr> {
        let mut stream = self.cluster.client.connect(self.outside.address(family, port))?;
        let source = stream.local_addr()?;
        stream.write_all(SECRET)?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut back = Vec::new();
        stream.read_to_end(&mut back)?;
        if back == SECRET { Ok(source) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    /// What the agent wrote of a connection to this port that the application sees fail or succeed.
    fn gist(&self, family: Family, port: u16) -> [Value; 3] {
        let mark = self.cluster.client_agent.records().len();
        let result = self.ask(family, port);
        let record = last(&self.cluster.client_agent, mark, self.outside.address(family, port));
        assert_eq!(result.is_ok(), record["outcome"] == "ok", "{record}");
        ["transport", "outcome", "reason"].map(|field| record[field].clone())
    }
}

/// What `culvert explain` says of connections to a host, of each of its endpoints.
fn explained(site: &Site, port: u16) -> Vec<[Value; 3]> {
    let to = format!("port-{port}.example.com:{port}");
    let mut explain = Command::new(culvert());
    explain.args(["explain", "--from", "full/sleep", "--to", &to, "-o", "json", "--manifests"]);
    let answer = explain.arg(site.cluster.machine.manifests()).output().expect("it can be started");
    let answer: Value = serde_json::from_slice(&answer.stdout).expect("JSON");
    let endpoints = answer["endpoints"].as_array().expect("a list");
    endpoints.iter().map(|it| ["transport", "outcome", "reason"].map(|field| it[field].clone())).collect()
}

/// The record of the only connection to an address since a mark.
fn last(agent: &Agent, mark: usize, to: SocketAddr) -> Value {
    eventually("the record", || {
        let mut later = agent.records().into_iter().skip(mark);
        later.find(|record| record["destination"] == to.to_string())
    })
}

fn entry(port: u16, addresses: &str) -> String {
    let names = if port == NAMED { "named.example" } else { "" };
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{ namespace: full, name: port-{port} }}\n\
         spec: {{ hosts: [port-{port}.example.com], addresses: [{addresses}], location: MESH_EXTERNAL,\n  \
         subjectAltNames: [{names}], resolution: NONE, ports: [{{ number: {port}, name: tcp, protocol: TCP }}] }}\n"
    )
}

fn rule(port: u16, tls: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{ namespace: full, name: port-{port} }}\n\
         spec: {{ host: port-{port}.example.com, trafficPolicy: {{ tls: {{ {tls} }} }} }}\n"
    )
}

#[test]
fn the_settings_of_a_rule_open_tls_to_a_server_outside() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let site = Site::start(&[]);
    let ca = site.write("ca.pem", &authority.pem);
    let (certificate, key) = authority.sign("client.example.com");
    let client = site.write("client.pem", &certificate.pem());
    let key = site.write("client.key", &key.serialize_pem());
    let own = |port: u16| format!("port-{port}.example.com");
    let cases = [
        (ABRUPT, authority.server(&own(ABRUPT), BOTH, false), format!("mode: SIMPLE, caCertificates: {ca}")),
        (
            7002,
            authority.server("other.example", BOTH, false),
            format!("mode: SIMPLE, caCertificates: {ca}, sni: other.example"),
        ),
        (
            7003,
            authority.server("third.example", BOTH, false),
            format!("mode: SIMPLE, caCertificates: {ca}, subjectAltNames: [x.example, third.example]"),
        ),
        (
            7004,
            foreign.server("nobody.example", BOTH, false),
            "mode: SIMPLE, insecureSkipVerify: true".to_owned(),
        ),
        (7005, authority.server(&own(7005), &[&TLS12], false), format!("mode: SIMPLE, caCertificates: {ca}")),
        (
            7006,
            authority.server(&own(7006), BOTH, true),
            format!("mode: MUTUAL, caCertificates: {ca}, clientCertificate: {client}, privateKey: {key}"),
        ),
        (
            NAMED,
            authority.server("named.example", BOTH, false),
            format!("mode: SIMPLE, caCertificates: {ca}"),
        ),
    ];
    let probe = Outside::start(&site.outside, [(PROBE, foreign.server("nobody.example", BOTH, false))]);
    site.rule(&cases.each_ref().map(|(port, _, tls)| (*port, tls.clone())));
    for (port, server, tls) in cases {
        let outside = Outside::start(&site.outside, [(port, server)]);
        let capture = site.cluster.a.capture(&site.cluster.b).expect("tcpdump can be started");
        let reason = if tls.contains("MUTUAL") { "rule_mutual" } else { "rule_simple" };
        for family in Family::ALL {
            assert_eq!(site.gist(family, port), ["tls", "ok", reason], "{tls}, {family:?}");
        }
        let traffic = capture.stop().expect("the recording is whole");
        assert_eq!(traffic.readable(SECRET), 0, "{tls}");
        let expected: [Value; 3] = ["tls", "ok", reason].map(Value::from);
        assert_eq!(explained(&site, port), [expected.clone(), expected], "{tls}");
        let sni = if port == 7002 { "other.example".to_owned() } else { own(port) };
        let certified = port == 7006;
        let expected = Seen { tls: true, sni: Some(sni), certified, heard: SECRET.to_vec() };
        eventually("both connections", || (outside.seen().len() == 2).then_some(()));
        assert_eq!(outside.seen(), [expected.clone(), expected], "{tls}");
    }
    drop(probe);
}

#[test]
fn a_server_or_a_file_that_is_not_what_the_rule_demands_gets_nothing_of_the_application() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let site = Site::start(&[]);
    let ca = site.write("ca.pem", &authority.pem);
    let nothing = site.write("empty.pem", "");
    let missing = site.files.join("missing.pem").display().to_string();
    let own = |port: u16| format!("port-{port}.example.com");
    let trusting = format!("mode: SIMPLE, caCertificates: {ca}");
    let cases = [
        (7001, foreign.server(&own(7001), BOTH, false), trusting.clone(), ["refused", "foreign_ca"]),
        (
            7002,
            authority.server(&own(7002), BOTH, false),
            "mode: SIMPLE".to_owned(),
            ["refused", "foreign_ca"],
        ),
        (
            7003,
            authority.server("other.example", BOTH, false),
            trusting.clone(),
            ["refused", "wrong_identity"],
        ),
        (
            7004,
            authority.server(&own(7004), BOTH, false),
            format!("{trusting}, subjectAltNames: [other.example]"),
            ["refused", "wrong_identity"],
        ),
        (7005, authority.server(&own(7005), BOTH, true), trusting, ["refused", "refused_by_peer"]),
        (
            7006,
            authority.server(&own(7006), BOTH, false),
            format!("mode: SIMPLE, caCertificates: {missing}"),
            ["refused", "tls_files"],
        ),
        (
            7007,
            authority.server(&own(7007), BOTH, true),
            format!("mode: MUTUAL, caCertificates: {ca}, clientCertificate: {nothing}, privateKey: {ca}"),
            ["refused", "tls_files"],
        ),
        (
            7008,
            authority.server(&own(7008), BOTH, true),
            "mode: MUTUAL, credentialName: secret".to_owned(),
            ["refused", "transport_unsupported"],
        ),
        (
            NAMED,
            authority.server(&own(NAMED), BOTH, false),
            format!("mode: SIMPLE, caCertificates: {ca}"),
            ["refused", "wrong_identity"],
        ),
    ];
    let _probe = Outside::start(&site.outside, [(PROBE, foreign.server("nobody.example", BOTH, false))]);
    site.rule(&cases.each_ref().map(|(port, _, tls, _)| (*port, tls.clone())));
    let capture = site.cluster.a.capture(&site.cluster.b).expect("tcpdump can be started");
    for (port, server, tls, [outcome, reason]) in cases {
        let outside = Outside::start(&site.outside, [(port, server)]);
        for family in Family::ALL {
            let transport = if reason == "transport_unsupported" { Value::Null } else { "tls".into() };
            assert_eq!(site.gist(family, port), [transport, outcome.into(), reason.into()], "{tls}");
        }
        for seen in outside.seen() {
            assert!(seen.tls && seen.heard.is_empty(), "{tls}: {seen:?}");
        }
    }
    let traffic = capture.stop().expect("the recording is whole");
    assert_eq!(traffic.readable(SECRET), 0);
    let complaints = site.cluster.client_agent.lines();
    let told =
        complaints.iter().filter(|line| line.json["fault"].as_str().is_some_and(|it| it.contains(&missing)));
    assert_eq!(told.count(), 1, "a fault is logged when it comes");
    let told = site.concerns();
    for (rule, part) in
        [("port-7006", &*missing), ("port-7007", "empty.pem"), ("port-7008", "credentialName")]
    {
        let named = format!("DestinationRule full/{rule}");
        assert!(told.iter().any(|it| it.starts_with(&named) && it.contains(part)), "{rule}: {told:?}");
    }
    assert_eq!(told.len(), 3, "{told:?}");
}

#[test]
fn a_server_that_is_too_old_for_the_mesh_is_refused() {
    let authority = Authority::new();
    let settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: { namespace: istio-system, name: istio }\n\
         data:\n  mesh: |\n    tlsDefaults: { minProtocolVersion: TLSV1_3 }\n";
    let site = Site::start(&[settings]);
    let ca = site.write("ca.pem", &authority.pem);
    let trusting = format!("mode: SIMPLE, caCertificates: {ca}");
    let server =
        |port: u16, versions| (port, authority.server(&format!("port-{port}.example.com"), versions, false));
    let outside = [server(PROBE, BOTH), server(7001, BOTH), server(7002, &[&TLS12])];
    let _outside = Outside::start(&site.outside, outside);
    site.rule(&[(7001, trusting.clone()), (7002, trusting)]);
    for family in Family::ALL {
        assert_eq!(site.gist(family, 7001), ["tls", "ok", "rule_simple"]);
        assert_eq!(site.gist(family, 7002), ["tls", "failed", "handshake_failed"]);
    }
}

#[test]
fn files_that_come_or_change_count_from_the_next_connection_on() {
    let (authority, next) = (Authority::new(), Authority::new());
    let site = Site::start(&[]);
    let path = site.files.join("late.pem").display().to_string();
    let server = |port: u16| (port, authority.server(&format!("port-{port}.example.com"), BOTH, false));
    let _outside = Outside::start(&site.outside, [server(PROBE), server(7001)]);
    site.rule(&[(7001, format!("mode: SIMPLE, caCertificates: {path}"))]);
    let expect = |reason: &str| {
        let outcome = if reason == "rule_simple" { "ok" } else { "refused" };
        for family in Family::ALL {
            assert_eq!(site.gist(family, 7001), ["tls", outcome, reason]);
        }
    };
    expect("tls_files");
    assert_eq!(site.concerns().len(), 1);
    site.write("late.pem", &authority.pem);
    eventually("the end of the concern", || site.concerns().is_empty().then_some(()));
    expect("rule_simple");
    site.write("late.pem", &next.pem);
    expect("foreign_ca");
    site.write("late.pem", &format!("{}{}", next.pem, authority.pem));
    expect("rule_simple");
}
