//! What a peer announces, and what a pod wishes.

use crate::{Labels, PeerStatus};

/// What a pod can speak, by what is written on it.
///
/// `culvert.io/captured` is Culvert's own word that a pod is enrolled and served; the others are Istio's
/// (`istio.io/api`, `annotation` and `label`).
pub fn announced_status(labels: &Labels, annotations: &Labels) -> PeerStatus {
    if announces_hbone(labels, annotations) {
        PeerStatus::Hbone
    } else if has(labels, TLS_MODE, "istio") {
        PeerStatus::Sidecar
    } else {
        PeerStatus::None
    }
}

/// What a `WorkloadEntry` can speak: as a pod, except that without a `tlsMode` label its service account
/// says that it is a member of the mesh.
pub fn workload_entry_status(labels: &Labels, annotations: &Labels, has_service_account: bool) -> PeerStatus {
    match announced_status(labels, annotations) {
        PeerStatus::None if has_service_account && labels.get(TLS_MODE).is_none() => PeerStatus::Sidecar,
        status => status,
    }
}

/// Whether an agent's word that the pod is enrolled and served is written on it.
pub fn is_captured(annotations: &Labels) -> bool {
    has(annotations, CAPTURED, "true")
}

/// Whether labels ask for capture, of a pod or of a namespace: `Some(false)` opts out, none says nothing.
/// Culvert's label beats Istio's.
pub fn capture_wish(labels: &Labels) -> Option<bool> {
    let own = labels.get(CAPTURE).and_then(|value| flag(value, "enabled", "disabled"));
    own.or_else(|| labels.get(DATAPLANE_MODE).and_then(|value| flag(value, "ambient", "none")))
}

/// The annotation by which the agent of a pod's node says that the pod is enrolled and served.
pub const CAPTURED: &str = "culvert.io/captured";
/// The labels and annotations that mean something by themselves: who keeps only these loses nothing that this module
/// asks for.
pub const MEANINGFUL: &[&str] = &[CAPTURED, CAPTURE, REDIRECTION, TUNNEL, TLS_MODE, DATAPLANE_MODE];
const CAPTURE: &str = "culvert.io/capture";
const REDIRECTION: &str = "ambient.istio.io/redirection";
const TUNNEL: &str = "networking.istio.io/tunnel";
const TLS_MODE: &str = "security.istio.io/tlsMode";
const DATAPLANE_MODE: &str = "istio.io/dataplane-mode";

fn announces_hbone(labels: &Labels, annotations: &Labels) -> bool {
    is_captured(annotations) || has(annotations, REDIRECTION, "enabled") || tunnels_http(labels)
}

fn tunnels_http(labels: &Labels) -> bool {
    labels.get(TUNNEL).is_some_and(|list| list.split(',').any(|protocol| protocol == "http"))
}

fn has(labels: &Labels, key: &str, value: &str) -> bool {
    labels.get(key) == Some(value)
}

fn flag(value: &str, yes: &str, no: &str) -> Option<bool> {
    if value == yes {
        Some(true)
    } else if value == no {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::labels;
    use PeerStatus::{Hbone, None as Plain, Sidecar};

    type Pairs = &'static [(&'static str, &'static str)];

    #[test]
    fn a_pod_speaks_what_is_written_on_it() {
        let rows: [(Pairs, Pairs, PeerStatus); 12] = [
            (&[], &[], Plain),
            (&[], &[(CAPTURED, "true")], Hbone),
            (&[], &[(CAPTURED, "false")], Plain),
            (&[(CAPTURED, "true")], &[], Plain),
            (&[(CAPTURE, "enabled")], &[], Plain),
            (&[], &[(REDIRECTION, "enabled")], Hbone),
            (&[], &[(REDIRECTION, "pending")], Plain),
            (&[(TUNNEL, "http")], &[], Hbone),
            (&[(TUNNEL, "legacy,http")], &[], Hbone),
            (&[(TUNNEL, "https")], &[], Plain),
            (&[(TLS_MODE, "istio")], &[], Sidecar),
            (&[(TLS_MODE, "istio")], &[(REDIRECTION, "enabled")], Hbone),
        ];
        for (pod_labels, annotations, expected) in rows {
            let status = announced_status(&labels(pod_labels), &labels(annotations));
            assert_eq!(status, expected, "{pod_labels:?} {annotations:?}");
        }
    }

    #[test]
    fn a_workload_entry_goes_by_its_label_then_its_service_account() {
        let rows: [(Pairs, bool, PeerStatus); 5] = [
            (&[], false, Plain),
            (&[], true, Sidecar),
            (&[(TLS_MODE, "istio")], false, Sidecar),
            (&[(TLS_MODE, "disabled")], true, Plain),
            (&[(TUNNEL, "http")], true, Hbone),
        ];
        for (entry, has_service_account, expected) in rows {
            let status = workload_entry_status(&labels(entry), &Labels::new(), has_service_account);
            assert_eq!(status, expected, "{entry:?} {has_service_account}");
        }
    }

    #[test]
    fn culverts_wish_beats_istios() {
        let rows: [(Pairs, Option<bool>); 7] = [
            (&[], None),
            (&[(CAPTURE, "enabled")], Some(true)),
            (&[(CAPTURE, "disabled")], Some(false)),
            (&[(CAPTURE, "maybe")], None),
            (&[(DATAPLANE_MODE, "ambient")], Some(true)),
            (&[(DATAPLANE_MODE, "none")], Some(false)),
            (&[(CAPTURE, "disabled"), (DATAPLANE_MODE, "ambient")], Some(false)),
        ];
        for (pod, expected) in rows {
            assert_eq!(capture_wish(&labels(pod)), expected, "{pod:?}");
        }
    }
}
