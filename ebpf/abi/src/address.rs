//! Addresses as map keys: one form for IPv4 and IPv6.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An IPv6 address, or an IPv4 address in its mapped form, as four words in network order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Address(pub [u32; 4]);

/// The third word of `::ffff:0:0/96`.
const MAPPED: u32 = 0xffff_u32.to_be();

impl Address {
    /// From an IPv4 address in network order.
    #[inline(always)]
    pub const fn from_v4(word: u32) -> Self {
        Self([0, 0, MAPPED, word])
    }

    /// Whether this is an IPv4 address.
    #[inline(always)]
    pub const fn is_v4(self) -> bool {
        self.0[0] == 0 && self.0[1] == 0 && self.0[2] == MAPPED
    }

    /// Whether this is `0.0.0.0`, `::`, or the absence of an address. A `connect()` to it reaches the caller's own
    /// loopback.
    #[inline(always)]
    pub const fn is_unspecified(self) -> bool {
        self.0[0] == 0 && self.0[1] == 0 && (self.0[2] == 0 || self.0[2] == MAPPED) && self.0[3] == 0
    }

    /// Whether this is in `127.0.0.0/8` or is `::1`.
    #[inline(always)]
    pub const fn is_loopback(self) -> bool {
        if self.is_v4() {
            return self.0[3].to_ne_bytes()[0] == 127;
        }
        self.0[0] == 0 && self.0[1] == 0 && self.0[2] == 0 && self.0[3] == 1_u32.to_be()
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        let octets = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let word = |i: usize| u32::from_ne_bytes([octets[i], octets[i + 1], octets[i + 2], octets[i + 3]]);
        Self([word(0), word(4), word(8), word(12)])
    }
}

impl From<Address> for IpAddr {
    fn from(Address(words): Address) -> Self {
        let mut octets = [0; 16];
        for (chunk, word) in octets.chunks_exact_mut(4).zip(words) {
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        Ipv6Addr::from(octets).to_canonical()
    }
}

/// An address and a port. As a key of the peer map or of the ports' map, port 0 stands for each port that has no
/// entry of its own.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SocketAddress {
    /// The address.
    pub address: Address,
    /// The port.
    pub port: u16,
    reserved: u16,
}

impl SocketAddress {
    /// From its parts.
    #[inline(always)]
    pub const fn new(address: Address, port: u16) -> Self {
        Self { address, port, reserved: 0 }
    }
}

impl From<SocketAddr> for SocketAddress {
    fn from(address: SocketAddr) -> Self {
        Self::new(address.ip().into(), address.port())
    }
}

impl From<SocketAddress> for SocketAddr {
    fn from(address: SocketAddress) -> Self {
        Self::new(address.address.into(), address.port)
    }
}

/// A socket of a pod: the cookie of the network namespace, and the socket's own address in it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The cookie of the network namespace.
    pub netns: u64,
    /// The socket's local address and port.
    pub local: SocketAddress,
    reserved: u32,
}

impl FlowKey {
    /// From its parts.
    #[inline(always)]
    pub const fn new(netns: u64, local: SocketAddress) -> Self {
        Self { netns, local, reserved: 0 }
    }
}

/// The pod's own listener of the family that the address has.
impl crate::Pod {
    /// Where a connection to `target` is sent, if the pod has an address of that family.
    #[inline(always)]
    pub const fn listener_for(&self, target: Address) -> Option<SocketAddress> {
        let listener = if target.is_v4() { self.v4 } else { self.v6 };
        if listener.port == 0 { None } else { Some(listener) }
    }

    /// Whether `address` is one of the pod's own.
    #[inline(always)]
    pub fn owns(&self, address: Address) -> bool {
        self.v4.address == address || self.v6.address == address
    }
}

/// An IPv4 address as the kernel's contexts hold it: one word in network order.
impl From<Ipv4Addr> for Address {
    fn from(address: Ipv4Addr) -> Self {
        IpAddr::V4(address).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().expect("an address").into()
    }

    #[test]
    fn comes_back_in_its_own_family() {
        for text in ["10.0.2.7", "127.0.0.1", "fd00:2::7", "::1"] {
            let ip: IpAddr = text.parse().expect("an address");
            assert_eq!(IpAddr::from(Address::from(ip)), ip);
        }
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        assert_eq!(address("::ffff:10.0.2.7"), address("10.0.2.7"));
        assert_eq!(Address::from_v4(u32::from_ne_bytes([10, 0, 2, 7])), address("10.0.2.7"));
    }

    #[test]
    fn tells_the_special_ones() {
        for (text, v4, unspecified, loopback) in [
            ("0.0.0.0", true, true, false),
            ("::", false, true, false),
            ("127.8.0.1", true, false, true),
            ("::1", false, false, true),
            ("10.0.0.127", true, false, false),
            ("fd00::1", false, false, false),
        ] {
            let found = (address(text).is_v4(), address(text).is_unspecified(), address(text).is_loopback());
            assert_eq!(found, (v4, unspecified, loopback), "{text}");
        }
    }
}
