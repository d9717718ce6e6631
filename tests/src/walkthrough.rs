//! The migration from plaintext to mTLS: its steps, and what each pair of namespaces must see in them, by the list of
//! who reaches whom ([`Case`]).

use anyhow::{Context, bail};

use serde_json::Value;

use crate::cases::{Call, Case, Seen};

/// The namespaces: all, some and none of their pods are enrolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// All are enrolled.
    Full,
    /// One is enrolled, and one is not.
    Partial,
    /// None is.
    Legacy,
}

impl Namespace {
    /// Those with a server.
    pub const SERVERS: [Self; 3] = [Self::Full, Self::Partial, Self::Legacy];
    /// Those with a client.
    pub const CLIENTS: [Self; 2] = [Self::Full, Self::Legacy];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Partial => "partial",
            Self::Legacy => "legacy",
        }
    }

    /// How often a client calls its Service: two endpoints in turn need several calls to be seen.
    pub const fn calls(self) -> usize {
        match self {
            Self::Partial => 10,
            Self::Full | Self::Legacy => 1,
        }
    }
}

/// A step.
pub struct Step {
    /// For people.
    pub title: String,
    /// What is in force in this step: Kubernetes objects, or nothing.
    pub policy: Option<String>,
    /// For each client, what it must see of each server.
    pub expected: [[Expected; 3]; 2],
}

/// What a pair must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// mTLS, and nothing else.
    Mtls,
    /// Plaintext, and nothing else.
    Plaintext,
    /// mTLS to the pod that is enrolled, plaintext to the other, and both in the course of the calls.
    ByPod,
    /// No answer, and no waiting for one.
    Fails,
}

/// How a connection was carried between the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Over HBONE.
    Mtls,
    /// As the application wrote it.
    Plaintext,
}

impl Transport {
    /// By its word in the agents' log.
    pub fn of(word: &str) -> Option<Self> {
        match word {
            "hbone" => Some(Self::Mtls),
            "plaintext" => Some(Self::Plaintext),
            _ => None,
        }
    }

    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mtls => "mTLS",
            Self::Plaintext => "plaintext",
        }
    }
}

/// Of the one enrolled client.
pub const CLIENT_IDENTITY: &str = "spiffe://cluster.local/ns/full/sa/sleep";

impl Step {
    /// The steps, in order.
    pub fn all() -> anyhow::Result<[Self; 4]> {
        let [first, second, third, fourth] = ["step1", "step2", "step3", "step4"].map(|id| {
            let case = Case::of(id)?;
            Self::of(&case).with_context(|| format!("case {id} is no step"))
        });
        Ok([first?, second?, third?, fourth?])
    }

    fn of(case: &Case) -> anyhow::Result<Self> {
        let mut expected = [[Expected::Fails; 3]; 2];
        for (client, row) in Namespace::CLIENTS.into_iter().zip(&mut expected) {
            for (server, cell) in Namespace::SERVERS.into_iter().zip(row) {
                let (from, to) =
                    (format!("{}/sleep", client.as_str()), format!("httpbin.{}", server.as_str()));
                let call = case.calls.iter().find(|call| call.from == from && call.to == to);
                *cell = Expected::of(call.with_context(|| format!("no call from {from} to {to}"))?)?;
            }
        }
        let title = case.title.clone().context("no title")?;
        let policy = if case.objects()?.iter().all(Value::is_null) { None } else { Some(case.policy()?) };
        Ok(Self { title, policy, expected })
    }
}

impl Expected {
    fn of(call: &Call) -> anyhow::Result<Self> {
        let seen: Vec<_> = call.seen.values().collect();
        match seen[..] {
            [Seen::Mtls] => Ok(Self::Mtls),
            [Seen::Fail] => Ok(Self::Fails),
            [Seen::Plain] | [Seen::Plain, Seen::Plain] => Ok(Self::Plaintext),
            [Seen::Mtls, Seen::Plain] => Ok(Self::ByPod),
            _ => bail!("{} cannot be told to see {seen:?} of {}", call.from, call.to),
        }
    }
}
