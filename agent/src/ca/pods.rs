//! Which service accounts have a pod on a node.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ListParams};
use tokio::{
    sync::Mutex as AsyncMutex,
    time::{Instant, timeout},
};

use super::{
    Account,
    caller::{BoundPod, PATIENCE},
    refusal::Refusal,
};

/// For how long a list answers for the pods that are on it: an agent asks for many certificates in a row.
const BELIEVED: Duration = Duration::from_secs(1);
/// How many nodes' lists are kept.
const REMEMBERED: usize = 1024;

/// Asks the API server about pods.
pub(super) struct Pods {
    client: Client,
    nodes: Mutex<HashMap<String, Slot>>,
}

/// The newest list of one node. Who waits for it here need not ask again.
type Slot = Arc<AsyncMutex<Option<Listed>>>;

struct Listed {
    /// When it was asked for: it is at least as new as this.
    asked: Instant,
    accounts: HashSet<Account>,
}

impl Pods {
    pub(super) fn new(client: Client) -> Self {
        Self { client, nodes: Mutex::default() }
    }

    /// Whether a pod of `account` that has not ended is on `node`. That it is not is said only by a list that was made
    /// for this question: the pod may be newer than any other.
    pub(super) async fn has(&self, node: &str, account: &Account) -> Result<bool, Refusal> {
        let asked = Instant::now();
        let slot = self.slot(node);
        let mut newest = slot.lock().await;
        if let Some(found) = newest.as_ref().and_then(|listed| listed.answer(account, asked, Instant::now()))
        {
            return Ok(found);
        }
        let listed = Listed { asked: Instant::now(), accounts: self.list(node).await? };
        Ok(newest.insert(listed).accounts.contains(account))
    }

    /// The node that a pod is on.
    pub(super) async fn node_of(&self, namespace: &str, pod: &BoundPod) -> Result<Option<String>, Refusal> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let found = ask(api.get_opt(&pod.name)).await?;
        let found = found.filter(|found| found.metadata.uid.as_ref() == Some(&pod.uid));
        Ok(found.and_then(|found| found.spec?.node_name))
    }

    fn slot(&self, node: &str) -> Slot {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if nodes.len() >= REMEMBERED && !nodes.contains_key(node) {
            nodes.retain(|_, slot| in_use(slot));
        }
        nodes.entry(node.to_owned()).or_default().clone()
    }

    async fn list(&self, node: &str) -> Result<HashSet<Account>, Refusal> {
        let api: Api<Pod> = Api::all(self.client.clone());
        let params = ListParams::default().fields(&format!("spec.nodeName={node}"));
        let pods = ask(api.list(&params)).await?;
        Ok(pods.items.into_iter().filter_map(account_of).collect())
    }
}

impl Listed {
    /// What this list may say at `now` to somebody who asked at `asked`.
    fn answer(&self, account: &Account, asked: Instant, now: Instant) -> Option<bool> {
        let found = self.accounts.contains(account);
        let is_fresh = asked <= self.asked;
        (is_fresh || found && now < self.asked + BELIEVED).then_some(found)
    }
}

/// Somebody waits for it, or it can still answer.
fn in_use(slot: &Slot) -> bool {
    let Ok(listed) = slot.try_lock() else { return true };
    listed.as_ref().is_none_or(|listed| listed.asked.elapsed() < BELIEVED)
}

/// The service account of a pod that has not ended.
fn account_of(pod: Pod) -> Option<Account> {
    let phase = pod.status.and_then(|status| status.phase);
    if phase.is_some_and(|phase| matches!(phase.as_str(), "Succeeded" | "Failed")) {
        return None;
    }
    let name = pod.spec?.service_account_name?;
    Some(Account { namespace: pod.metadata.namespace?, name })
}

async fn ask<T>(answer: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Refusal> {
    let answer = timeout(PATIENCE, answer).await.map_err(|_| Refusal::ApiServer(None))?;
    answer.map_err(|source| Refusal::ApiServer(Some(Box::new(source))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(phase: Option<&str>, account: Option<&str>) -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"namespace": "full", "name": "sleep-1"},
            "spec": {"containers": [], "serviceAccountName": account},
            "status": {"phase": phase},
        }))
        .unwrap()
    }

    #[test]
    fn a_pod_that_has_ended_lends_its_identity_to_nobody() {
        let sleep = Some(Account { namespace: "full".into(), name: "sleep".into() });
        for phase in [None, Some("Pending"), Some("Running"), Some("Unknown")] {
            assert_eq!(account_of(pod(phase, Some("sleep"))), sleep, "{phase:?}");
        }
        for phase in ["Succeeded", "Failed"] {
            assert_eq!(account_of(pod(Some(phase), Some("sleep"))), None, "{phase}");
        }
        assert_eq!(account_of(pod(Some("Running"), None)), None);
    }

    #[test]
    fn a_list_says_no_only_to_those_who_asked_before_it_was_made() {
        let account = |name: &str| Account { namespace: "full".into(), name: name.into() };
        let made = Instant::now();
        let listed = Listed { asked: made, accounts: [account("sleep")].into() };
        let before = made.checked_sub(Duration::from_millis(1)).unwrap();
        let after = made + Duration::from_millis(1);
        assert_eq!(listed.answer(&account("httpbin"), before, after), Some(false));
        assert_eq!(listed.answer(&account("httpbin"), after, after), None);
        assert_eq!(listed.answer(&account("sleep"), after, after), Some(true));
        assert_eq!(listed.answer(&account("sleep"), after, made + BELIEVED), None);
    }
}
