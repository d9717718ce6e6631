//! A CONNECT as anybody might write it: a line each for the method, the authority, and the application that it is for.

use super::*;

pub(crate) fn run(data: &[u8]) -> bool {
    let Some(asked) = parse(data) else { return false };
    let tunnel = SocketAddr::from(([10, 0, 0, 1], 40000));
    let claimed = client(asked.headers(), tunnel);
    assert_eq!(canonical(claimed.ip()), canonical(tunnel.ip()), "another pod's address is believed");
    let Ok(asked_for) = target(&asked) else { return false };
    assert_eq!(asked.method(), Method::CONNECT);
    // A zone has no place in an authority (RFC 6874 is not HTTP's), and no target of ours has one.
    if let Ok(again) = request(asked_for, claimed, &PodRef::new("full", "sleep")) {
        assert_eq!(target(&again).map_err(|failure| failure.reason), Ok(asked_for));
        assert_eq!(client(again.headers(), tunnel), claimed);
    }
    true
}

fn parse(data: &[u8]) -> Option<Request<()>> {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let request = Request::builder().method(line()).uri(line()).header(FORWARDED, line());
    request.body(()).ok()
}
