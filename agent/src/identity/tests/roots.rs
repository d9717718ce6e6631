//! Roots that come and go in a file, as a mounted `ConfigMap` has them, while connections are made.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use culvert_policy::{Reason, SpiffeId};
use rustls::{pki_types::CertificateDer, sign::SingleCertAndKey};
use tempfile::TempDir;

use super::mesh::{DAY, Pair, TRUST_DOMAIN, id, pem};
use crate::identity::{
    Authority, SystemClock, Trust,
    roots_file::RootsFile,
    tls,
    verifier::{AnyWorkload, OneWorkload},
};

/// A volume as the kubelet makes one: `root.pem` is a link to a link that is replaced with all that lies behind it.
struct Volume(TempDir);

impl Volume {
    fn new(content: &str) -> Self {
        let volume = Self(tempfile::tempdir().unwrap());
        symlink("..data/root.pem", volume.file()).unwrap();
        volume.publish("1", content);
        volume
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("root.pem")
    }

    fn publish(&self, version: &str, content: &str) {
        let dir = self.0.path();
        fs::create_dir(dir.join(version)).unwrap();
        fs::write(dir.join(version).join("root.pem"), content).unwrap();
        symlink(version, dir.join("..data_tmp")).unwrap();
        fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
    }
}

fn follow(path: &Path) -> (Arc<Trust>, RootsFile) {
    let trust = Arc::new(Trust::nobody(TRUST_DOMAIN));
    (trust.clone(), RootsFile::open(path.into(), trust))
}

fn authority() -> Authority {
    Authority::in_memory(TRUST_DOMAIN).unwrap()
}

fn bundle(authorities: &[&Authority]) -> String {
    authorities.iter().map(|authority| pem(authority.root())).collect()
}

/// `sleep` and `httpbin`, each with a certificate of an authority of its own, connect under one set of roots.
fn connect(trust: &Arc<Trust>, client: &Authority, server: &Authority) -> Pair {
    let shown = |authority: &Authority, id: &SpiffeId| {
        let certificate = authority.issue(id, DAY, SystemTime::now()).unwrap();
        Arc::new(SingleCertAndKey::from(certificate.key.as_ref().clone()))
    };
    let clock = Arc::new(SystemClock);
    let expected = OneWorkload { trust: trust.clone(), expected: id("httpbin") };
    let (sleep, httpbin) = (shown(client, &id("sleep")), shown(server, &id("httpbin")));
    let connector = tls::client_config(clock.clone(), Arc::new(expected), sleep, tls::ALPN_HBONE);
    let acceptor = tls::server_config(clock, Arc::new(AnyWorkload(trust.clone())), httpbin, tls::ALPN_HBONE);
    Pair::connect(Arc::new(connector), Arc::new(acceptor))
}

