//! The headers of a CONNECT.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::net::{IpAddr, SocketAddr};

use culvert_http2::{Head, Request};
use culvert_policy::Reason;

use super::super::failure::Failure;
use crate::cluster::PodRef;

/// A request for a stream.
pub(super) struct Connect {
    authority: String,
    baggage: String,
    forwarded: String,
}

impl Connect {
    /// To `target`, for a client of `pod` that connected from `client`.
    pub(super) fn new(target: SocketAddr, client: SocketAddr, pod: &PodRef) -> Self {
        Self {
            authority: target.to_string(),
            baggage: format!("k8s.namespace.name={},k8s.pod.name={}", pod.namespace, pod.name),
            forwarded: format!("for=\"{client}\""),
        }
    }

    fn headers(&self) -> [(&str, &str); 2] {
        [(BAGGAGE, &self.baggage), (FORWARDED, &self.forwarded)]
    }

    /// Lets `send` have it in the codec's terms.
    pub(super) fn write<R>(&self, send: impl FnOnce(&Request<'_>) -> R) -> R {
        send(&Request { authority: &self.authority, headers: &self.headers() })
    }
}

const BAGGAGE: &str = "baggage";
const FORWARDED: &str = "forwarded";

/// The address that a request asks to be connected to.
pub(super) fn target(request: &Head) -> Result<SocketAddr, Failure> {
    let bad = |found: &[u8]| {
        let found: String = String::from_utf8_lossy(found).chars().take(MAX_SHOWN).collect();
        Failure::new(Reason::BadRequest, format_args!("expected CONNECT to IP:port, found {found:?}"))
    };
    if request.method() != b"CONNECT" || request.protocol().is_some() {
        return Err(bad(request.method()));
    }
    let authority = request.authority().unwrap_or_default();
    str::from_utf8(authority).ok().and_then(|text| text.parse().ok()).ok_or_else(|| bad(authority))
}

/// How much of a peer's words an error repeats.
const MAX_SHOWN: usize = 64;

/// The application's address behind a tunnel that comes from `tunnel`. A client is believed its port, but not the
/// address of another pod.
pub(super) fn client(request: &Head, tunnel: SocketAddr) -> SocketAddr {
    let claimed = request.get(FORWARDED).and_then(|value| str::from_utf8(value).ok()).and_then(forwarded_for);
    claimed.filter(|claimed| canonical(claimed.ip()) == canonical(tunnel.ip())).unwrap_or(tunnel)
}

fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// The node identifier of the first `for` parameter (RFC 7239, section 4), where it is an `IP:port`.
fn forwarded_for(value: &str) -> Option<SocketAddr> {
    let first = value.split(',').next()?;
    let node = first.split(';').find_map(|pair| {
        let (name, node) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then_some(node)
    })?;
    node.trim_matches('"').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TUNNEL: &str = "10.0.0.1:40000";

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn pod() -> PodRef {
        PodRef { namespace: "full".into(), name: "sleep-1".into() }
    }

    /// What the codec makes of a request.
    fn head(method: &str, authority: &str, forwarded: Option<&str>) -> Head {
        let forwarded = forwarded.map(|value| (FORWARDED, value));
        [(":method", method), (":authority", authority)].into_iter().chain(forwarded).collect()
    }

    #[test]
    fn what_is_asked_for_is_read_back() {
        for (target_text, client_text) in [("10.0.0.2:80", "10.0.0.1:5"), ("[fd00::2]:80", "[fd00::1]:5")] {
            Connect::new(addr(target_text), addr(client_text), &pod()).write(|request| {
                assert_eq!(request.authority, target_text);
                let [baggage, (FORWARDED, forwarded)] = request.headers else {
                    panic!("{:?}", request.headers)
                };
                assert_eq!(*baggage, ("baggage", "k8s.namespace.name=full,k8s.pod.name=sleep-1"));
                let head = head("CONNECT", target_text, Some(forwarded));
                assert_eq!(target(&head).unwrap(), addr(target_text));
                assert_eq!(client(&head, addr(client_text)), addr(client_text));
            });
        }
    }

    #[test]
    fn only_connect_to_an_address_is_a_request() {
        for (method, authority) in [
            ("GET", "10.0.0.2:80"),
            ("CONNECT", "httpbin.full:80"),
            ("CONNECT", "10.0.0.2"),
            ("CONNECT", "/"),
            ("CONNECT", "user@10.0.0.2:80"),
            ("CONNECT", "10.0.0.2:99999"),
        ] {
            let refused = target(&head(method, authority, None)).unwrap_err();
            assert_eq!(refused.reason, Reason::BadRequest, "{authority}");
        }
    }

    #[test]
    fn a_client_cannot_claim_the_address_of_another() {
        for (value, expected) in [
            ("for=\"10.0.0.1:5\"", "10.0.0.1:5"),
            ("For=10.0.0.1:5;proto=http, for=10.0.0.9:7", "10.0.0.1:5"),
            ("proto=http; for=\"10.0.0.1:5\"", "10.0.0.1:5"),
            ("for=\"10.0.0.2:5\"", TUNNEL),
            ("for=\"[fd00::1]:5\"", TUNNEL),
            ("for=10.0.0.1", TUNNEL),
            ("for=unknown", TUNNEL),
            ("", TUNNEL),
            ("for", TUNNEL),
        ] {
            let head = head("CONNECT", "10.0.0.2:80", Some(value));
            assert_eq!(client(&head, addr(TUNNEL)), addr(expected), "{value}");
        }
        assert_eq!(client(&head("CONNECT", "10.0.0.2:80", None), addr(TUNNEL)), addr(TUNNEL));
    }
}
