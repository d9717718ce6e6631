//! The list of who reaches whom, `manifests/cases.yaml`, and clusters to try it in.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::manifests;

/// A case: a cluster, the policy that is in force in it, and what must be seen.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Its name.
    pub id: String,
    /// What it is about, for people.
    #[serde(default)]
    pub title: Option<String>,
    cluster: String,
    objects: String,
    /// What `PeerAuthentication` makes of the port of each enrolled pod that is called, by `namespace/name`.
    pub modes: BTreeMap<String, Mode>,
    /// Who calls whom.
    pub calls: Vec<Call>,
}

/// A client, and the Service that it calls.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// `namespace/name` of a pod.
    pub from: String,
    /// `name.namespace` of a Service with one port.
    pub to: String,
    /// What must be seen of each pod behind it, by `namespace/name`.
    pub seen: BTreeMap<String, Seen>,
}

/// What a server accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Mode {
    /// mTLS.
    Strict,
    /// mTLS and plaintext.
    Permissive,
    /// Plaintext, and TLS as the application's own.
    Disable,
}

/// What both sides see of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seen {
    /// The server can name the client's identity.
    Mtls,
    /// It cannot.
    Plain,
    /// The connection is refused.
    Fail,
}

impl Case {
    /// All of them, in their order.
    pub fn all() -> anyhow::Result<Vec<Self>> {
        serde_saphyr::from_str(&read("cases.yaml")?).context("cases.yaml is no list of cases")
    }

    /// The one of that name.
    pub fn of(id: &str) -> anyhow::Result<Self> {
        Self::all()?.into_iter().find(|case| case.id == id).with_context(|| format!("there is no case {id}"))
    }

    /// The cluster's objects: namespaces, pods, Services and their endpoints, and what else always holds in it.
    pub fn cluster(&self) -> anyhow::Result<Vec<Value>> {
        manifests::objects(&read(&self.cluster)?)
    }

    /// The policy.
    pub fn objects(&self) -> anyhow::Result<Vec<Value>> {
        manifests::objects(&self.policy()?)
    }

    /// The policy, as text.
    pub fn policy(&self) -> anyhow::Result<String> {
        read(&self.objects)
    }
}

/// The port of its pods that a Service leads to.
pub fn target_port(service: &Value) -> Option<u16> {
    service["spec"]["ports"][0]["targetPort"].as_u64()?.try_into().ok()
}

/// Takes a Service's addresses away, so that its clients call its pods, on their own port.
pub fn make_headless(service: &mut Value) {
    service["spec"]["clusterIP"] = json!("None");
    service["spec"]["clusterIPs"] = json!(["None"]);
    service["spec"]["ports"][0]["port"] = service["spec"]["ports"][0]["targetPort"].clone();
}

fn read(file: &str) -> anyhow::Result<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("manifests").join(file);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}
