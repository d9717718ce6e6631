//! What is asked of an authority elsewhere, and every answer of its that must be refused.

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use proptest::prelude::*;
use prost_types::value::Kind;
use rcgen::{CertificateParams, CertificateSigningRequestParams, IsCa, KeyPair, SanType};
use time::OffsetDateTime;
use tonic::{Code, Status};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{
    fake_ca::{FakeCa, Signer},
    mesh::{DAY, Pair, TRUST_DOMAIN, id, pem},
};
use crate::identity::{
    Authority, CaClient, Certificate, Clock, Identities, IssueError, IssueFault, Issuer, SystemClock,
    ca_client::answer::check, istio_ca::IMPERSONATED_IDENTITY,
};

const HOUR: Duration = Duration::from_hours(1);

async fn issue(client: &CaClient) -> Result<Certificate, IssueError> {
    client.issue(&id("sleep"), DAY, SystemTime::now()).await
}

fn in_words(error: IssueError) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

#[tokio::test]
async fn a_request_says_what_it_must_and_no_more() {
    let root = Signer::root("root");
    let ca = FakeCa::start(&root, |_| Some(Err(Status::unavailable("")))).await;
    issue(&ca.client()).await.unwrap_err();
    let asked = ca.asked().await;
    assert_eq!(asked.authorization, "Bearer first");
    assert_eq!(asked.message.validity_duration, 86_400);
    let fields = asked.message.metadata.unwrap().fields;
    let identity = fields[IMPERSONATED_IDENTITY].kind.clone().unwrap();
    assert_eq!(identity, Kind::StringValue(id("sleep").to_string()));
    assert_eq!(fields.len(), 1);
    let csr = CertificateSigningRequestParams::from_pem(&asked.message.csr).unwrap();
    assert_eq!(csr.params.subject_alt_names, [SanType::URI(id("sleep").to_string().try_into().unwrap())]);
    assert_eq!(csr.params.distinguished_name.iter().count(), 0);
    assert_eq!(csr.public_key.algorithm(), &rcgen::PKCS_ECDSA_P256_SHA256);
}

#[tokio::test]
async fn workloads_know_each_other_by_what_it_signs() {
    let root = Signer::root("root");
    let intermediate = Signer::below(&root, "intermediate");
    let chain = (intermediate.pem.clone(), root.pem.clone());
    let ca = FakeCa::start(&root, move |asked| {
        Some(Ok(vec![intermediate.sign(&asked.csr), chain.0.clone() + &chain.1, chain.1.clone()]))
    })
    .await;
    let identities = Identities::new(ca.client(), DAY);
    let rotation = tokio::spawn(identities.clone().rotate());
    let (client, server) = (identities.workload(&id("sleep")), identities.workload(&id("httpbin")));
    client.ready().await;
    server.ready().await;
    let mut pair = Pair::connect(client.hbone_connector(server.id()), server.hbone_acceptor());
    assert_eq!(pair.peers(), (Ok(id("httpbin")), Ok(id("sleep"))));
    pair.assert_carries_both_ways();
    let shown = pair.client.connection.peer_certificates().unwrap().len();
    assert_eq!(shown, 2, "the leaf and the intermediate: peers have the root");
    rotation.abort();
}

#[tokio::test]
async fn the_certificate_says_how_long_it_lives() {
    let root = Arc::new(Signer::root("root"));
    let ca = FakeCa::start(&root, |_| None).await;
    let client = ca.client();
    for life in [Duration::from_secs(3), HOUR, 3650 * DAY] {
        let not_after = (OffsetDateTime::now_utc() + life).replace_nanosecond(0).unwrap();
        let signer = root.clone();
        ca.behave(move |asked| {
            Some(Ok(vec![signer.sign_with(&asked.csr, |params| params.not_after = not_after)]))
        });
        let certificate = issue(&client).await.unwrap();
        assert_eq!(certificate.not_after(), SystemTime::from(not_after));
        assert!(certificate.holds_at(SystemClock.now()));
    }
}

