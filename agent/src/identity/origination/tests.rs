//! What files make of a rule's settings, and whom the configurations accept.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use culvert_policy::{ClientFiles, Origination, Reason, ServerProof};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::{
    ClientConfig, ClientConnection, ServerConfig, ServerConnection,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    version::TLS12,
};
use tempfile::TempDir;

use super::{OriginationFault, Originator, files::MAX_FILE};
use crate::{
    cluster::{Originate, TlsVersion},
    identity::{SystemClock, tls_reason},
};

/// An authority, and a directory with its root.
struct Outside {
    issuer: Issuer<'static, KeyPair>,
    files: TempDir,
}

impl Outside {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let files = tempfile::tempdir().unwrap();
        fs::write(files.path().join("ca.pem"), root.pem()).unwrap();
        Self { issuer: Issuer::new(params, key), files }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn certificate(&self) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![
            SanType::DnsName("api.example.com".try_into().unwrap()),
            SanType::DnsName("*.wild.example".try_into().unwrap()),
            SanType::URI("spiffe://elsewhere/api".try_into().unwrap()),
            SanType::IpAddress("fd00::1".parse().unwrap()),
        ];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn server(&self) -> ServerConfig {
        let (certificate, key) = self.certificate();
        let builder = ServerConfig::builder_with_provider(default_provider().into());
        builder
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.into()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap()
    }

    fn settings(&self, names: &[&str]) -> Arc<Origination> {
        let names = names.iter().map(|name| Arc::from(*name)).collect();
        let server = ServerProof::Certificate { roots: Some(self.file("ca.pem")), names };
        Arc::new(Origination { server, ..Origination::default() })
    }
}

fn originator() -> Originator {
    Originator::new(std::env::temp_dir(), Arc::new(SystemClock))
}

/// A rule's settings, for a host of which nothing else is said.
fn to(settings: &Arc<Origination>) -> Originate {
    Originate {
        settings: Arc::clone(settings),
        name: "api.example.com".into(),
        server_names: Arc::default(),
        min_version: TlsVersion::Tls12,
    }
}

async fn config(settings: &Arc<Origination>) -> Result<Arc<ClientConfig>, OriginationFault> {
    originator().config(&to(settings)).await
}

/// A handshake in memory; what the client makes of it.
fn shake(config: Arc<ClientConfig>, name: &str, server: ServerConfig) -> Result<(), Reason> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(config, name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    while client.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut &bytes[..]).unwrap();
        // What the server makes of it, it tells the client.
        let _ = server.process_new_packets();
        bytes.clear();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut &bytes[..]).unwrap();
        let result = client.process_new_packets();
        result.map_err(|error| tls_reason(&io::Error::new(io::ErrorKind::InvalidData, error)))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_server_has_to_be_the_one_that_is_asked_for_or_one_that_the_rule_names() {
    let outside = Outside::new();
    for (names, asked, expected) in [
        (&[][..], "api.example.com", Ok(())),
        (&[], "b.wild.example", Ok(())),
        (&[], "fd00::1", Ok(())),
        (&[], "other.example.com", Err(Reason::WrongIdentity)),
        (&[], "fd00::2", Err(Reason::WrongIdentity)),
        (&["api.example.com"], "other.example.com", Ok(())),
        (&["b.wild.example"], "other.example.com", Ok(())),
        (&["*.wild.example"], "other.example.com", Ok(())),
        (&["nobody", "spiffe://elsewhere/api"], "other.example.com", Ok(())),
        (&["fd00:0::1"], "other.example.com", Ok(())),
        (&["spiffe://elsewhere/ap"], "api.example.com", Err(Reason::WrongIdentity)),
        (&["example.com", "wild.example"], "api.example.com", Err(Reason::WrongIdentity)),
    ] {
        let config = config(&outside.settings(names)).await.unwrap();
        assert_eq!(shake(config, asked, outside.server()), expected, "{names:?}, {asked}");
    }
}

