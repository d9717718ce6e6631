//! Peers with an Istio sidecar: what they send to an application's own port, played by hand.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use culvert_testbed::{
    AgentOptions, Credentials, Family, Mesh, Pod, PodSpec, sidecar,
    tls::{self, TlsStream},
};
use rustls::AlertDescription::{CertificateExpired, CertificateRequired, CertificateUnknown, UnknownCA};
use serde_json::Value;

use crate::{
    common::{Cluster, Echo, WORD, ask, eventually, exchange, mode, peer_authentication, wait_closed},
    wire::alert,
};

const IDENTITY: &str = "spiffe://cluster.local/ns/legacy/sa/sidecar";

/// A cluster with a pod that has a sidecar, on the client's node.
struct Site {
    cluster: Cluster,
    peer: Pod,
    credentials: Credentials,
}

impl Site {
    fn start(mode_of_all: &str) -> Self {
        let policy = peer_authentication("full", "default", &mode(mode_of_all));
        let mut cluster = Cluster::with(&[&policy], &AgentOptions::default());
        let spec = PodSpec::new("legacy", "sidecar").label("security.istio.io/tlsMode", "istio");
        let peer = cluster.machine.pod(&cluster.a, spec).expect("a pod can be made");
        cluster.machine.publish().expect("manifests can be written");
        let credentials = Mesh::of(&cluster.machine).certificate(IDENTITY);
        Self { cluster, peer, credentials }
    }

    /// Waits until the kernel knows the sidecar.
    fn settle(self, port: u16) -> Self {
        eventually("the steering", || self.call(Family::V6, port).ok());
        self
    }

    fn apply(&self, mode_of_all: &str) {
        let policy = peer_authentication("full", "default", &mode(mode_of_all));
        self.cluster.machine.apply("first-0", &policy).expect("a manifest can be written");
    }

    fn connect(&self, family: Family, port: u16) -> TcpStream {
        self.try_connect(family, port).expect("the agent accepts")
    }

    fn try_connect(&self, family: Family, port: u16) -> io::Result<TcpStream> {
        self.peer.connect(self.cluster.server.address(family, port))
    }

    /// A word over mTLS.
    fn call(&self, family: Family, port: u16) -> io::Result<(SocketAddr, TlsStream)> {
        let mut tls = sidecar::connect_with(self.try_connect(family, port)?, Some(&self.credentials));
        let source = tls.sock.local_addr()?;
        word(&mut tls)?;
        Ok((source, tls))
    }

    /// The one record of a connection that has ended.
    fn record(&self, source: SocketAddr) -> Value {
        let record = self.cluster.inbound(source);
        let all = self.cluster.server_agent.records();
        let count = all.iter().filter(|record| record["source"] == source.to_string()).count();
        assert_eq!(count, 1, "one connection, one record");
        record
    }

    fn gist(&self, source: SocketAddr) -> [Value; 3] {
        let record = self.record(source);
        ["transport", "outcome", "reason"].map(|field| record[field].clone())
    }
}

fn word(stream: &mut (impl io::Read + io::Write)) -> io::Result<()> {
    stream.write_all(&WORD)?;
    stream.flush()?;
    let mut back = [0; WORD.len()];
    stream.read_exact(&mut back)?;
    assert_eq!(back, WORD);
    Ok(())
}

