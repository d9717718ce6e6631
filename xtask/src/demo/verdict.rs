//! Whether a pair saw what it should.

use super::{
    call::{Call, Failure, Outcome},
    stage::Stage,
    wire::Readable,
    witness::Records,
};
use crate::walkthrough::{CLIENT_IDENTITY, Expected, Namespace, Transport};

/// A pair in a step.
pub(super) struct Row {
    pub(super) client: Namespace,
    pub(super) server: Namespace,
    pub(super) expected: Expected,
    pub(super) seen: Vec<Seen>,
    /// What the agents logged meanwhile.
    pub(super) log: Vec<String>,
}

/// A call, and what agents and wire tell of it.
pub(super) struct Seen {
    pub(super) call: Call,
    pub(super) records: Records,
    pub(super) readable: Readable,
    /// Whether the pod that answered is enrolled.
    enrolled: bool,
}

impl Row {
    /// What was not as expected; empty if all was.
    pub(super) fn complaints(&self) -> Vec<String> {
        let mut complaints: Vec<_> =
            self.seen.iter().filter_map(|seen| seen.complaint(self.expected)).collect();
        if self.expected == Expected::ByPod {
            let missed = [Transport::Mtls, Transport::Plaintext]
                .into_iter()
                .filter(|wanted| !self.seen.iter().any(|seen| seen.transport() == Some(*wanted)));
            complaints.extend(missed.map(|missed| format!("no call went over {}", missed.as_str())));
        }
        complaints
    }
}

impl Seen {
    /// What was captured is to be looked into once the capture has ended.
    pub(super) fn new(call: Call, records: Records, stage: &Stage) -> Self {
        let enrolled = match &call.outcome {
            Outcome::Answered { pod, .. } => stage.server(pod).is_some_and(|server| server.enrolled),
            Outcome::Failed { .. } => false,
        };
        Self { call, records, readable: Readable::default(), enrolled }
    }

    /// How it was carried; between two pods that no agent knows, as the wire shows. None if it was not.
    pub(super) fn transport(&self) -> Option<Transport> {
        match &self.call.outcome {
            Outcome::Failed { .. } => None,
            Outcome::Answered { .. } => {
                let on_the_wire = self.readable.is_all_of(&self.call).then_some(Transport::Plaintext);
                self.records.transport().or(on_the_wire)
            }
        }
    }

    fn complaint(&self, expected: Expected) -> Option<String> {
        let wanted = match expected {
            Expected::Fails => return self.complaint_of_answer(),
            Expected::Mtls => Transport::Mtls,
            Expected::ByPod if self.enrolled => Transport::Mtls,
            Expected::ByPod | Expected::Plaintext => Transport::Plaintext,
        };
        self.complaint_of_status().or_else(|| self.complaint_of_transport(wanted))
    }

    /// It had to fail, at once: by the peer's or the agent's refusal, not because curl gave up.
    fn complaint_of_answer(&self) -> Option<String> {
        match &self.call.outcome {
            Outcome::Failed { how: Failure::Refused | Failure::Reset, .. } if self.readable.is_nothing() => {
                None
            }
            outcome => Some(format!(
                "expected a failure at once, and nothing on the wire: {outcome:?}, {:?}",
                self.readable
            )),
        }
    }

    fn complaint_of_status(&self) -> Option<String> {
        match &self.call.outcome {
            Outcome::Answered { status: 200, .. } => None,
            outcome => Some(format!("expected status 200: {outcome:?}")),
        }
    }

    fn complaint_of_transport(&self, wanted: Transport) -> Option<String> {
        let (readable, identity) = match wanted {
            Transport::Mtls => (self.readable.is_nothing(), Some(CLIENT_IDENTITY)),
            Transport::Plaintext => (self.readable.is_all_of(&self.call), None),
        };
        if !self.records.agree() {
            Some("the agents of client and server recorded different transports".to_owned())
        } else if self.transport() != Some(wanted) {
            let said = self.transport().map_or("none", Transport::as_str);
            Some(format!("expected {}, recorded {said}", wanted.as_str()))
        } else if self.records.identity() != identity {
            let [identity, said] = [identity, self.records.identity()].map(|id| id.unwrap_or("nobody"));
            Some(format!("expected the client to be {identity}, recorded {said}"))
        } else if !readable {
            let (sent, answered) = (self.call.sent, self.call.body.len());
            Some(format!(
                "sent {sent} bytes by {}, answered {answered}: {:?}",
                wanted.as_str(),
                self.readable
            ))
        } else {
            None
        }
    }
}
