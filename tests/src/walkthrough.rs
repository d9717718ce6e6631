//! The migration from plaintext to mTLS: its steps, and what each pair of namespaces must see in them.

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
    pub title: &'static str,
    /// What is in force in this step: Kubernetes objects, or nothing.
    pub policy: Option<&'static str>,
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

use Expected::{ByPod, Fails, Mtls, Plaintext};

/// The steps, in order.
pub const STEPS: [Step; 4] = [
    Step {
        title: "no policy, which is PERMISSIVE",
        policy: None,
        expected: [[Mtls, ByPod, Plaintext], [Plaintext; 3]],
    },
    Step {
        title: "`full` is STRICT",
        policy: Some(include_str!("../manifests/walkthrough/step2.yaml")),
        expected: [[Mtls, ByPod, Plaintext], [Fails, Plaintext, Plaintext]],
    },
    Step {
        title: "`full` is DISABLE",
        policy: Some(include_str!("../manifests/walkthrough/step3.yaml")),
        expected: [[Plaintext, ByPod, Plaintext], [Plaintext; 3]],
    },
    Step {
        title: "`full` is DISABLE, its DestinationRule ISTIO_MUTUAL",
        policy: Some(include_str!("../manifests/walkthrough/step4.yaml")),
        expected: [[Fails, ByPod, Plaintext], [Plaintext; 3]],
    },
];
