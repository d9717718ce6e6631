//! TLS to servers outside the mesh, by the settings of a `DestinationRule`.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use culvert_testbed::{Agent, AgentOptions, Family, Pod, PodSpec};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use serde_json::Value;
use socket2::SockRef;

use crate::common::{Cluster, eventually};

/// What the application sends: nobody on the way may read it.
const SECRET: &[u8] = b"nobody on the way reads this";
/// The first byte of a TLS record with a handshake in it (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 0x16;

/// An authority outside the mesh.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&key).expect("a certificate");
        let pem = root.pem();
        Self { issuer: Issuer::new(params, key), root: root.into(), pem }
    }

    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().expect("a name"))];
        (params.signed_by(&key, &self.issuer).expect("a certificate"), key)
    }

    /// A server for a name that demands a certificate of ours from its clients, or none.
    fn server(
        &self,
        name: &str,
        versions: &[&'static SupportedProtocolVersion],
        demands: bool,
    ) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions);
        let builder = builder.expect("the provider has them");
        let builder = if demands {
            builder.with_client_cert_verifier(self.clients())
        } else {
            builder.with_no_client_auth()
        };
        let (certificate, key) = self.sign(name);
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS#8");
        builder.with_single_cert(vec![certificate.into()], key).expect("they belong together")
    }

    fn clients(&self) -> Arc<dyn rustls::server::danger::ClientCertVerifier> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("a root");
        let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider());
        builder.build().expect("there is a root")
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// What a server saw of one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Whether it began with a handshake.
    tls: bool,
    /// The name that was asked for.
    sni: Option<String>,
    /// Whether the client showed a certificate.
    certified: bool,
    /// What the client wrote inside of TLS.
    heard: Vec<u8>,
}

/// TLS servers on some ports of a pod that is nobody's: what they hear inside of TLS they send back.
struct Outside {
    listeners: Vec<Arc<TcpListener>>,
    threads: Vec<JoinHandle<()>>,
    seen: Arc<Mutex<BTreeMap<SocketAddr, Seen>>>,
}

impl Outside {
    fn start(pod: &Pod, servers: impl IntoIterator<Item = (u16, ServerConfig)>) -> Self {
        let mut it = Self { listeners: Vec::new(), threads: Vec::new(), seen: Arc::default() };
        for (port, config) in servers {
            let config = Arc::new(config);
            for family in Family::ALL {
                let listener = pod.listen(pod.address(family, port)).expect("the port is free");
                it.serve(Arc::new(listener), Arc::clone(&config), port != ABRUPT);
            }
        }
        it
    }

    fn serve(&mut self, listener: Arc<TcpListener>, config: Arc<ServerConfig>, notifies: bool) {
        self.listeners.push(Arc::clone(&listener));
        let seen = Arc::clone(&self.seen);
        self.threads.push(thread::spawn(move || {
            loop {
                match listener.accept() {
                    Ok((tcp, from)) => {
                        let what = answer(tcp, Arc::clone(&config), notifies);
                        seen.lock().unwrap_or_else(PoisonError::into_inner).insert(from, what);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        }));
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        for listener in &self.listeners {
            // Wakes up who waits in accept(); it cannot fail on a socket that listens.
            let _ = SockRef::from(&**listener).shutdown(std::net::Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            // What went wrong there has been printed.
            let _ = thread.join();
        }
    }
}

fn answer(tcp: TcpStream, config: Arc<ServerConfig>, notifies: bool) -> Seen {
    let mut first = [0];
    let tls = tcp.peek(&mut first).is_ok() && first[0] == HANDSHAKE;
    let mut seen = Seen { tls, ..Seen::default() };
    let connection = ServerConnection::new(config).expect("the configuration is good");
    let mut stream = rustls::StreamOwned::new(connection, tcp);
    // A client that refuses us is what some tests are about.
    if echo(&mut stream, &mut seen.heard).is_ok() && notifies {
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }
    seen.sni = stream.conn.server_name().map(ToOwned::to_owned);
    seen.certified = stream.conn.peer_certificates().is_some();
    seen
}

fn echo(
    stream: &mut rustls::StreamOwned<ServerConnection, TcpStream>,
    heard: &mut Vec<u8>,
) -> io::Result<()> {
    let mut chunk = [0; 1024];
    loop {
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            count => {
                heard.extend(&chunk[..count]);
                stream.write_all(&chunk[..count])?;
                stream.flush()?;
            }
        }
    }
}

/// A cluster, a pod outside of it, and a directory that the agent reads files from.
struct Site {
    cluster: Cluster,
    outside: Pod,
    files: PathBuf,
}

/// The port at which each site shows that its rules are in force.
const PROBE: u16 = 7000;
/// A server at this port closes without a word, as many do.
const ABRUPT: u16 = 7001;

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

/// The record of the only connection to an address since a mark.
fn last(agent: &Agent, mark: usize, to: SocketAddr) -> Value {
    eventually("the record", || {
        let mut later = agent.records().into_iter().skip(mark);
        later.find(|record| record["destination"] == to.to_string())
    })
}

fn entry(port: u16, addresses: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{ namespace: full, name: port-{port} }}\n\
         spec: {{ hosts: [port-{port}.example.com], addresses: [{addresses}], location: MESH_EXTERNAL,\n  \
         resolution: NONE, ports: [{{ number: {port}, name: tcp, protocol: TCP }}] }}\n"
    )
}

fn rule(port: u16, tls: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{ namespace: full, name: port-{port} }}\n\
         spec: {{ host: port-{port}.example.com, trafficPolicy: {{ tls: {{ {tls} }} }} }}\n"
    )
}

const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

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
        (7001, authority.server(&own(7001), BOTH, false), format!("mode: SIMPLE, caCertificates: {ca}")),
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
    site.write("late.pem", &authority.pem);
    expect("rule_simple");
    site.write("late.pem", &next.pem);
    expect("foreign_ca");
    site.write("late.pem", &format!("{}{}", next.pem, authority.pem));
    expect("rule_simple");
}
