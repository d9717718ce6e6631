//! What is answered, as machines read it.

use std::{fmt::Display, str::FromStr};

use culvert_policy::{Mode, PeerStatus, Reason, Transport};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Meeting;
use crate::cluster::{Cause, Prospect};

/// What becomes of a connection, at each endpoint that it may reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Who connects.
    pub from: Client,
    /// Where to.
    pub to: Destination,
    /// The endpoints that are ready; where there is none, whoever connects is refused.
    pub endpoints: Vec<Endpoint>,
}

/// Who connects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// `namespace/name`.
    pub pod: String,
    /// Whether its connections are captured.
    pub enrolled: bool,
}

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// The name in full, or the address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// `namespace/name` of the pod, where it is one.
    pub pod: Option<String>,
    /// `IP:port`; `name:port` where only the DNS knows the address.
    pub address: String,
    /// What it can speak.
    pub status: Word<PeerStatus>,
    /// The mode of its port; none where no policy applies.
    pub mode: Option<Word<Mode>>,
    /// How the connection is carried, or would have to be.
    pub transport: Word<Transport>,
    /// What the application meets.
    pub outcome: Outcome,
    /// Why.
    pub reason: Word<Reason>,
    /// Which objects decided. People are told; machines are not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Sentence>,
}

/// What the application meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The connection is made.
    Ok,
    /// It is not.
    Refused,
}

/// What an object says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sentence {
    /// Kind, namespace and name; none where the sentence is of no object.
    pub object: Option<String>,
    /// The rest of the sentence.
    pub says: String,
}

/// A value that is written as its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word<T>(pub T);

impl Explanation {
    /// The JSON that machines get.
    pub fn json(mut self) -> String {
        self.endpoints.iter_mut().for_each(|endpoint| endpoint.causes.clear());
        serde_json::to_string_pretty(&self).expect("it has only keys that are text") + "\n"
    }
}

impl Endpoint {
    pub(super) fn of(prospect: &Prospect, meeting: &Meeting) -> Self {
        Self {
            pod: prospect.pod.as_ref().map(ToString::to_string),
            address: prospect.address.clone(),
            status: Word(prospect.status),
            mode: prospect.mode.map(Word),
            transport: Word(meeting.transport),
            outcome: meeting.outcome,
            reason: Word(meeting.reason),
            causes: prospect.causes.iter().map(Sentence::of).collect(),
        }
    }
}

impl Sentence {
    fn of(cause: &Cause) -> Self {
        Self { object: cause.object.as_ref().map(ToString::to_string), says: cause.says.clone() }
    }
}

impl<T: Display> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        word.parse().map(Self).map_err(de::Error::custom)
    }
}
