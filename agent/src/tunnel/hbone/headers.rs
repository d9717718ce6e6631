//! The headers of a CONNECT.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::net::{IpAddr, SocketAddr};

use culvert_policy::Reason;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};

use super::super::failure::Failure;
use crate::cluster::PodRef;

/// A request for a stream to `target`, for a client of `pod` that connected from `client`.
pub(super) fn request(target: SocketAddr, client: SocketAddr, pod: &PodRef) -> Result<Request<()>, Failure> {
    let bug = |error: http::Error| Failure::new(Reason::TunnelFailed, error);
    let uri = Uri::builder().authority(target.to_string()).build().map_err(bug)?;
    Request::builder()
        .method(Method::CONNECT)
        .uri(uri)
        .version(Version::HTTP_2)
        .header(BAGGAGE, format!("k8s.namespace.name={},k8s.pod.name={}", pod.namespace, pod.name))
        .header(FORWARDED, format!("for=\"{client}\""))
        .body(())
        .map_err(bug)
}

const BAGGAGE: &str = "baggage";
const FORWARDED: &str = "forwarded";

/// The address that a request asks to be connected to.
pub(super) fn target<B>(request: &Request<B>) -> Result<SocketAddr, Failure> {
    let bad = |found: &str| {
        let found: String = found.chars().take(MAX_SHOWN).collect();
        Failure::new(Reason::BadRequest, format_args!("expected CONNECT to IP:port, found {found:?}"))
    };
    if request.method() != Method::CONNECT || request.extensions().get::<h2::ext::Protocol>().is_some() {
        return Err(bad(request.method().as_str()));
    }
    let authority = request.uri().authority().map_or("", |authority| authority.as_str());
    authority.parse().map_err(|_| bad(authority))
}

/// How much of a peer's words an error repeats.
const MAX_SHOWN: usize = 64;

/// The application's address behind a tunnel that comes from `tunnel`. A client is believed its port, but not the
/// address of another pod.
pub(super) fn client(headers: &HeaderMap, tunnel: SocketAddr) -> SocketAddr {
    let claimed =
        headers.get(FORWARDED).map(HeaderValue::to_str).and_then(Result::ok).and_then(forwarded_for);
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

    #[test]
    fn what_is_asked_for_is_read_back() {
        for (target_text, client_text) in [("10.0.0.2:80", "10.0.0.1:5"), ("[fd00::2]:80", "[fd00::1]:5")] {
            let request = request(addr(target_text), addr(client_text), &pod()).unwrap();
            assert_eq!(request.uri().to_string(), target_text);
            assert_eq!(target(&request).unwrap(), addr(target_text));
            assert_eq!(client(request.headers(), addr(client_text)), addr(client_text));
            assert_eq!(request.headers()["baggage"], "k8s.namespace.name=full,k8s.pod.name=sleep-1");
        }
    }

    #[test]
    fn only_connect_to_an_address_is_a_request() {
        for (method, uri) in [
            (Method::GET, "10.0.0.2:80"),
            (Method::CONNECT, "httpbin.full:80"),
            (Method::CONNECT, "10.0.0.2"),
            (Method::CONNECT, "/"),
            (Method::CONNECT, "user@10.0.0.2:80"),
            (Method::CONNECT, "10.0.0.2:99999"),
        ] {
            let request = Request::builder().method(method).uri(uri).body(()).unwrap();
            assert_eq!(target(&request).unwrap_err().reason, Reason::BadRequest, "{uri}");
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
            let headers = HeaderMap::from_iter([(http::header::FORWARDED, value.parse().unwrap())]);
            assert_eq!(client(&headers, addr(TUNNEL)), addr(expected), "{value}");
        }
        assert_eq!(client(&HeaderMap::new(), addr(TUNNEL)), addr(TUNNEL));
    }
}
