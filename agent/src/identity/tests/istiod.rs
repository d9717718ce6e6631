//! istiod in the place of Culvert's own authority: its chains, its keys, and its words when it refuses.
//!
//! As in istio/istio, `security/pkg/server/ca/server.go`.

use std::sync::Arc;

use rcgen::{KeyPair, PKCS_RSA_SHA256, SanType};
use tonic::{Code, Status};

use super::{
    fake_ca::{FakeCa, PATIENCE, Signer},
    mesh::{DAY, Pair, id},
};
use crate::identity::{Clock, Identities, IssueFault, Issuer, SystemClock};

/// The chain behind a leaf, as one text or several.
type Behind = Vec<String>;

/// Whether two workloads that got their certificates with `behind` know each other, and how many certificates they show.
async fn shown_with(root: &Signer, signer: Arc<Signer>, behind: Behind) -> usize {
    let ca = FakeCa::start(root, move |asked| {
        let leaf = signer.sign(&asked.csr);
        Some(Ok([vec![leaf], behind.clone()].concat()))
    })
    .await;
    let identities = Identities::new(ca.client(), DAY);
    let rotation = tokio::spawn(identities.clone().rotate());
    let (client, server) = (identities.workload(&id("sleep")), identities.workload(&id("httpbin")));
    for workload in [&client, &server] {
        tokio::time::timeout(PATIENCE, workload.ready()).await.expect("a certificate");
    }
    let pair = Pair::connect(client.hbone_connector(server.id()), server.hbone_acceptor());
    rotation.abort();
    assert_eq!(pair.peers(), (Ok(id("httpbin")), Ok(id("sleep"))));
    pair.client.connection.peer_certificates().unwrap().len()
}

#[tokio::test]
async fn a_self_signed_istiod_may_have_an_rsa_key() {
    let root = Arc::new(Signer::root_with("istiod", KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap()));
    let behind = vec![format!("{}\n", root.pem)];
    assert_eq!(shown_with(&root, root.clone(), behind).await, 1);
}

#[tokio::test]
async fn the_chain_behind_the_leaf_may_come_in_any_order_and_in_any_pieces() {
    let root = Signer::root("root");
    let upper = Signer::below(&root, "upper");
    let lower = Arc::new(Signer::below(&upper, "lower"));
    let next_root = Signer::root("next root");
    let (root_pem, upper_pem, lower_pem) = (root.pem.clone(), upper.pem.clone(), lower.pem.clone());
    let orders = [
        vec![lower_pem.clone(), upper_pem.clone(), root_pem.clone()],
        vec![upper_pem.clone(), lower_pem.clone()],
        vec![root_pem.clone(), upper_pem.clone(), lower_pem.clone()],
        vec![lower_pem.clone() + &upper_pem + &root_pem],
        vec![
            lower_pem.clone() + "\n# the upper one\n" + &upper_pem,
            String::new(),
            root_pem + &next_root.pem,
        ],
    ];
    for order in orders {
        assert_eq!(shown_with(&root, lower.clone(), order.clone()).await, 3, "{order:#?}");
    }
}

#[tokio::test]
async fn istiod_is_known_by_the_name_of_its_service_and_by_a_file_of_roots() {
    let root = Arc::new(Signer::root("root"));
    let signer = root.clone();
    let names = ["istiod.istio-system.svc", "localhost"];
    let names = names.map(|name| SanType::DnsName(name.try_into().unwrap()));
    let ca = FakeCa::named(&root, &names, move |asked| Some(Ok(vec![signer.sign(&asked.csr)]))).await;
    let other = Signer::root("other");
    ca.trust(&format!("{}{}", other.pem, root.pem));
    let client = ca.client_at(&format!("localhost:{}", ca.address.port()), PATIENCE);
    client.issue(&id("sleep"), DAY, SystemClock.now()).await.unwrap();
}

/// Where istiod does not believe the caller, and where it does not let it ask for this identity, it says the same: so it
/// is one identity that waits, and the others go on.
#[tokio::test]
async fn what_istiod_refuses_concerns_one_identity() {
    let root = Arc::new(Signer::root("root"));
    let ca = FakeCa::start(&root, |_| None).await;
    let client = ca.client();
    for (code, words) in [
        (Code::Unauthenticated, "request authenticate failure"),
        (Code::Unauthenticated, "request impersonation authentication failure"),
        (Code::InvalidArgument, "CSR signing error (the requested TTL is greater than the max allowed TTL)"),
        (Code::Internal, "CSR signing error (the CA is not ready)"),
    ] {
        ca.behave(move |_| Some(Err(Status::new(code, words))));
        let error = client.issue(&id("sleep"), DAY, SystemClock.now()).await.unwrap_err();
        assert_eq!(error.fault(), IssueFault::Refused, "{words}");
        assert!(error.to_string().contains(words), "{error}");
    }
    assert_eq!(ca.connections(), 1);
}
