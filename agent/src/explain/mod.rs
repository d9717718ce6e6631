//! Why a connection would go the way it goes: `culvert explain`.
//!
//! The answer comes from the decisions that the tunnel and the kernel's maps go by, so it is what a connection meets.

mod answer;
mod question;
pub mod text;

use culvert_policy::{Mode, Reason, Transport, admit_hbone, admit_plaintext, admit_sidecar};

pub use answer::{Client, Destination, Endpoint, Explanation, Outcome, Sentence, Word};
pub use question::{Question, QuestionError, parse_from, parse_to};

use crate::cluster::{Index, PodRef, Prospect, Unanswerable};

/// Answers, by what the cluster says and by what is known of captures: `is_captured` says of a pod whether it is
/// captured here, and nothing of a pod that is elsewhere.
pub fn explain(
    index: &Index,
    question: &Question,
    is_captured: impl Fn(&PodRef) -> Option<bool>,
) -> Result<Explanation, Unanswerable> {
    let client = PodRef::new(&question.namespace, &question.pod);
    let prospects = index.prospects(&client, &question.host, question.port)?;
    let enrolled = is_captured(&client).unwrap_or_else(|| index.is_enrolled(&client));
    let endpoint = |prospect: &Prospect| {
        let is_captured = prospect.pod.as_ref().and_then(&is_captured).unwrap_or_default();
        let meeting = meet(enrolled, prospect, prospect.is_served || is_captured);
        Endpoint::of(prospect, &meeting)
    };
    Ok(Explanation {
        from: Client { pod: client.to_string(), enrolled },
        endpoints: prospects.endpoints.iter().map(endpoint).collect(),
        to: Destination { host: prospects.host, port: prospects.port },
    })
}

/// How a connection is carried, and what the application meets.
struct Meeting {
    transport: Transport,
    outcome: Outcome,
    reason: Reason,
}

/// First the client's side decides, and then the server's. A client that is not enrolled sends what it sends, and to a
/// server that nobody serves no policy is kept.
fn meet(is_enrolled: bool, prospect: &Prospect, is_kept: bool) -> Meeting {
    let (transport, sent) = match prospect.decision {
        Ok(Reason::SelfCall) => (Transport::Plaintext, Ok(Reason::SelfCall)),
        _ if !is_enrolled => (Transport::Plaintext, Ok(Reason::ClientNotEnrolled)),
        decision => (prospect.transport, decision),
    };
    let mode = prospect.mode.filter(|_| is_kept && !prospect.is_client);
    let met = sent.and_then(|sent| match mode {
        None => Ok(sent),
        Some(mode) => admit(transport, mode).map(|admitted| if is_enrolled { sent } else { admitted }),
    });
    let (outcome, reason) = match met {
        Ok(reason) => (Outcome::Ok, reason),
        Err(reason) => (Outcome::Refused, reason),
    };
    Meeting { transport, outcome, reason }
}

/// TLS that is not the mesh's is plaintext to the server's side.
const fn admit(transport: Transport, mode: Mode) -> Result<Reason, Reason> {
    match transport {
        Transport::Hbone => admit_hbone(mode),
        Transport::Sidecar => admit_sidecar(mode),
        Transport::Plaintext | Transport::Tls => admit_plaintext(mode),
    }
}
