//! What a person is told, in the log and by `culvert status`, of certificates that cannot be had.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use tonic::Status;
use tracing::{
    Level, Subscriber,
    subscriber::{set_default, with_default},
};

use super::{
    fake_ca::{FakeCa, Signer},
    mesh::{DAY, id},
    remote::{Mesh, Mood},
};
use crate::identity::{Clock, Issuer, Workload};

const PODS: usize = 110;

/// What is written by a subscriber.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Writes what is of this level or a graver one.
    fn subscriber(&self, level: Level) -> impl Subscriber + use<> {
        let writer = self.clone();
        tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_max_level(level)
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .finish()
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// The levels and the texts of what is logged meanwhile.
fn logged(what: impl FnOnce()) -> Vec<String> {
    let log = Log::default();
    with_default(log.subscriber(Level::INFO), what);
    log.text().lines().map(|line| line.trim().to_owned()).collect()
}

fn pods(mesh: &Mesh) -> Vec<Arc<Workload>> {
    (0..PODS).map(|pod| mesh.identities.workload(&id(&format!("pod-{pod}")))).collect()
}

/// So many tries, each when it is due.
fn try_again(mesh: &Mesh, times: usize) {
    for _ in 0..times {
        let wait = mesh.renew();
        mesh.clock.advance(wait);
    }
}

#[test]
fn an_outage_is_told_once_and_so_is_its_end() {
    let mesh = Mesh::new();
    mesh.set(Mood::Away);
    let pods = pods(&mesh);
    let lines = logged(|| try_again(&mesh, 10));
    let [line] = &lines[..] else { panic!("{lines:#?}") };
    assert!(line.starts_with("WARN no certificates can be had"), "{line}");
    assert!(line.contains("cannot make a certificate for spiffe://cluster.local/ns/full/sa/pod-"), "{line}");
    mesh.set(Mood::Willing);
    assert_eq!(logged(|| try_again(&mesh, 2)), ["INFO the certificate authority answers again"]);
    assert!(pods.iter().all(|pod| pod.valid_certificate().is_some()));
}

#[test]
fn refusals_that_last_are_told_once_and_so_is_their_end() {
    let mesh = Mesh::new();
    mesh.set(Mood::Unwilling);
    let _pods = pods(&mesh);
    assert!(logged(|| try_again(&mesh, 2)).is_empty(), "an authority may learn of a pod late");
    let lines = logged(|| try_again(&mesh, 8));
    let [line] = &lines[..] else { panic!("{lines:#?}") };
    assert!(line.starts_with("WARN an identity gets no certificate"), "{line}");
    mesh.set(Mood::Willing);
    let lines = logged(|| try_again(&mesh, 2));
    let [line] = &lines[..] else { panic!("{lines:#?}") };
    assert!(line.starts_with("INFO each identity gets its certificate again"), "{line}");
}

#[test]
fn a_report_says_until_when_certificates_hold_and_what_is_wrong() {
    let mesh = Mesh::new();
    let workload = mesh.workload("sleep");
    let start = mesh.clock.now();
    let report = || mesh.identities.report().remove(0);
    let fine = report();
    assert_eq!((fine.id, fine.held, fine.error), (id("sleep"), true, None));
    assert_eq!(fine.not_after, workload.certificate().map(|held| held.not_after()));
    assert!(fine.next_renewal > start + DAY / 2 - Duration::from_secs(1));

    mesh.set(Mood::Away);
    mesh.clock.advance(DAY / 2);
    let failed = mesh.clock.now();
    try_again(&mesh, 3);
    let failing = report();
    assert!(failing.held, "it still holds");
    assert_eq!(failing.failing_since, Some(failed));
    assert!(failing.error.unwrap().starts_with("cannot make a certificate for"));
    assert_eq!(failing.next_renewal, mesh.clock.now());

    mesh.clock.advance(DAY);
    assert!(!report().held);
    mesh.set(Mood::Unwilling);
    mesh.renew();
    let refused = report();
    assert_eq!(refused.failing_since, Some(mesh.clock.now()));
    assert!(refused.error.unwrap().starts_with("expected an identity of trust domain other.example"));
    assert_eq!(refused.next_renewal, mesh.clock.now() + Duration::from_secs(1));
    drop(workload);
    assert!(mesh.identities.report().is_empty());
}

#[tokio::test]
async fn nothing_that_is_logged_of_requests_holds_the_token_or_a_key() {
    const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.of-this-agent";
    let root = Arc::new(Signer::root("root"));
    let signer = root.clone();
    let mut ca = FakeCa::start(&root, move |asked| Some(Ok(vec![signer.sign(&asked.csr)]))).await;
    ca.set_token(TOKEN);
    let log = Log::default();
    let _logging = set_default(log.subscriber(Level::TRACE));
    let client = ca.client();
    let issue = async || client.issue(&id("sleep"), DAY, SystemTime::now()).await;
    issue().await.unwrap();
    ca.behave(|_| Some(Err(Status::permission_denied("no"))));
    issue().await.unwrap_err();
    ca.stop().await;
    issue().await.unwrap_err();
    let text = log.text();
    assert!(text.contains("TRACE"), "all is logged that can be");
    assert!(!text.contains(TOKEN) && !text.contains("PRIVATE"), "{text}");
}
