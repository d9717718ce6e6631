//! Every certificate that must be refused, on both sides, and what each side makes of it.

use std::{sync::Arc, time::Duration};

use culvert_policy::Reason;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::{
    ClientConfig, ServerConfig, SignatureScheme,
    client::ResolvesClientCert,
    crypto::aws_lc_rs::sign::any_ecdsa_type,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{ClientHello, ResolvesServerCert},
    sign::{CertifiedKey, SingleCertAndKey},
};
use tempfile::TempDir;
use time::OffsetDateTime;

use super::mesh::{DAY, Pair, TRUST_DOMAIN, id};
use crate::identity::{
    Authority, Identities, SystemClock, Trust, Workload, tls, tls_detail,
    verifier::{AnyWorkload, OneWorkload},
};

/// A mesh whose authority's key the test holds too.
struct Mesh {
    ca: Issuer<'static, KeyPair>,
    trust: Arc<Trust>,
    identities: Identities,
    _dir: TempDir,
}

impl Mesh {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::in_dir(dir.path(), TRUST_DOMAIN).unwrap();
        let read = |name| std::fs::read_to_string(dir.path().join(name)).unwrap();
        let key = KeyPair::from_pem(&read("ca.key")).unwrap();
        let ca = Issuer::from_ca_cert_pem(&read("ca.pem"), key).unwrap();
        Self { ca, trust: authority.trust(), identities: Identities::new(authority, DAY), _dir: dir }
    }

    fn workload(&self, service_account: &str) -> Arc<Workload> {
        self.identities.ready_workload(&id(service_account))
    }

    /// A client that shows `certificate` and would accept our server `httpbin`.
    fn client(&self, certificate: Arc<dyn ResolvesClientCert>) -> Arc<ClientConfig> {
        let verifier = OneWorkload { trust: self.trust.clone(), expected: id("httpbin") };
        Arc::new(tls::client_config(Arc::new(SystemClock), Arc::new(verifier), certificate, tls::ALPN_HBONE))
    }

    /// A server that shows `certificate` and would accept our clients.
    fn server(&self, certificate: Arc<dyn ResolvesServerCert>) -> Arc<ServerConfig> {
        let verifier = AnyWorkload(self.trust.clone());
        Arc::new(tls::server_config(Arc::new(SystemClock), Arc::new(verifier), certificate, tls::ALPN_HBONE))
    }
}

fn good() -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![uri(&id("httpbin").to_string())];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = now - Duration::from_hours(1);
    params.not_after = now + Duration::from_hours(1);
    params
}

fn with(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = good();
    change(&mut params);
    params
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn foreign_ca(common_name: &str) -> Issuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, TRUST_DOMAIN);
    params.distinguished_name.push(DnType::CommonName, common_name);
    Issuer::new(params, KeyPair::generate().unwrap())
}

fn signed(ca: &Issuer<'_, KeyPair>, params: &CertificateParams) -> Arc<SingleCertAndKey> {
    let key = KeyPair::generate().unwrap();
    shown(params.signed_by(&key, ca).unwrap(), &key)
}

fn self_signed(params: &CertificateParams) -> Arc<SingleCertAndKey> {
    let key = KeyPair::generate().unwrap();
    shown(params.self_signed(&key).unwrap(), &key)
}

fn shown(certificate: rcgen::Certificate, key: &KeyPair) -> Arc<SingleCertAndKey> {
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialized_der()));
    let key = any_ecdsa_type(&der).unwrap();
    Arc::new(CertifiedKey::new(vec![certificate.into()], key).into())
}

type Row = (&'static str, Arc<SingleCertAndKey>, Reason, &'static str);

/// What is shown, what the side that sees it says, and a word that its log must have.
fn impostors(ca: &Issuer<'static, KeyPair>) -> Vec<Row> {
    let now = OffsetDateTime::now_utc();
    let hour = Duration::from_hours(1);
    let sans = |names: Vec<SanType>| signed(ca, &with(|params| params.subject_alt_names = names));
    let httpbin = || uri(&id("httpbin").to_string());
    let dns = || SanType::DnsName("httpbin.full.svc".try_into().unwrap());
    let foreign = "spiffe://other.example/ns/full/sa/httpbin";
    vec![
        ("foreign CA", signed(&foreign_ca("Other"), &good()), Reason::ForeignCa, "a trusted root"),
        (
            "foreign CA with our name",
            signed(&foreign_ca("Culvert root"), &good()),
            Reason::ForeignCa,
            "a trusted root",
        ),
        ("self-signed", self_signed(&good()), Reason::ForeignCa, "a trusted root"),
        ("foreign trust domain", sans(vec![uri(foreign)]), Reason::ForeignTrustDomain, foreign),
        (
            "foreign CA and trust domain",
            signed(&foreign_ca("Other"), &with(|params| params.subject_alt_names = vec![uri(foreign)])),
            Reason::ForeignCa,
            "a trusted root",
        ),
        (
            "expired",
            signed(ca, &with(|params| params.not_after = now - hour / 2)),
            Reason::CertificateExpired,
            "expired",
        ),
        (
            "not yet valid",
            signed(ca, &with(|params| params.not_before = now + hour / 2)),
            Reason::CertificateExpired,
            "not valid yet",
        ),
        ("no name", sans(vec![]), Reason::BadCertificate, "exactly one URI"),
        ("DNS name only", sans(vec![dns()]), Reason::BadCertificate, "exactly one URI"),
        ("two URIs", sans(vec![httpbin(), uri(foreign)]), Reason::BadCertificate, "exactly one URI"),
        ("the same URI twice", sans(vec![httpbin(), httpbin()]), Reason::BadCertificate, "exactly one URI"),
        (
            "no workload",
            sans(vec![uri("spiffe://cluster.local")]),
            Reason::BadCertificate,
            "found \"spiffe://",
        ),
        (
            "an authority",
            signed(ca, &with(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))),
            Reason::BadCertificate,
            "CaUsedAsEndEntity",
        ),
        (
            "a key that signs certificates",
            signed(ca, &with(|params| params.key_usages.push(KeyUsagePurpose::KeyCertSign))),
            Reason::BadCertificate,
            "digital signatures",
        ),
        (
            "another purpose",
            signed(
                ca,
                &with(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]),
            ),
            Reason::BadCertificate,
            "InvalidPurpose",
        ),
    ]
}