#[tokio::test]
async fn what_the_host_says_of_its_servers_counts_where_the_rule_names_nobody() {
    let outside = Outside::new();
    let entry: Arc<[Arc<str>]> = ["spiffe://elsewhere/api".into()].into();
    let other: Arc<[Arc<str>]> = ["spiffe://elsewhere/other".into()].into();
    for (rule, entry, expected) in [
        (&[][..], &entry, Ok(())),
        (&[], &other, Err(Reason::WrongIdentity)),
        (&["api.example.com"], &other, Ok(())),
        (&["nobody"], &entry, Err(Reason::WrongIdentity)),
    ] {
        let terms = Originate { server_names: Arc::clone(entry), ..to(&outside.settings(rule)) };
        let config = originator().config(&terms).await.unwrap();
        assert_eq!(shake(config, "api.example.com", outside.server()), expected, "{rule:?}, {entry:?}");
    }
}

#[tokio::test]
async fn a_fault_is_told_while_it_lasts_and_the_rule_is_in_force() {
    let outside = Outside::new();
    let (settings, originator) = (outside.settings(&[]), originator());
    let faults = || originator.faults().into_values().collect::<Vec<_>>();
    originator.config(&to(&settings)).await.unwrap();
    assert_eq!(faults(), [""; 0]);

    let root = fs::read(outside.file("ca.pem")).unwrap();
    fs::remove_file(outside.file("ca.pem")).unwrap();
    originator.look();
    assert_eq!(originator.faults().keys().collect::<Vec<_>>(), [&settings]);
    assert!(faults()[0].contains("cannot read"), "{:?}", faults());

    fs::write(outside.file("ca.pem"), root).unwrap();
    originator.look();
    assert_eq!(faults(), [""; 0]);

    fs::remove_file(outside.file("ca.pem")).unwrap();
    originator.look();
    drop(settings);
    assert_eq!(faults(), [""; 0], "no rule demands it any more");
}

#[tokio::test]
async fn another_authority_is_refused_although_it_has_the_name_of_the_trusted_one() {
    let (outside, other) = (Outside::new(), Outside::new());
    let asked = "api.example.com";
    let trusting = |settings: Origination| async { config(&Arc::new(settings)).await.unwrap() };
    let own = config(&outside.settings(&[asked])).await.unwrap();
    assert_eq!(shake(own, asked, other.server()), Err(Reason::ForeignCa));
    let system = trusting(Origination::default()).await;
    assert_eq!(shake(system, asked, other.server()), Err(Reason::ForeignCa));
    let anybody = trusting(Origination { server: ServerProof::None, ..Origination::default() }).await;
    assert_eq!(shake(anybody, "nobody.example", other.server()), Ok(()));
}

#[tokio::test]
async fn an_old_version_is_spoken_only_where_the_mesh_allows_it() {
    let outside = Outside::new();
    let (settings, originator) = (outside.settings(&[]), originator());
    for (least, expected) in [(TlsVersion::Tls12, Ok(())), (TlsVersion::Tls13, Err(Reason::HandshakeFailed))]
    {
        let config = originator.config(&Originate { min_version: least, ..to(&settings) }).await.unwrap();
        let (certificate, key) = outside.certificate();
        let chain: Vec<CertificateDer<'static>> = vec![certificate.into()];
        let server = ServerConfig::builder_with_provider(default_provider().into())
            .with_protocol_versions(&[&TLS12])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        assert_eq!(shake(config, "api.example.com", server), expected, "{least:?}");
    }
}

#[tokio::test]
async fn files_are_read_again_when_they_have_changed_and_only_then() {
    let outside = Outside::new();
    let (settings, originator) = (outside.settings(&[]), originator());
    let terms = to(&settings);
    let config = || originator.config(&terms);
    let first = config().await.unwrap();
    assert!(Arc::ptr_eq(&first, &config().await.unwrap()));

    let root = fs::read(outside.file("ca.pem")).unwrap();
    fs::remove_file(outside.file("ca.pem")).unwrap();
    assert!(matches!(config().await, Err(OriginationFault::Read { .. })));
    fs::write(outside.file("draft"), root).unwrap();
    fs::rename(outside.file("draft"), outside.file("ca.pem")).unwrap();
    let again = config().await.unwrap();
    assert!(!Arc::ptr_eq(&first, &again));
}

