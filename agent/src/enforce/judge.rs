//! Which open sockets of a pod its policy would not let in today.

use std::{collections::BTreeSet, net::IpAddr};

use culvert_abi::HBONE_PORT;
use culvert_policy::{PortModes, Reason, admit_plaintext};

use crate::sock_diag::{Flow, Socket, State};

/// A pod, as its sockets show it.
pub(super) struct Server<'a> {
    addresses: &'a [IpAddr],
    /// Ports that somebody listens on.
    listening: BTreeSet<u16>,
}

impl<'a> Server<'a> {
    /// Of these addresses, with these sockets.
    pub(super) fn new(addresses: &'a [IpAddr], sockets: &[Socket]) -> Self {
        let listening = sockets.iter().filter(|socket| socket.state == State::Listening);
        Self { addresses, listening: listening.map(|socket| socket.local.port()).collect() }
    }

    /// Why a socket has to be closed, if it has to.
    pub(super) fn judge(&self, socket: &Socket, modes: &PortModes) -> Option<Reason> {
        let is_judged = socket.state != State::Listening && self.is_plaintext_from_outside(socket);
        is_judged.then(|| admit_plaintext(modes.mode(socket.local.port())).err()).flatten()
    }

    fn is_plaintext_from_outside(&self, socket: &Socket) -> bool {
        let (local, remote) = (socket.local, socket.remote.ip());
        let is_border = self.addresses.contains(&local.ip())
            && !self.addresses.contains(&remote)
            && !remote.is_loopback();
        is_border
            && match socket.flow {
                Some(Flow::PlaintextInbound) => true,
                Some(Flow::Other) => false,
                // It was open before the kernel looked: who called is told by who listens.
                None => local.port() != HBONE_PORT && self.listening.contains(&local.port()),
            }
    }
}

/// Whether nothing has to be closed, whatever is open.
pub(super) fn accepts_all_plaintext(modes: &PortModes) -> bool {
    [modes.default].iter().chain(modes.ports.values()).all(|&mode| admit_plaintext(mode).is_ok())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use culvert_policy::Mode;

    use super::*;

    const POD: &str = "10.0.0.7";

    fn socket(local: &str, remote: &str, state: State, flow: Option<Flow>) -> Socket {
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        Socket::new(at(local), at(remote), state, flow)
    }

    fn illegal(modes: &PortModes, socket: &Socket) -> Option<Reason> {
        let addresses = [POD.parse().expect("an address"), "fd00::7".parse().expect("an address")];
        let listener = |local| self::socket(local, "0.0.0.0:0", State::Listening, None);
        let others = [listener("0.0.0.0:80"), listener("10.0.0.7:15008"), listener("[::]:8080")];
        Server::new(&addresses, &others).judge(socket, modes)
    }

    fn open(local: &str, remote: &str, flow: Option<Flow>) -> Socket {
        socket(local, remote, State::Open, flow)
    }

    #[test]
    fn plaintext_from_outside_goes_by_the_mode_of_its_port() {
        let ports = [(8080, Mode::Permissive), (9090, Mode::Disable)].into();
        let modes = PortModes { default: Mode::Strict, ports };
        let inbound = Some(Flow::PlaintextInbound);
        for (local, expected) in [
            ("10.0.0.7:80", Some(Reason::ModeStrict)),
            ("[fd00::7]:80", Some(Reason::ModeStrict)),
            ("10.0.0.7:8080", None),
            ("10.0.0.7:9090", None),
        ] {
            assert_eq!(illegal(&modes, &open(local, "10.0.1.1:4000", inbound)), expected, "{local}");
        }
    }

    #[test]
    fn one_strict_port_is_enough_to_look() {
        for (default, port, expected) in [
            (Mode::Permissive, Mode::Disable, true),
            (Mode::Strict, Mode::Permissive, false),
            (Mode::Disable, Mode::Strict, false),
        ] {
            let modes = PortModes { default, ports: [(80, port)].into() };
            assert_eq!(accepts_all_plaintext(&modes), expected, "{default} {port}");
        }
    }

    #[test]
    fn who_called_is_told_by_the_kernel_or_else_by_who_listens() {
        let strict = PortModes::all(Mode::Strict);
        for (local, flow, expected) in [
            ("10.0.0.7:80", None, true),
            ("10.0.0.7:8080", None, true),
            ("10.0.0.7:80", Some(Flow::Other), false),
            ("10.0.0.7:40000", None, false),
            ("10.0.0.7:40000", Some(Flow::PlaintextInbound), true),
            ("10.0.0.7:15008", None, false),
        ] {
            let found = illegal(&strict, &open(local, "10.0.1.1:4000", flow));
            assert_eq!(found.is_some(), expected, "{local} {flow:?}");
        }
        let request = socket("10.0.0.7:80", "10.0.1.1:4000", State::Request, None);
        assert_eq!(illegal(&strict, &request), Some(Reason::ModeStrict));
    }

    #[test]
    fn a_pods_connections_to_itself_and_listeners_are_let_be() {
        let strict = PortModes::all(Mode::Strict);
        for (local, remote) in [
            ("10.0.0.7:80", "10.0.0.7:4000"),
            ("10.0.0.7:80", "127.0.0.1:4000"),
            ("127.0.0.1:80", "127.0.0.1:4000"),
            ("192.168.0.7:80", "192.168.0.1:4000"),
        ] {
            for flow in [None, Some(Flow::PlaintextInbound)] {
                assert_eq!(illegal(&strict, &open(local, remote, flow)), None, "{local} {remote}");
            }
        }
        assert_eq!(illegal(&strict, &socket("10.0.0.7:80", "0.0.0.0:0", State::Listening, None)), None);
    }
}