#[test]
fn the_good_certificate_is_accepted() {
    let mesh = Mesh::new();
    let good = signed(&mesh.ca, &good());
    let server =
        Pair::connect(mesh.workload("sleep").hbone_connector(&id("httpbin")), mesh.server(good.clone()));
    assert_eq!(server.peers(), (Ok(id("httpbin")), Ok(id("sleep"))));
    let client = Pair::connect(mesh.client(good), mesh.workload("httpbin").hbone_acceptor());
    assert_eq!(client.peers(), (Ok(id("httpbin")), Ok(id("httpbin"))));
}

#[test]
fn a_name_beside_the_uri_does_no_harm() {
    let mesh = Mesh::new();
    let names =
        vec![SanType::DnsName("httpbin.full.svc".try_into().unwrap()), uri(&id("httpbin").to_string())];
    let certificate = signed(&mesh.ca, &with(|params| params.subject_alt_names = names));
    let pair = Pair::connect(mesh.client(certificate), mesh.workload("httpbin").hbone_acceptor());
    assert_eq!(pair.peers().1, Ok(id("httpbin")));
}

#[test]
fn clients_refuse_impostors() {
    let mesh = Mesh::new();
    let connector = mesh.workload("sleep").hbone_connector(&id("httpbin"));
    for (name, certificate, reason, word) in impostors(&mesh.ca) {
        let pair = Pair::connect(connector.clone(), mesh.server(certificate));
        assert_eq!(pair.peers(), (Err(reason), Err(Reason::RefusedByPeer)), "{name}");
        let detail = tls_detail(&pair.client.fault.unwrap());
        assert!(detail.contains(word), "{name}: {detail}");
    }
}

#[test]
fn servers_refuse_impostors() {
    let mesh = Mesh::new();
    let acceptor = mesh.workload("httpbin").hbone_acceptor();
    for (name, certificate, reason, word) in impostors(&mesh.ca) {
        let pair = Pair::connect(mesh.client(certificate), acceptor.clone());
        assert_eq!(pair.peers(), (Err(Reason::RefusedByPeer), Err(reason)), "{name}");
        let detail = tls_detail(&pair.server.fault.unwrap());
        assert!(detail.contains(word), "{name}: {detail}");
    }
}

#[test]
fn a_client_refuses_another_workload() {
    let mesh = Mesh::new();
    let connector = mesh.workload("sleep").hbone_connector(&id("httpbin"));
    let pair = Pair::connect(connector, mesh.workload("other").hbone_acceptor());
    assert_eq!(pair.peers(), (Err(Reason::WrongIdentity), Err(Reason::RefusedByPeer)));
    assert_eq!(
        tls_detail(&pair.client.fault.unwrap()),
        "expected spiffe://cluster.local/ns/full/sa/httpbin, \
         found spiffe://cluster.local/ns/full/sa/other"
    );
}

#[test]
fn a_certificate_without_its_key_proves_nothing() {
    let mesh = Mesh::new();
    let (owned, stolen) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let certificate = shown(good().signed_by(&stolen, &mesh.ca).unwrap(), &owned);
    let as_client =
        Pair::connect(mesh.client(certificate.clone()), mesh.workload("httpbin").hbone_acceptor());
    assert_eq!(as_client.peers(), (Err(Reason::HandshakeFailed), Err(Reason::BadCertificate)));
    let as_server =
        Pair::connect(mesh.workload("sleep").hbone_connector(&id("httpbin")), mesh.server(certificate));
    assert_eq!(as_server.peers(), (Err(Reason::BadCertificate), Err(Reason::HandshakeFailed)));
}

#[test]
fn whoever_shows_nothing_is_refused() {
    let mesh = Mesh::new();
    let client = Pair::connect(mesh.client(Arc::new(Nothing)), mesh.workload("httpbin").hbone_acceptor());
    assert_eq!(client.peers(), (Err(Reason::NoCertificate), Err(Reason::NoPeerCertificate)));
    let connector = mesh.workload("sleep").hbone_connector(&id("httpbin"));
    let server = Pair::connect(connector, mesh.server(Arc::new(Nothing)));
    assert_eq!(server.peers(), (Err(Reason::RefusedByPeer), Err(Reason::NoCertificate)));
}

#[derive(Debug)]
struct Nothing;

impl ResolvesClientCert for Nothing {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

impl ResolvesServerCert for Nothing {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}
