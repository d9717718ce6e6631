//! Whether calls went as they should.

use super::call::{Outcome, Seen};
use crate::walkthrough::{CLIENT_IDENTITY, Expected, Transport};

/// What was not as expected of a pair's calls; empty if all was.
pub(super) fn complaints(expected: Expected, seen: &[Seen]) -> Vec<String> {
    let mut complaints: Vec<_> = seen.iter().filter_map(|seen| complaint(expected, seen)).collect();
    if expected == Expected::ByPod {
        let both = [true, false].map(|wanted| seen.iter().any(|seen| is_answered_by(seen, wanted)));
        if both != [true, true] {
            complaints.push("the calls did not reach both pods".to_owned());
        }
    }
    complaints
}

/// What was not as expected of a request that has to be answered.
pub(super) fn complaint_of_failure(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Answered { .. } => None,
        Outcome::Refused | Outcome::Failed(_) => Some(format!("expected an answer: {outcome:?}")),
    }
}

fn is_answered_by(seen: &Seen, wanted: bool) -> bool {
    matches!(seen.outcome, Outcome::Answered { enrolled, .. } if enrolled == wanted)
}

fn complaint(expected: Expected, seen: &Seen) -> Option<String> {
    let wanted = match (expected, &seen.outcome) {
        (Expected::Fails, Outcome::Refused) => return None,
        (Expected::Fails, outcome) => return Some(format!("expected a failure at once: {outcome:?}")),
        (Expected::Mtls, _) | (Expected::ByPod, Outcome::Answered { enrolled: true, .. }) => Transport::Mtls,
        (Expected::Plaintext | Expected::ByPod, _) => Transport::Plaintext,
    };
    complaint_of_failure(&seen.outcome).or_else(|| complaint_of_transport(wanted, seen))
}

/// Between two pods that no agent knows there is no record, and nothing but plaintext.
fn complaint_of_transport(wanted: Transport, seen: &Seen) -> Option<String> {
    let recorded = seen.server.or(seen.client).unwrap_or(Transport::Plaintext);
    let identity = (wanted == Transport::Mtls).then_some(CLIENT_IDENTITY);
    if recorded != wanted {
        Some(format!("expected {}, recorded {}", wanted.as_str(), recorded.as_str()))
    } else if matches!((seen.client, seen.server), (Some(client), Some(server)) if client != server) {
        Some("the agents of client and server recorded different transports".to_owned())
    } else if seen.identity.as_deref() != identity {
        Some(format!("expected the client to be {identity:?}, recorded {:?}", seen.identity))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Transport::{Mtls, Plaintext};

    fn answered(enrolled: bool, transport: Option<Transport>) -> Seen {
        let identity = (enrolled && transport == Some(Mtls)).then(|| CLIENT_IDENTITY.to_owned());
        let outcome = Outcome::Answered { pod: "httpbin".to_owned(), enrolled };
        Seen { outcome, client: transport, server: transport.filter(|_| enrolled), identity }
    }

    fn failed(outcome: Outcome) -> Seen {
        Seen { outcome, client: None, server: None, identity: None }
    }

    #[test]
    fn what_is_expected_is_taken() {
        for (expected, seen) in [
            (Expected::Mtls, vec![answered(true, Some(Mtls))]),
            (Expected::Plaintext, vec![answered(true, Some(Plaintext))]),
            (Expected::Plaintext, vec![answered(false, None)]),
            (Expected::ByPod, vec![answered(true, Some(Mtls)), answered(false, Some(Plaintext))]),
            (Expected::Fails, vec![failed(Outcome::Refused)]),
        ] {
            assert_eq!(complaints(expected, &seen), Vec::<String>::new(), "{expected:?}");
        }
    }

    #[test]
    fn what_is_not_expected_is_told() {
        let nobody = Seen { identity: None, ..answered(true, Some(Mtls)) };
        let apart = Seen { client: Some(Plaintext), ..answered(true, Some(Mtls)) };
        for (expected, seen) in [
            (Expected::Mtls, answered(true, Some(Plaintext))),
            (Expected::Mtls, answered(true, None)),
            (Expected::Mtls, nobody),
            (Expected::Mtls, apart),
            (Expected::Mtls, failed(Outcome::Refused)),
            (Expected::Plaintext, answered(true, Some(Mtls))),
            (Expected::Plaintext, failed(Outcome::Refused)),
            (Expected::ByPod, answered(true, Some(Mtls))),
            (Expected::Fails, answered(true, Some(Mtls))),
            (Expected::Fails, failed(Outcome::Failed("timed out".to_owned()))),
        ] {
            assert_eq!(complaints(expected, &[seen]).len(), 1, "{expected:?}");
        }
    }
}
