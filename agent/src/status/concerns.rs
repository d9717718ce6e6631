//! What of an agent's state a person should look at.

use std::time::{Duration, SystemTime};

use super::{Certificate, Document, Map, NotEnrolled, Watch};

/// How long a pod may take to start before somebody should look at it.
const PATIENCE: Duration = Duration::from_mins(2);

impl Document {
    /// What needs a person at `now`, in words; nothing when all is well.
    pub fn concerns(&self, now: SystemTime) -> Vec<String> {
        let waits = self.not_ready.iter().map(|wait| format!("the agent is not ready: {wait}"));
        let watches = self.cluster.watches.iter().filter_map(watch);
        let problems = self.cluster.problems.iter().map(|problem| format!("not taken in: {problem}"));
        let pods = self.pods.not_enrolled.iter().filter_map(|pod| not_enrolled(pod, now));
        let policy = self
            .pods
            .enrolled
            .iter()
            .filter_map(|pod| Some(format!("pod {}: {}", pod.pod, pod.problem.as_ref()?)));
        let certificates =
            self.certificates.iter().filter_map(|certificate| certificate_of(certificate, now));
        let maps = self.maps.iter().filter_map(full);
        let lost = (self.lost_records > 0).then(|| {
            format!("{} records of plaintext connections were lost: the ring was full", self.lost_records)
        });
        waits
            .chain(watches)
            .chain(problems)
            .chain(pods)
            .chain(policy)
            .chain(certificates)
            .chain(maps)
            .chain(lost)
            .collect()
    }
}

/// A resource that is not served is no fault: a cluster without Istio has none of its kinds. One that was never known
/// is what the agent waits for.
fn watch(watch: &Watch) -> Option<String> {
    let error = watch.error.as_deref().filter(|_| watch.settled)?;
    Some(format!("{} are not followed: {error}", watch.resource))
}

fn not_enrolled(pod: &NotEnrolled, now: SystemTime) -> Option<String> {
    let waited = pod.since.and_then(|since| now.duration_since(since.0).ok());
    let is_starting = pod.transient && waited.is_none_or(|waited| waited < PATIENCE);
    (!is_starting).then(|| format!("pod {} is not enrolled: {}", pod.pod, pod.reason))
}

fn certificate_of(certificate: &Certificate, now: SystemTime) -> Option<String> {
    let Certificate { identity, not_after, error, .. } = certificate;
    let error = error.as_deref().map_or_else(String::new, |error| format!(": {error}"));
    match not_after {
        Some(until) if until.0 <= now => {
            Some(format!("the certificate of {identity} expired at {until}{error}"))
        }
        _ if error.is_empty() => None,
        Some(until) => {
            Some(format!("the certificate of {identity} holds until {until}, and is not renewed{error}"))
        }
        None => Some(format!("there is no certificate of {identity}{error}")),
    }
}

fn full(map: &Map) -> Option<String> {
    let is_full = map.entries >= map.capacity;
    is_full.then(|| format!("the kernel map {} is full, with {} entries", map.name, map.entries))
}

#[cfg(test)]
mod tests {
    use super::{super::text::tests::document, *};
    use crate::status::Timestamp;

    fn ago(seconds: u64) -> Timestamp {
        Timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(100_000 - seconds))
    }

    fn now() -> SystemTime {
        ago(0).0
    }

    #[test]
    fn nothing_needs_a_person_when_all_is_well() {
        assert_eq!(document().concerns(now()), [""; 0]);
    }

    #[test]
    fn a_pod_may_take_a_while_to_start_but_not_for_ever() {
        let mut document = document();
        let pod = |transient, since| NotEnrolled { pod: "a/b".into(), reason: "no".into(), transient, since };
        for (not_enrolled, concerns) in [
            (pod(true, Some(ago(10))), 0),
            (pod(true, Some(ago(1000))), 1),
            (pod(false, Some(ago(0))), 1),
            (pod(false, None), 1),
        ] {
            document.pods.not_enrolled = vec![not_enrolled];
            assert_eq!(document.concerns(now()).len(), concerns, "{:?}", document.pods);
        }
    }

    #[test]
    fn a_certificate_that_ends_or_is_not_renewed_is_told() {
        let mut document = document();
        let certificate = |not_after, error: Option<&str>| Certificate {
            identity: "spiffe://x".into(),
            not_after,
            renewal: None,
            error: error.map(Into::into),
        };
        let later = Timestamp(now() + Duration::from_mins(1));
        for (certificate, part) in [
            (certificate(Some(later), None), None),
            (certificate(Some(ago(1)), None), Some("expired")),
            (certificate(Some(later), Some("the authority is away")), Some("is not renewed: the authority")),
            (certificate(None, Some("denied")), Some("no certificate of spiffe://x: denied")),
            (certificate(None, None), None),
        ] {
            document.certificates = vec![certificate];
            let concerns = document.concerns(now()).join("");
            assert!(part.map_or(concerns.is_empty(), |part| concerns.contains(part)), "{concerns}");
        }
    }
}