#[test]
fn a_sidecar_is_authenticated_on_the_applications_port_and_others_pass_in_the_kernel() {
    for mode_of_all in ["PERMISSIVE", "STRICT"] {
        let site = Site::start(mode_of_all);
        let echo = Echo::start(&site.cluster.server, &[80]);
        let site = site.settle(80);
        for family in Family::ALL {
            let (source, mut tls) = site.call(family, 80).unwrap();
            assert!(echo.clients().contains(&source), "accept() shows another client");
            tls.conn.send_close_notify();
            tls.flush().unwrap();
            tls.read_to_end(&mut Vec::new()).unwrap();
            drop(tls);
            let record = site.record(source);
            assert_eq!(record["transport"], "sidecar", "{record}");
            assert_eq!((&record["outcome"], &record["reason"]), (&"ok".into(), &"peer_sidecar".into()));
            assert_eq!(record["peer_identity"], IDENTITY);
            assert_eq!(record["peer_pod"], "legacy/sidecar");
            assert_eq!(record["destination"], site.cluster.server.address(family, 80).to_string());
            assert_eq!((&record["bytes_sent"], &record["bytes_received"]), (&4.into(), &4.into()));

            let legacy = ask(&site.cluster.legacy, site.cluster.server.address(family, 80));
            match (mode_of_all, legacy) {
                ("PERMISSIVE", Ok(stream)) => {
                    let source = stream.local_addr().unwrap();
                    drop(stream);
                    assert_eq!(site.gist(source), ["plaintext", "ok", "mode_permissive"]);
                }
                ("STRICT", Err(error)) => assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused),
                (_, other) => panic!("{mode_of_all}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_sidecar_without_a_good_certificate_reaches_no_application() {
    let site = Site::start("PERMISSIVE");
    let echo = Echo::start(&site.cluster.server, &[80]);
    let site = site.settle(80);
    let mesh = Mesh::of(&site.cluster.machine);
    let foreign = Mesh::foreign().certificate(IDENTITY);
    let elsewhere = mesh.certificate("spiffe://elsewhere/ns/legacy/sa/sidecar");
    let nobody = mesh.certificate("https://legacy/sidecar");
    let expired = mesh.expired(IDENTITY);
    let before = echo.clients().len();
    for family in Family::ALL {
        for (shown, expected, reason) in [
            (None, CertificateRequired, "no_peer_certificate"),
            (Some(&foreign), UnknownCA, "foreign_ca"),
            (Some(&elsewhere), CertificateUnknown, "foreign_trust_domain"),
            (Some(&nobody), CertificateUnknown, "bad_certificate"),
            (Some(&expired), CertificateExpired, "certificate_expired"),
        ] {
            let mut tls = sidecar::connect_with(site.connect(family, 80), shown);
            let source = tls.sock.local_addr().unwrap();
            let error = word(&mut tls).unwrap_err();
            drop(tls);
            let record = site.gist(source);
            assert_eq!(record, ["sidecar", "refused", reason]);
            assert_eq!(alert(&error), expected, "{reason}");
        }
    }
    assert_eq!(echo.clients().len(), before, "the application saw it");
}

#[test]
fn what_else_a_sidecar_sends_is_plaintext_to_a_permissive_port_and_nothing_to_a_strict_one() {
    let site = Site::start("PERMISSIVE");
    let echo = Echo::start(&site.cluster.server, &[80]);
    let greeter = site.cluster.server.listen(site.cluster.server.address(Family::V4, 25)).unwrap();
    let site = site.settle(80);
    for family in Family::ALL {
        let mut plain = site.connect(family, 80);
        let source = plain.local_addr().unwrap();
        exchange(&mut plain).unwrap();
        assert!(echo.clients().contains(&source), "accept() shows another client");
        plain.shutdown(std::net::Shutdown::Write).unwrap();
        wait_closed(&mut plain);
        assert_eq!(site.gist(source), ["plaintext", "ok", "mode_permissive"]);

        let config = tls::client_config(None, b"http/1.1");
        let (mut own, source) = client_hello(tls::client(site.connect(family, 80), config));
        own.shutdown(std::net::Shutdown::Write).unwrap();
        wait_closed(&mut own);
        assert_eq!(site.gist(source), ["plaintext", "ok", "mode_permissive"]);
    }

    let mut silent = site.connect(Family::V4, 25);
    let (mut greeting, from) = greeter.accept().unwrap();
    assert_eq!(from, silent.local_addr().unwrap());
    greeting.write_all(&WORD).unwrap();
    let mut heard = [0; WORD.len()];
    silent.read_exact(&mut heard).unwrap();
    exchange_between(&mut silent, &mut greeting);

    site.apply("STRICT");
    eventually("the refusal", || {
        ask(&site.cluster.legacy, site.cluster.server.address(Family::V4, 80)).err()
    });
    let before = echo.clients().len();
    for family in Family::ALL {
        let mut plain = site.connect(family, 80);
        let source = plain.local_addr().unwrap();
        exchange(&mut plain).unwrap_err();
        assert_eq!(site.gist(source), ["plaintext", "refused", "mode_strict"]);
        site.call(family, 80).unwrap();
    }
    assert_eq!(echo.clients().len(), before + 2, "the application saw plaintext");
}

/// Sends a `ClientHello` to an application that sends back what it gets.
fn client_hello(mut tls: TlsStream) -> (TcpStream, SocketAddr) {
    let mut hello = Vec::new();
    tls.conn.write_tls(&mut hello).expect("memory takes it");
    let (mut tcp, mut back) = (tls.sock, vec![0; hello.len()]);
    tcp.write_all(&hello).expect("it is open");
    tcp.read_exact(&mut back).expect("it comes back");
    assert_eq!(back, hello, "somebody has read it");
    let source = tcp.local_addr().expect("a connected socket has one");
    (tcp, source)
}

fn exchange_between(one: &mut TcpStream, other: &mut TcpStream) {
    one.write_all(&WORD).expect("it is open");
    let mut heard = [0; WORD.len()];
    other.read_exact(&mut heard).expect("it comes");
    assert_eq!(heard, WORD);
}

#[test]
fn under_disable_tls_reaches_the_application_unread() {
    let site = Site::start("PERMISSIVE");
    let _echo = Echo::start(&site.cluster.server, &[80]);
    let site = site.settle(80);
    let mut streams = Family::ALL.map(|family| site.call(family, 80).unwrap());
    site.apply("DISABLE");
    for (source, tls) in &mut streams {
        wait_closed(&mut tls.sock);
        assert_eq!(site.gist(*source), ["sidecar", "refused", "mode_disable"]);
    }
    for family in Family::ALL {
        let (tcp, source) =
            client_hello(sidecar::connect_with(site.connect(family, 80), Some(&site.credentials)));
        drop(tcp);
        assert_eq!(site.gist(source), ["plaintext", "ok", "mode_disable"]);
    }
}

#[test]
fn plaintext_of_a_sidecar_is_closed_when_the_port_becomes_strict_and_its_mtls_goes_on() {
    let site = Site::start("PERMISSIVE");
    let _echo = Echo::start(&site.cluster.server, &[80]);
    let site = site.settle(80);
    let mut secured = Family::ALL.map(|family| site.call(family, 80).unwrap().1);
    let mut plain = Family::ALL.map(|family| site.connect(family, 80));
    for stream in &mut plain {
        exchange(stream).unwrap();
    }
    site.apply("STRICT");
    for stream in &mut plain {
        wait_closed(stream);
        assert_eq!(site.gist(stream.local_addr().unwrap()), ["plaintext", "refused", "mode_strict"]);
    }
    for stream in &mut secured {
        word(stream).unwrap();
    }
}

#[test]
fn without_an_agent_a_sidecar_is_refused() {
    let mut site = Site::start("PERMISSIVE");
    let echo = Echo::start(&site.cluster.server, &[80]);
    site = site.settle(80);
    let before = echo.clients().len();
    site.cluster.server_agent.kill().unwrap();
    for family in Family::ALL {
        let refused = site.peer.connect(site.cluster.server.address(family, 80)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        ask(&site.cluster.legacy, site.cluster.server.address(family, 80)).unwrap();
    }
    assert_eq!(echo.clients().len(), before + 2);
}
