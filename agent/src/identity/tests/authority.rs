//! The authority's certificates, and the directory that agents share it by.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Barrier,
    thread,
    time::{Duration, SystemTime},
};

use rustls::pki_types::{CertificateDer, UnixTime};
use tempfile::TempDir;
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::mesh::{DAY, TRUST_DOMAIN, id};
use crate::identity::{Authority, AuthorityError, Certificate, IssueError, RootFault, tls};

const MINUTE: Duration = Duration::from_mins(1);

fn open(dir: &Path) -> Result<Authority, AuthorityError> {
    Authority::in_dir(dir, TRUST_DOMAIN)
}

/// A directory in which an authority has been made.
fn made() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap();
    dir
}

fn refusal(dir: &TempDir) -> String {
    let error = anyhow::Error::from(open(dir.path()).unwrap_err());
    format!("{error:#}").replace(&dir.path().display().to_string(), "DIR")
}

fn issue(authority: &Authority) -> Certificate {
    authority.issue(&id("sleep"), DAY, SystemTime::now()).unwrap()
}

fn verify(leaf: &CertificateDer<'_>, root: &CertificateDer<'_>) -> Result<(), webpki::Error> {
    let anchors = [webpki::anchor_from_trusted_cert(root).unwrap()];
    let leaf = EndEntityCert::try_from(leaf).unwrap();
    let usage = KeyUsage::client_auth();
    leaf.verify_for_usage(tls::algorithms().all, &anchors, &[], UnixTime::now(), usage, None, None)
        .map(|_| ())
}

#[test]
fn a_workload_certificate_says_what_it_must_and_no_more() {
    let authority = Authority::in_memory(TRUST_DOMAIN).unwrap();
    let now = SystemTime::now();
    let certificate = authority.issue(&id("sleep"), DAY, now).unwrap();
    let (_, leaf) = X509Certificate::from_der(&certificate.chain()[0]).unwrap();
    assert_eq!(leaf.subject().iter().count(), 0);
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(names.critical, "an empty subject makes the names critical (RFC 5280, section 4.2.1.6)");
    assert_eq!(names.value.general_names.len(), 1);
    let usage = leaf.key_usage().unwrap().unwrap().value;
    assert_eq!(usage.flags, 1, "digitalSignature is bit 0");
    let purposes = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(purposes.client_auth && purposes.server_auth && !purposes.any);
    assert!(!leaf.is_ca());
    let validity = leaf.validity();
    let life = SystemTime::from(validity.not_after.to_datetime())
        .duration_since(validity.not_before.to_datetime().into())
        .unwrap();
    assert_eq!(life.as_secs(), (DAY + 2 * MINUTE).as_secs());
    assert!(certificate.holds_at(now - MINUTE), "a peer's clock may be late");
    assert_eq!(certificate.not_after(), validity.not_after.to_datetime());
}

#[test]
fn no_certificate_outlives_the_root() {
    let authority = Authority::in_memory(TRUST_DOMAIN).unwrap();
    let certificate = authority.issue(&id("sleep"), Duration::MAX, SystemTime::now()).unwrap();
    let (_, root) = X509Certificate::from_der(authority.root()).unwrap();
    assert_eq!(certificate.not_after(), root.validity().not_after.to_datetime());
    let late = SystemTime::now() + 11 * 365 * DAY;
    let error = authority.issue(&id("sleep"), DAY, late).unwrap_err();
    assert!(matches!(error, IssueError::Root { source: RootFault::NotNow { .. }, .. }), "{error}");
}

#[test]
fn a_directory_is_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let nested = dir.path().join("not/yet/there");
    let first = open(&nested).unwrap();
    let second = open(&nested).unwrap();
    assert_eq!(first.root(), second.root());
    verify(&issue(&first).chain()[0], second.root()).unwrap();
    let mode = fs::metadata(nested.join("ca.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn whoever_comes_at_once_gets_the_same_authority() {
    const AGENTS: usize = 8;
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let start = Barrier::new(AGENTS);
        let authorities: Vec<_> = thread::scope(|scope| {
            let agent = || {
                start.wait();
                open(dir.path()).unwrap()
            };
            let agents: Vec<_> = (0..AGENTS).map(|_| scope.spawn(agent)).collect();
            agents.into_iter().map(|agent| agent.join().unwrap()).collect()
        });
        for authority in &authorities {
            assert_eq!(authority.root(), authorities[0].root());
            verify(&issue(authority).chain()[0], authorities[0].root()).unwrap();
        }
        let mut left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["ca.key", "ca.pem"]);
    }
}