#[test]
fn connections_are_judged_by_the_roots_in_force_and_open_ones_go_on() {
    let (old, new) = (authority(), authority());
    let volume = Volume::new(&bundle(&[&old]));
    let (trust, file) = follow(&volume.file());
    let both = (Ok(id("httpbin")), Ok(id("sleep")));
    let mut open = connect(&trust, &old, &old);
    assert_eq!(open.peers(), both);
    assert_eq!(connect(&trust, &old, &new).peers(), (Err(Reason::ForeignCa), Err(Reason::RefusedByPeer)));

    volume.publish("2", &bundle(&[&old, &new]));
    file.look();
    for (client, server) in [(&old, &old), (&old, &new), (&new, &old), (&new, &new)] {
        assert_eq!(connect(&trust, client, server).peers(), both);
    }

    volume.publish("3", &bundle(&[&new]));
    file.look();
    assert_eq!(connect(&trust, &new, &new).peers(), both);
    assert_eq!(connect(&trust, &old, &new).peers(), (Err(Reason::RefusedByPeer), Err(Reason::ForeignCa)));
    assert_eq!(connect(&trust, &new, &old).peers(), (Err(Reason::ForeignCa), Err(Reason::RefusedByPeer)));
    open.assert_carries_both_ways();
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing_and_is_told() {
    let old = authority();
    let good = bundle(&[&old]);
    let leaf = old.issue(&id("sleep"), DAY, SystemTime::now()).unwrap();
    let volume = Volume::new(&good);
    let (trust, file) = follow(&volume.file());
    let before = trust.roots();
    let path = volume.file().display().to_string();
    for (version, content, problem) in [
        ("empty", String::new(), "expected at least one certificate in PEM, found none"),
        ("garbage", good.replace("MII", "M!!"), "expected certificates in PEM"),
        ("cut", good[..good.len() / 2].to_owned(), "expected certificates in PEM"),
        ("leaf", good.clone() + &pem(&leaf.chain()[0]), "(basicConstraints CA:TRUE) as number 2"),
        ("no X.509", pem(&CertificateDer::from(vec![0x30, 0])), "something unreadable"),
        ("many", good.repeat(33), "at most 32 certificates"),
        ("huge", " ".repeat(300 * 1024), "of at most 262144 bytes"),
    ] {
        volume.publish(version, &content);
        file.look();
        let told = trust.problem().unwrap();
        assert!(told.contains(problem) && told.contains(&path), "{version}: {told}");
        assert!(Arc::ptr_eq(&trust.roots(), &before), "{version}");
    }
    fs::remove_file(volume.file()).unwrap();
    file.look();
    assert!(trust.problem().unwrap().starts_with("cannot read the trusted roots in"));
    symlink("..data/root.pem", volume.file()).unwrap();
    volume.publish("good again", &good);
    file.look();
    assert_eq!(trust.problem(), None);
    assert_eq!(connect(&trust, &old, &old).peers().0, Ok(id("httpbin")));
}

#[test]
fn a_file_may_come_late_and_nobody_is_trusted_until_then() {
    let dir = tempfile::tempdir().unwrap();
    let ours = authority();
    let path = dir.path().join("root.pem");
    let (trust, file) = follow(&path);
    assert!(trust.problem().is_some());
    assert_eq!(connect(&trust, &ours, &ours).peers().0, Err(Reason::ForeignCa));
    fs::write(&path, bundle(&[&ours])).unwrap();
    file.look();
    assert_eq!(connect(&trust, &ours, &ours).peers().0, Ok(id("httpbin")));
}

#[test]
fn the_same_content_is_no_news() {
    let ours = authority();
    let volume = Volume::new(&bundle(&[&ours]));
    let (trust, file) = follow(&volume.file());
    let before = trust.roots();
    volume.publish("2", &bundle(&[&ours]));
    file.look();
    assert!(Arc::ptr_eq(&trust.roots(), &before));
}

#[test]
fn a_report_names_each_root() {
    let (one, other) = (authority(), authority());
    let volume = Volume::new(&bundle(&[&one, &other]));
    let (trust, _file) = follow(&volume.file());
    let roots = trust.roots().report();
    assert_eq!(roots.len(), 2);
    assert_eq!(roots[0].subject, "O=cluster.local, CN=Culvert root");
    assert!(roots[0].not_after > SystemTime::now() + 3_600 * DAY);
    assert_ne!(roots[0].fingerprint, roots[1].fingerprint);
    assert!(roots.iter().all(|root| root.fingerprint.len() == 64));
}

#[test]
fn an_alias_of_the_trust_domain_is_let_in() {
    let ours = authority();
    let volume = Volume::new(&bundle(&[&ours]));
    let (trust, _file) = follow(&volume.file());
    assert_eq!(connect(&trust, &ours, &ours).peers().0, Ok(id("httpbin")));
    trust.set_domains("new.example", &[]);
    assert_eq!(
        connect(&trust, &ours, &ours).peers(),
        (Err(Reason::ForeignTrustDomain), Err(Reason::RefusedByPeer))
    );
    trust.set_domains("new.example", &[TRUST_DOMAIN.into()]);
    let expected = SpiffeId::new("new.example", "full", "httpbin");
    assert!(trust.is_same(&expected, &id("httpbin")));
    assert!(!trust.is_same(&expected, &id("sleep")));
    assert!(!trust.is_same(&SpiffeId::new("other.example", "full", "httpbin"), &id("httpbin")));
    assert_eq!(connect(&trust, &ours, &ours).peers(), (Ok(id("httpbin")), Ok(id("sleep"))));
}
