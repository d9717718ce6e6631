//! A CONNECT as anybody might write it: a line each for the method, the authority, and the application that it is for.

use super::*;

pub(crate) fn run(data: &[u8]) -> bool {
    let Some(asked) = parse(data) else { return false };
    let tunnel = SocketAddr::from(([10, 0, 0, 1], 40000));
    let claimed = client(&asked, tunnel);
    assert_eq!(canonical(claimed.ip()), canonical(tunnel.ip()), "another pod's address is believed");
    let Ok(asked_for) = target(&asked) else { return false };
    assert_eq!(asked.method(), b"CONNECT");
    // A zone has no place in an authority (RFC 6874 is not HTTP's), and no target of ours has one.
    Connect::new(asked_for, claimed, &PodRef::new("full", "sleep")).write(|request| {
        let fields = request.headers.iter().copied();
        let pseudo = [(":method", "CONNECT"), (":authority", request.authority)];
        let again = pseudo.into_iter().chain(fields).collect();
        if let Ok(target) = target(&again) {
            assert_eq!((target, client(&again, tunnel)), (asked_for, claimed));
        }
    });
    true
}

fn parse(data: &[u8]) -> Option<Head> {
    let mut lines = str::from_utf8(data).ok()?.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    Some([(":method", line()), (":authority", line()), (FORWARDED, line())].into_iter().collect())
}
