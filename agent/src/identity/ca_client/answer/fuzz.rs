//! What an authority might answer: texts of PEM, with a line of dots between them.

use std::time::Duration;

use super::*;

/// Only a chain that holds now, for the key that was sent and the identity that was asked for, is taken.
pub(crate) fn run(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let texts: Vec<_> = text.split("\n...\n").collect();
    let [root, leaf] = [ROOT, LEAF].map(|pem| CertificateDer::from_pem_slice(pem).expect("a certificate"));
    let trust = Trust::new("cluster.local", [&root]).expect("a root");
    let key = parse(&leaf).expect("a certificate").public_key().raw.to_vec();
    let [own, other] = ["sleep", "httpbin"].map(|account| SpiffeId::new("cluster.local", "full", account));
    let now = SystemTime::UNIX_EPOCH + NOW;
    let taken = check(&texts, &own, &key, &trust, now);
    if let Ok(answer) = &taken {
        assert!((1..=MAX_CERTIFICATES).contains(&answer.chain.len()));
        assert!(answer.not_before <= now && now < answer.not_after);
        assert!(check(&texts, &other, &key, &trust, now).is_err(), "taken for two identities");
        assert!(check(&texts, &own, &key[1..], &trust, now).is_err(), "taken for two keys");
        assert!(check(&texts, &own, &key, &trust, answer.not_after + Duration::from_secs(1)).is_err());
    }
    taken.is_ok()
}

const ROOT: &[u8] = include_bytes!("../../../../../tests/corpus/ca_answer/root.pem");
const LEAF: &[u8] = include_bytes!("../../../../../tests/corpus/ca_answer/leaf.pem");
/// A day on which they hold, in January 2027.
const NOW: Duration = Duration::from_hours(500_000);
