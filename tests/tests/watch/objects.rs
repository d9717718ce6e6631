//! Objects that cannot be taken in.

use culvert::cluster::Subject;
use culvert_testbed::apiserver::ApiServer;

use crate::common::{Followed, PEER_AUTHENTICATIONS, pod, pod_key, policy, policy_key, server_with_pods};

const SERVER: [u8; 4] = [10, 0, 0, b's'];

/// A server with a pod `s` and a STRICT policy for it.
fn strict() -> ApiServer {
    let server = server_with_pods(&["s"]);
    server.apply(&policy("STRICT")).unwrap();
    server
}

fn is_strict(it: &Followed) -> bool {
    let index = it.cluster.read();
    let pod = index.pod_at(SERVER.into()).unwrap();
    index.admit_plaintext(&pod, 80).is_err()
}

#[tokio::test]
async fn a_change_that_does_not_decode_changes_nothing_that_was_in_force() {
    let it = Followed::synced(strict()).await;
    it.wait("policy", |it| it.has(&policy_key())).await;
    it.server.put_raw("peerauthentications", policy("STRIKT")).unwrap();
    it.wait_for_problems(1).await;
    assert!(is_strict(&it));
    let problem = &it.cluster.problems()[0];
    assert_eq!(problem.subject, Some(Subject::Object(policy_key())));
    let text = problem.to_string();
    assert!(text.starts_with("PeerAuthentication default/policy, spec.mtls.mode: "), "{text}");
    assert!(text.contains("STRIKT"), "{text}");

    it.server.put_raw("peerauthentications", policy("DISABLE")).unwrap();
    it.wait_for_problems(0).await;
    it.wait("change of mode", |it| !is_strict(it)).await;
}

#[tokio::test]
async fn a_list_with_an_object_that_does_not_decode_keeps_what_was_in_force() {
    let it = Followed::synced(strict()).await;
    it.server.put_raw("peerauthentications", policy("STRIKT")).unwrap();
    it.wait_for_problems(1).await;
    it.wait_for_watch("peerauthentications").await;
    let mut other = policy("PERMISSIVE");
    other["metadata"]["name"] = "zz".into();
    it.server.expire_watches("peerauthentications");
    it.server.apply(&other).unwrap();
    it.wait("second policy", |it| it.count(PEER_AUTHENTICATIONS) == 2).await;
    assert!(is_strict(&it));
    assert_eq!(it.cluster.problems().len(), 1);

    it.server.delete("peerauthentications", "default", "policy").unwrap();
    it.wait_for_problems(0).await;
    it.wait("end of the policy", |it| !is_strict(it)).await;
}

#[tokio::test]
async fn an_object_that_never_decoded_is_named_and_the_rest_of_the_list_counts() {
    let server = server_with_pods(&["a", "c"]);
    let mut broken = pod("b");
    broken["status"]["podIPs"][0]["ip"] = "10.0.0".into();
    server.put_raw("pods", broken).unwrap();
    let it = Followed::synced(server).await;
    it.wait_for_pods(&["a", "c"]).await;
    assert_eq!(it.cluster.problems()[0].subject, Some(Subject::Object(pod_key("b"))));

    it.server.put_raw("pods", pod("b")).unwrap();
    it.wait_for_pods(&["a", "b", "c"]).await;
    it.wait_for_problems(0).await;
}