type Answer = Box<dyn Fn(&str) -> Vec<String> + Send + Sync>;

/// What is answered to a request, and a word that the refusal must have.
fn bad_answers(root: &Arc<Signer>) -> Vec<(&'static str, Answer, &'static str)> {
    let signed = |change: fn(&mut CertificateParams)| -> Answer {
        let signer = root.clone();
        Box::new(move |csr| vec![signer.sign_with(csr, change), signer.pem.clone()])
    };
    let foreign = Signer::root("foreign");
    let namesake = Signer::root("root");
    let (other_key, right, cut) = (root.clone(), root.clone(), root.clone());
    vec![
        (
            "another identity",
            signed(|params| params.subject_alt_names = vec![uri("httpbin")]),
            "sa/sleep, found",
        ),
        (
            "another trust domain",
            signed(|params| {
                let name = "spiffe://other.example/ns/full/sa/sleep";
                params.subject_alt_names = vec![SanType::URI(name.try_into().unwrap())];
            }),
            "other.example",
        ),
        (
            "two identities",
            signed(|params| params.subject_alt_names = vec![uri("sleep"), uri("httpbin")]),
            "exactly one URI",
        ),
        (
            "an authority",
            signed(|params| params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
            "CaUsedAsEndEntity",
        ),
        (
            "expired",
            signed(|params| {
                params.not_before = OffsetDateTime::now_utc() - 2 * HOUR;
                params.not_after = OffsetDateTime::now_utc() - HOUR;
            }),
            "expired",
        ),
        (
            "not yet valid",
            signed(|params| params.not_before = OffsetDateTime::now_utc() + HOUR),
            "not valid yet",
        ),
        ("for servers only", signed(|params| params.extended_key_usages.truncate(1)), "InvalidPurpose"),
        ("a foreign root", Box::new(move |csr| vec![foreign.sign(csr), foreign.pem.clone()]), "another's"),
        (
            "a root with our root's name",
            Box::new(move |csr| vec![namesake.sign(csr), namesake.pem.clone()]),
            "another's",
        ),
        (
            "another key",
            Box::new(move |_| {
                let key = KeyPair::generate().unwrap();
                let mut params = CertificateParams::default();
                params.subject_alt_names = vec![uri("sleep")];
                params.not_after = OffsetDateTime::now_utc() + HOUR;
                vec![params.signed_by(&key, &other_key.ca).unwrap().pem()]
            }),
            "found another key's",
        ),
        ("nothing", Box::new(|_| vec![]), "found none"),
        ("empty texts", Box::new(|_| vec![String::new(), "\n".into()]), "found none"),
        ("no PEM", Box::new(|_| vec!["certificate".into()]), "found none"),
        (
            "no base64",
            Box::new(|_| vec!["-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n".into()]),
            "in PEM",
        ),
        (
            "no X.509",
            Box::new(|_| vec!["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into()]),
            "unreadable",
        ),
        ("cut off", Box::new(move |csr| vec![cut.sign(csr).chars().take(300).collect()]), "in PEM"),
        ("endless", Box::new(move |csr| vec![right.sign(csr); 33]), "too long"),
        ("huge", Box::new(|_| vec!["x".repeat(1 << 20)]), "too long"),
    ]
}

fn uri(service_account: &str) -> SanType {
    SanType::URI(id(service_account).to_string().try_into().unwrap())
}

#[tokio::test]
async fn an_answer_that_is_not_what_was_asked_for_is_refused() {
    let root = Arc::new(Signer::root("root"));
    let ca = FakeCa::start(&root, |_| None).await;
    let client = ca.client();
    for (name, answer, word) in bad_answers(&root) {
        ca.behave(move |asked| Some(Ok(answer(&asked.csr))));
        let error = issue(&client).await.expect_err(name);
        assert_eq!(error.fault(), IssueFault::BadAnswer, "{name}");
        let words = in_words(error);
        assert!(words.contains(word) && words.contains("sa/sleep"), "{name}: {words}");
    }
    ca.behave(move |asked| Some(Ok(vec![root.sign(&asked.csr)])));
    issue(&client).await.unwrap();
    assert_eq!(ca.connections(), 1);
}

#[tokio::test]
async fn a_refusal_is_told_from_an_outage() {
    let root = Signer::root("root");
    let ca = FakeCa::start(&root, |_| None).await;
    let client = ca.client();
    for (code, fault) in [
        (Code::PermissionDenied, IssueFault::Refused),
        (Code::Unauthenticated, IssueFault::Refused),
        (Code::InvalidArgument, IssueFault::Refused),
        (Code::Unimplemented, IssueFault::Refused),
        (Code::Internal, IssueFault::Refused),
        (Code::Unavailable, IssueFault::Away),
        (Code::ResourceExhausted, IssueFault::Away),
        (Code::DeadlineExceeded, IssueFault::Away),
    ] {
        ca.behave(move |_| Some(Err(Status::new(code, "in\nits words".repeat(100)))));
        let error = issue(&client).await.unwrap_err();
        assert_eq!(error.fault(), fault, "{code:?}");
        let words = in_words(error);
        assert!(words.contains(r"in\nits words") && words.len() < 512, "{words}");
    }
    assert_eq!(ca.connections(), 1);
}

#[tokio::test]
async fn an_authority_may_ask_for_some_rest() {
    let root = Signer::root("root");
    let ca = FakeCa::start(&root, |_| {
        let mut busy = Status::resource_exhausted("too many");
        busy.metadata_mut().insert("grpc-retry-pushback-ms", "1500".parse().unwrap());
        Some(Err(busy))
    })
    .await;
    let error = issue(&ca.client()).await.unwrap_err();
    assert_eq!(error.pushback(), Some(Duration::from_millis(1500)));
}

#[tokio::test]
async fn the_token_is_read_for_each_request_and_never_printed() {
    let root = Signer::root("root");
    let ca = FakeCa::start(&root, |_| Some(Err(Status::permission_denied("no")))).await;
    let client = ca.client();
    for token in ["first", "second"] {
        ca.set_token(token);
        let error = issue(&client).await.unwrap_err();
        assert_eq!(ca.asked().await.authorization, format!("Bearer {token}"));
        assert!(!format!("{client:?} {error:?} {error}").contains(token));
    }
    for bad in ["", "two\nlines"] {
        ca.set_token(bad);
        let error = issue(&client).await.unwrap_err();
        assert_eq!(error.fault(), IssueFault::Away);
        assert!(in_words(error).contains(&ca.token().display().to_string()));
    }
}

proptest! {
    /// A chain that was tampered with is refused, or is what it was: nothing else, and no panic.
    #[test]
    fn no_text_is_taken_for_another_identity(at in any::<prop::sample::Index>(), cut in 0..40_usize, put in ".{0,40}") {
        let (authority, issued) = &*ISSUED;
        let (_, leaf) = X509Certificate::from_der(&issued.chain()[0]).unwrap();
        let mut text = pem(&issued.chain()[0]) + &pem(authority.root());
        let from = at.index(text.len());
        text.replace_range(from..text.len().min(from + cut), &put);
        let key = leaf.public_key().raw;
        if let Ok(answer) = check(&[text], &id("sleep"), key, &authority.trust(), SystemTime::now()) {
            prop_assert_eq!(&answer.chain[..1], issued.chain());
        }
    }
}

static ISSUED: LazyLock<(Authority, Certificate)> = LazyLock::new(|| {
    let authority = Authority::in_memory(TRUST_DOMAIN).unwrap();
    let issued = authority.issue(&id("sleep"), DAY, SystemTime::now()).unwrap();
    (authority, issued)
});
