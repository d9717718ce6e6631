//! What there is to know of a running agent.

use std::{fmt, net::IpAddr, time::SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Everything that `culvert status -o json` prints. Fields are added, never renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// Of the agent's build.
    pub version: String,
    /// The node that it serves.
    pub node: String,
    /// `closed` or `open`: what becomes of connections that cannot be captured.
    pub failure: String,
    /// Since when it runs.
    pub since: Timestamp,
    /// What it still waits for before it serves; empty once it is ready.
    pub not_ready: Vec<String>,
    /// What a person should look at; empty when all is well.
    pub concerns: Vec<String>,
    /// The kernel programs, and where they are attached.
    pub programs: Vec<Program>,
    /// The pods of this node that wish to be enrolled.
    pub pods: Pods,
    /// What is known of the cluster.
    pub cluster: Cluster,
    /// One for each identity that the node's pods have.
    pub certificates: Vec<Certificate>,
    /// What the mesh trusts.
    pub roots: Vec<Root>,
    /// How full the kernel's maps are.
    pub maps: Vec<Map>,
    /// What became of each `connect()` of this node's processes since the agent started, by the kernel's count.
    pub connects: Vec<Count>,
    /// Records of plaintext connections that found no room in the ring.
    pub lost_records: u64,
}

/// A kernel program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Program {
    /// Its name.
    pub name: String,
    /// The cgroup, or the network namespaces.
    pub attached_to: String,
}

/// The pods of this node that wish to be enrolled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pods {
    /// Those that are.
    pub enrolled: Vec<Enrolled>,
    /// Those that are not.
    pub not_enrolled: Vec<NotEnrolled>,
}

/// A pod whose connections are captured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Enrolled {
    /// `namespace/name`.
    pub pod: String,
    /// Its SPIFFE id.
    pub identity: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Since when.
    pub since: Timestamp,
    /// Whether the others are told, by the annotation on the pod.
    pub announced: bool,
    /// What of its policy the kernel could not be told.
    pub problem: Option<String>,
}

/// A pod that wishes to be enrolled and is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotEnrolled {
    /// `namespace/name`.
    pub pod: String,
    /// Why.
    pub reason: String,
    /// Whether that may change by itself, as it does while a pod starts.
    pub transient: bool,
    /// Since when; none where it never could be.
    pub since: Option<Timestamp>,
}

/// What is known of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// Grows with each change that may change an answer.
    pub revision: u64,
    /// Whether each resource was listed once, or is not served.
    pub synced: bool,
    /// The sources, one for each resource.
    pub watches: Vec<Watch>,
    /// What was not taken in, each with its object, field and reason.
    pub problems: Vec<String>,
}

/// One resource of the API server, or the directory of manifests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Watch {
    /// Its name, such as `pods`.
    pub resource: String,
    /// `listing`, `watching`, `retrying`, `denied` or `not_served`.
    pub state: String,
    /// How many objects of it are in the index.
    pub objects: usize,
    /// When something was last heard.
    pub last_event: Option<Timestamp>,
    /// What is wrong, and what to do about it.
    pub error: Option<String>,
    /// Whether all of it was known once since the agent began, or the cluster has no such resource. No pod is enrolled
    /// before that.
    pub settled: bool,
}

/// The certificate of one identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// The SPIFFE id.
    pub identity: String,
    /// Until when it holds; none where there is none yet.
    pub not_after: Option<Timestamp>,
    /// When it will be renewed, or tried again.
    pub renewal: Option<Timestamp>,
    /// Why there is none, or why it could not be renewed.
    pub error: Option<String>,
}

/// A root that certificates are judged by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Root {
    /// The SHA-256 of its DER, in hexadecimal.
    pub fingerprint: String,
    /// Until when it holds.
    pub not_after: Timestamp,
}

/// A kernel map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Map {
    /// Its name.
    pub name: String,
    /// Its id, as `bpftool map` knows it.
    pub id: u32,
    /// Entries in it.
    pub entries: usize,
    /// Entries that it has room for.
    pub capacity: usize,
}

/// How often something happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Count {
    /// What.
    pub outcome: String,
    /// How often.
    pub count: u64,
}

/// A moment, written as RFC 3339 has it, in UTC and to the second; one before 1970 as the first second of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub SystemTime);

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self(time)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_seconds(self.0.max(SystemTime::UNIX_EPOCH)).fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_rfc3339(&text).map(Self).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_root_that_ended_long_ago_can_be_told_of() {
        let ended = SystemTime::UNIX_EPOCH.checked_sub(Duration::from_hours(1)).unwrap();
        assert_eq!(Timestamp(ended).to_string(), "1970-01-01T00:00:00Z");
    }
}