#[tokio::test]
async fn what_no_rule_uses_any_more_is_forgotten() {
    let (outside, originator) = (Outside::new(), originator());
    for name in ["a", "b", "c"] {
        originator.config(&to(&outside.settings(&[name]))).await.unwrap();
    }
    assert_eq!(originator.prepared().len(), 1);
}

#[tokio::test]
async fn what_files_hold_has_to_be_what_is_needed() {
    let outside = Outside::new();
    let (certificate, key) = outside.certificate();
    let (_, other_key) = outside.certificate();
    let write = |name: &str, content: &[u8]| fs::write(outside.file(name), content).unwrap();
    write("cert.pem", certificate.pem().as_bytes());
    write("key.pem", key.serialize_pem().as_bytes());
    write("other.pem", other_key.serialize_pem().as_bytes());
    write("empty.pem", b"");
    write("long.pem", &vec![b'#'; usize::try_from(MAX_FILE).unwrap() + 1]);
    let status = std::process::Command::new("mkfifo").arg(outside.file("pipe")).status().unwrap();
    assert!(status.success());
    let file = |name: &str| outside.file(name);
    for (certificate, key, expected) in [
        ("cert.pem", "key.pem", None),
        ("missing.pem", "key.pem", Some("cannot read")),
        ("cert.pem", "missing.pem", Some("cannot read")),
        ("pipe", "key.pem", Some("regular file")),
        ("empty.pem", "key.pem", Some("expected a certificate in PEM")),
        ("cert.pem", "cert.pem", Some("expected a private key in PEM")),
        ("cert.pem", "long.pem", Some("expected at most")),
        ("cert.pem", "other.pem", Some("found another's")),
    ] {
        let client = ClientFiles { certificate: file(certificate), private_key: file(key) };
        let settings = Origination { client: Some(client), ..(*outside.settings(&[])).clone() };
        let fault =
            config(&Arc::new(settings)).await.err().map(|fault| crate::identity::with_sources(&fault));
        assert_eq!(fault.is_some(), expected.is_some(), "{certificate}, {key}: {fault:?}");
        assert!(fault.unwrap_or_default().contains(expected.unwrap_or_default()), "{certificate}, {key}");
    }
}

#[tokio::test]
async fn a_key_is_in_no_fault() {
    let outside = Outside::new();
    let (certificate, key) = outside.certificate();
    fs::write(outside.file("cert.pem"), certificate.pem()).unwrap();
    let text = key.serialize_pem();
    fs::write(outside.file("key.pem"), &text[..text.len() - 40]).unwrap();
    let file = |name: &str| -> PathBuf { Path::join(outside.files.path(), name) };
    let client = ClientFiles { certificate: file("cert.pem"), private_key: file("key.pem") };
    let settings = Origination { client: Some(client), ..Origination::default() };
    let fault = crate::identity::with_sources(&config(&Arc::new(settings)).await.unwrap_err());
    let secret = text.lines().nth(1).unwrap();
    assert!(!fault.contains(&secret[..16]), "{fault}");
}

#[tokio::test]
async fn a_rule_reaches_no_file_elsewhere_by_whatever_path() {
    let (outside, allowed) = (Outside::new(), tempfile::tempdir().unwrap());
    let originator = Originator::new(allowed.path().into(), Arc::new(SystemClock));
    let file = outside.file("ca.pem");
    let link = allowed.path().join("link.pem");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let around = allowed.path().join("..").join(file.strip_prefix(std::env::temp_dir()).unwrap());
    for path in [file.clone(), link, around] {
        let server = ServerProof::Certificate { roots: Some(path), names: [].into() };
        let settings = Arc::new(Origination { server, ..Origination::default() });
        let fault = originator.config(&to(&settings)).await.unwrap_err();
        assert!(matches!(fault, OriginationFault::Elsewhere { .. }), "{fault}");
    }
    let inside = allowed.path().join("ca.pem");
    fs::copy(&file, &inside).unwrap();
    let server = ServerProof::Certificate { roots: Some(inside), names: [].into() };
    let settings = Arc::new(Origination { server, ..Origination::default() });
    originator.config(&to(&settings)).await.unwrap();
}