#[test]
fn a_key_without_a_certificate_is_finished() {
    let dir = made();
    let before = issue(&open(dir.path()).unwrap());
    fs::remove_file(dir.path().join("ca.pem")).unwrap();
    let after = open(dir.path()).unwrap();
    verify(&before.chain()[0], after.root()).unwrap();
}

#[test]
fn a_certificate_without_a_key_is_not_replaced() {
    let dir = made();
    fs::remove_file(dir.path().join("ca.key")).unwrap();
    assert_eq!(
        refusal(&dir),
        "DIR has ca.pem but no ca.key: put the key back, or remove ca.pem to have a new authority made"
    );
}

#[test]
fn what_others_can_read_or_replace_is_refused() {
    let dir = made();
    let chmod =
        |name: &str, mode| fs::set_permissions(dir.path().join(name), Permissions::from_mode(mode)).unwrap();
    chmod("ca.key", 0o640);
    assert_eq!(refusal(&dir), "DIR/ca.key is open to others (mode 0640): run chmod go-rwx on it");
    chmod("ca.key", 0o400);
    open(dir.path()).unwrap();
    chmod("", 0o777);
    assert_eq!(refusal(&dir), "DIR is open to others (mode 0777): run chmod go-w on it");
}

#[test]
fn what_cannot_be_read_is_named() {
    let dir = made();
    let key = dir.path().join("ca.key");
    let pem = dir.path().join("ca.pem");
    let good = fs::read_to_string(&pem).unwrap();
    fs::write(&pem, good.repeat(2)).unwrap();
    assert!(refusal(&dir).starts_with("expected one certificate in PEM in DIR/ca.pem: put it right"));
    assert!(refusal(&dir).ends_with("found more than one"));
    fs::write(&pem, "").unwrap();
    assert!(refusal(&dir).ends_with("found none"));
    fs::remove_file(&pem).unwrap();
    fs::create_dir(&pem).unwrap();
    assert!(refusal(&dir).starts_with("cannot read DIR/ca.pem: run the agent as its owner"));
    fs::write(&key, "no key").unwrap();
    assert!(refusal(&dir).starts_with("expected one private key in PEM in DIR/ca.key: put it right"));
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = open(&file.path().join("below")).unwrap_err();
    assert!(matches!(error, AuthorityError::Create { .. }), "{error}");
}

#[test]
fn a_root_that_cannot_serve_is_refused() {
    let (ours, other) = (made(), made());
    let fault = |dir: &TempDir, trust_domain| match Authority::in_dir(dir.path(), trust_domain) {
        Err(AuthorityError::Root { source, .. }) => source,
        other => panic!("{other:?}"),
    };
    let found = fault(&ours, "other.example");
    assert!(matches!(found, RootFault::OtherTrustDomain { .. }), "{found}");
    fs::copy(other.path().join("ca.pem"), ours.path().join("ca.pem")).unwrap();
    let found = fault(&ours, TRUST_DOMAIN);
    assert!(matches!(found, RootFault::OtherKey), "{found}");
}

#[test]
fn an_expired_root_and_a_leaf_are_no_authority() {
    let dir = made();
    let key = rcgen::KeyPair::from_pem(&fs::read_to_string(dir.path().join("ca.key")).unwrap()).unwrap();
    let mut params = rcgen::CertificateParams::default();
    let mut refused = |is_ca| {
        params.is_ca = is_ca;
        params.not_after = time::OffsetDateTime::now_utc() - MINUTE;
        fs::write(dir.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        refusal(&dir)
    };
    assert!(refused(rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)).contains("check the clock"));
    assert!(refused(rcgen::IsCa::ExplicitNoCa).contains("CA:TRUE"));
}
