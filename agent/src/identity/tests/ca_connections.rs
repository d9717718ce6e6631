//! The way to an authority: who it must be, what happens when it is not there, and how many ask it at once.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use culvert_policy::SpiffeId;
use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use rcgen::SanType;
use tokio::{io::AsyncWriteExt, net::TcpListener, time::timeout};

use super::{
    fake_ca::{FakeCa, PATIENCE, Signer},
    mesh::{DAY, id},
};
use crate::identity::{CaClient, Certificate, Identities, IssueError, IssueFault, Issuer, Trust};

/// Long enough for anybody who answers; whoever never does is late after any time.
const SHORT: Duration = Duration::from_millis(300);

async fn issue(client: &CaClient) -> Result<Certificate, IssueError> {
    client.issue(&id("sleep"), DAY, SystemTime::now()).await
}

/// Why nothing came of a request, which must not be laid at the identity.
async fn outage(client: &CaClient) -> String {
    let error = issue(client).await.expect_err("no certificate");
    assert_eq!(error.fault(), IssueFault::Away);
    format!("{:#}", anyhow::Error::from(error))
}

async fn good(root: &Arc<Signer>) -> FakeCa {
    let signer = root.clone();
    FakeCa::start(root, move |asked| Some(Ok(vec![signer.sign(&asked.csr)]))).await
}

#[tokio::test]
async fn the_server_must_have_the_name_that_it_is_asked_by() {
    let root = Signer::root("root");
    let localhost = SanType::DnsName("localhost".try_into().unwrap());
    let ca = FakeCa::named(&root, &[localhost], |_| None).await;
    let words = outage(&ca.client()).await;
    assert!(words.contains("cannot reach the certificate authority at 127.0.0.1:"), "{words}");
    assert!(words.contains("not valid for name"), "{words}");
    let by_name = ca.client_at(&format!("localhost:{}", ca.address.port()), SHORT);
    assert!(outage(&by_name).await.contains("did not answer within"), "its name is right");
}

#[tokio::test]
async fn the_server_must_chain_to_a_root_that_is_trusted_by_now() {
    let (old, new) = (Arc::new(Signer::root("old")), Signer::root("new"));
    let ca = good(&old).await;
    let client = ca.client();
    issue(&client).await.unwrap();
    for (trusted, accepted) in [
        (new.pem.clone(), false),
        (new.pem.clone() + &old.pem, true),
        (new.pem.clone(), false),
        (old.pem.clone(), true),
    ] {
        ca.trust(&trusted);
        assert!(client.follow().now_or_never().is_none(), "it looks at once, and then for ever");
        match issue(&client).await {
            Ok(_) => assert!(accepted),
            Err(error) => {
                assert!(!accepted, "{error}");
                assert!(format!("{:#}", anyhow::Error::from(error)).contains("UnknownIssuer"));
            }
        }
    }
}

#[tokio::test]
async fn without_a_root_nobody_is_asked() {
    let root = Arc::new(Signer::root("root"));
    let ca = good(&root).await;
    ca.trust("");
    let client = ca.client();
    assert!(outage(&client).await.starts_with("no root is trusted yet"));
    assert_eq!(ca.connections(), 0);
    assert!(client.trust().problem().is_some());
}

#[tokio::test]
async fn a_server_that_never_answers_costs_a_while_and_its_connection() {
    let root = Arc::new(Signer::root("root"));
    let ca = good(&root).await;
    ca.behave(|_| None);
    let client = ca.client_at(&ca.address.to_string(), SHORT);
    assert!(outage(&client).await.ends_with("did not answer within 300ms"));
    let client = ca.client();
    ca.behave(move |asked| Some(Ok(vec![root.sign(&asked.csr)])));
    issue(&client).await.unwrap();
    assert_eq!(ca.connections(), 2);
}

#[tokio::test]
async fn what_is_no_authority_is_an_outage() {
    let root = Arc::new(Signer::root("root"));
    let ca = good(&root).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let silent = ca.client_at(&address, SHORT);
    assert!(outage(&silent).await.contains("did not answer within"));
    let stranger = tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            // It may be gone already.
            let _ = tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let words = outage(&ca.client_at(&address, PATIENCE)).await;
    assert!(words.starts_with(&format!("cannot reach the certificate authority at {address}: ")), "{words}");
    stranger.abort();
    let _ = stranger.await;
    let words = outage(&ca.client_at(&address, PATIENCE)).await;
    assert!(words.contains("refused"), "{words}");
    let words = outage(&ca.client_at("no-such-host.invalid:15012", PATIENCE)).await;
    assert!(words.contains("at no-such-host.invalid:15012: "), "{words}");
}

#[tokio::test]
async fn requests_share_a_connection_and_outlive_it() {
    let root = Arc::new(Signer::root("root"));
    let mut ca = good(&root).await;
    let client = ca.client();
    for result in join_all([(); 8].map(|()| issue(&client))).await {
        result.unwrap();
    }
    assert_eq!(ca.connections(), 1);
    ca.stop().await;
    outage(&client).await;
    ca.resume().await;
    issue(&client).await.unwrap();
    assert_eq!(ca.connections(), 2);
}

#[tokio::test]
async fn many_pods_are_served_soon_and_ask_a_few_at_a_time() {
    let root = Arc::new(Signer::root("root"));
    let ca = good(&root).await;
    let counted =
        Arc::new(Counted { client: ca.client(), now: AtomicUsize::new(0), most: AtomicUsize::new(0) });
    let identities = Identities::new(Shared(counted.clone()), DAY);
    let rotation = tokio::spawn(identities.clone().rotate());
    let pods: Vec<_> = (0..110).map(|pod| identities.workload(&id(&format!("pod-{}", pod % 100)))).collect();
    timeout(PATIENCE, join_all(pods.iter().map(|pod| pod.ready()))).await.unwrap();
    rotation.abort();
    assert_eq!(counted.most.load(Ordering::Relaxed), 8);
    let mut asked = HashSet::new();
    for _ in 0..100 {
        assert!(asked.insert(ca.asked().await.message.csr));
    }
    assert_eq!(*identities.changed().borrow(), 100, "service accounts, not pods");
    assert_eq!(ca.connections(), 1);
    assert!(identities.report().iter().all(|report| report.held && report.error.is_none()));
}

/// Counts the requests that are on their way.
#[derive(Debug)]
struct Counted {
    client: CaClient,
    now: AtomicUsize,
    most: AtomicUsize,
}

#[derive(Debug)]
struct Shared(Arc<Counted>);

impl Issuer for Shared {
    fn issue<'a>(
        &'a self,
        id: &'a SpiffeId,
        lifetime: Duration,
        now: SystemTime,
    ) -> BoxFuture<'a, Result<Certificate, IssueError>> {
        Box::pin(async move {
            let counted = &self.0;
            counted.most.fetch_max(counted.now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            let issued = counted.client.issue(id, lifetime, now).await;
            counted.now.fetch_sub(1, Ordering::Relaxed);
            issued
        })
    }

    fn trust(&self) -> Arc<Trust> {
        self.0.client.trust()
    }
}
