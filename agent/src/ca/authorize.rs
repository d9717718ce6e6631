//! Which identity a caller may have.

use culvert_policy::SpiffeId;
use prost_types::{Struct, value::Kind};

use super::{
    Account, CaOptions,
    caller::Caller,
    pods::Pods,
    refusal::{Refusal, Unnamed},
};
use crate::identity::istio_ca::IMPERSONATED_IDENTITY;

/// The identity that is asked for: the one that the metadata names, or the caller's own.
pub(super) fn asked(
    caller: &Caller,
    metadata: Option<&Struct>,
    trust_domain: &str,
) -> Result<SpiffeId, Refusal> {
    let own = || SpiffeId::new(trust_domain, &caller.account.namespace, &caller.account.name);
    let asked = impersonated(metadata)?.unwrap_or_else(own);
    if *asked.trust_domain != *trust_domain {
        return Err(Refusal::ForeignTrustDomain { expected: trust_domain.to_owned(), found: asked });
    }
    Ok(asked)
}

fn impersonated(metadata: Option<&Struct>) -> Result<Option<SpiffeId>, Unnamed> {
    let Some(value) = metadata.and_then(|metadata| metadata.fields.get(IMPERSONATED_IDENTITY)) else {
        return Ok(None);
    };
    match &value.kind {
        Some(Kind::StringValue(id)) if id.is_empty() => Ok(None),
        Some(Kind::StringValue(id)) => Ok(Some(id.parse()?)),
        _ => Err(Unnamed::NotAString),
    }
}

/// Whether the caller may have it: an agent if a pod with this identity is on its node, anybody else if it is its own.
pub(super) async fn allow(
    caller: &Caller,
    asked: &SpiffeId,
    options: &CaOptions,
    pods: &Pods,
) -> Result<(), Refusal> {
    let account = Account { namespace: asked.namespace.to_string(), name: asked.service_account.to_string() };
    if caller.account != options.agent_account {
        return own(caller, &account, asked);
    }
    let node = node(caller, pods).await?;
    if pods.has(&node, &account).await? {
        return Ok(());
    }
    Err(Refusal::NotOnNode { asked: asked.clone(), node })
}

fn own(caller: &Caller, account: &Account, asked: &SpiffeId) -> Result<(), Refusal> {
    if caller.account == *account {
        return Ok(());
    }
    Err(Refusal::NotOwn { caller: caller.account.clone(), asked: asked.clone() })
}

/// Kubernetes before 1.30 names the pod in a bound token, but not its node.
async fn node(caller: &Caller, pods: &Pods) -> Result<String, Refusal> {
    if let Some(node) = &caller.node {
        return Ok(node.clone());
    }
    let no_node = || Refusal::NoNode { caller: caller.account.clone() };
    let pod = caller.pod.as_ref().ok_or_else(no_node)?;
    pods.node_of(&caller.account.namespace, pod).await?.ok_or_else(no_node)
}

#[cfg(test)]
mod tests {
    use prost_types::Value;

    use super::*;

    fn caller() -> Caller {
        Caller { account: Account { namespace: "full".into(), name: "sleep".into() }, pod: None, node: None }
    }

    fn naming(kind: Kind) -> Struct {
        let fields = [(IMPERSONATED_IDENTITY.to_owned(), Value { kind: Some(kind) })];
        Struct { fields: fields.into() }
    }

    fn asked_for(kind: Kind) -> Result<String, String> {
        let asked = asked(&caller(), Some(&naming(kind)), "cluster.local");
        asked.map(|id| id.to_string()).map_err(|refusal| format!("{refusal:?}"))
    }

    #[test]
    fn who_names_nobody_asks_for_itself() {
        let own = "spiffe://cluster.local/ns/full/sa/sleep";
        assert_eq!(asked(&caller(), None, "cluster.local").unwrap().to_string(), own);
        assert_eq!(asked(&caller(), Some(&Struct::default()), "cluster.local").unwrap().to_string(), own);
        assert_eq!(asked_for(Kind::StringValue(String::new())).unwrap(), own);
    }

    #[test]
    fn the_metadata_names_whom_an_agent_asks_for() {
        let httpbin = "spiffe://cluster.local/ns/full/sa/httpbin";
        assert_eq!(asked_for(Kind::StringValue(httpbin.to_owned())).unwrap(), httpbin);
    }

    #[test]
    fn what_names_no_workload_of_the_mesh_is_refused() {
        let fault = asked_for(Kind::BoolValue(true)).unwrap_err();
        assert!(fault.contains("NotAString"), "{fault}");
        let fault = asked_for(Kind::StringValue("spiffe://cluster.local".to_owned())).unwrap_err();
        assert!(fault.contains("NotAnIdentity"), "{fault}");
        let foreign = "spiffe://elsewhere.example/ns/full/sa/sleep";
        let fault = asked_for(Kind::StringValue(foreign.to_owned())).unwrap_err();
        assert!(fault.contains("ForeignTrustDomain"), "{fault}");
    }
}
