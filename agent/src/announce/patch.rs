//! One patch, asked of the API server.

use std::time::Duration;

use culvert_policy::CAPTURED;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Error,
    api::{Patch as Body, PatchParams},
    core::Status,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::plan::{Outcome, Patch};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes the annotation through the status subresource, which is the lesser right: it cannot change what runs
/// (`podStatusStrategy`, pkg/registry/core/pod). With an outcome that is a failure comes what was said of it.
pub(super) async fn apply(client: Client, patch: &Patch) -> (Outcome, Option<String>) {
    let pods: Api<Pod> = Api::namespaced(client, &patch.id.pod.namespace);
    let body = Body::Merge(body(patch));
    match timeout(PATIENCE, pods.patch_status(&patch.id.pod.name, &PatchParams::default(), &body)).await {
        Ok(Ok(_)) => (Outcome::Written, None),
        Ok(Err(error)) => (outcome(&error), Some(error.to_string())),
        Err(_) => (Outcome::Away(None), Some(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

/// The UID is a precondition: another pod of that name is not touched.
fn body(patch: &Patch) -> Value {
    let value = patch.captured.then_some("true");
    json!({ "metadata": { "uid": &*patch.id.uid, "annotations": { CAPTURED: value } } })
}

fn outcome(error: &Error) -> Outcome {
    let Error::Api(status) = error else {
        return Outcome::Away(None);
    };
    let asked = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    match status.code {
        404 | 409 => Outcome::Gone,
        422 if is_another_pod(status) => Outcome::Gone,
        401 | 408 | 429 | 500.. => Outcome::Away((asked > 0).then(|| Duration::from_secs(u64::from(asked)))),
        _ => Outcome::Refused,
    }
}

/// A patch that names another UID is taken for an attempt to change it (`ValidateObjectMetaAccessorUpdate`,
/// k8s.io/apimachinery).
fn is_another_pod(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.field == "metadata.uid")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{announce::plan::PodId, cluster::PodRef};

    #[test]
    fn a_patch_names_the_pod_by_its_uid_and_says_one_thing() {
        let id = PodId { pod: PodRef::new("full", "sleep"), uid: "1-2".into() };
        for (captured, value) in [(true, json!("true")), (false, json!(null))] {
            let expected =
                json!({ "metadata": { "uid": "1-2", "annotations": { "culvert.io/captured": value } } });
            assert_eq!(body(&Patch { id: id.clone(), captured }), expected);
        }
    }

    #[test]
    fn each_answer_has_its_outcome() {
        for (code, expected) in [
            (403, Outcome::Refused),
            (422, Outcome::Refused),
            (404, Outcome::Gone),
            (409, Outcome::Gone),
            (401, Outcome::Away(None)),
            (429, Outcome::Away(None)),
            (500, Outcome::Away(None)),
            (503, Outcome::Away(None)),
        ] {
            let status = Status::failure("", "").with_code(code);
            assert_eq!(outcome(&Error::Api(status.boxed())), expected, "{code}");
        }
    }

    #[test]
    fn a_uid_that_cannot_be_changed_is_that_of_another_pod() {
        for (field, expected) in [("metadata.uid", Outcome::Gone), ("metadata.annotations", Outcome::Refused)]
        {
            let status = json!({ "code": 422, "details": { "causes": [{ "field": field }] } });
            let status: Status = serde_json::from_value(status).unwrap();
            assert_eq!(outcome(&Error::Api(status.boxed())), expected, "{field}");
        }
    }
}
