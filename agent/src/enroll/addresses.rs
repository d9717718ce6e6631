//! The addresses that a pod has inside, asked of the kernel: they are there before the kubelet publishes them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{
    netlink::{truncated, u32_at, value_of},
    netns::Netns,
};

/// An address of an interface, as rtnetlink(7) tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Configured {
    pub(super) address: IpAddr,
    interface: u32,
    scope: u8,
    flags: u32,
}

/// What a pod can be reached at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// At most one of each family, of the first interface that has one.
    Settled(Vec<IpAddr>),
    /// This one is still being checked for duplicates (RFC 4862, section 5.4), and cannot be used.
    Tentative(IpAddr),
}

/// All addresses in a namespace.
pub(super) fn configured(netns: &Netns) -> io::Result<Vec<Configured>> {
    let mut all = Vec::new();
    netns.netlink(libc::NETLINK_ROUTE)?.list(GET_ADDRESS, &[0; ADDRESS], |kind, body| {
        if kind == NEW_ADDRESS {
            all.extend(address(body)?);
        }
        Ok(())
    })?;
    Ok(all)
}

/// Which of them are the pod's to the world.
pub(super) fn global(all: &[Configured]) -> Found {
    let mut own: Vec<&Configured> = all.iter().filter(|it| it.is_global()).collect();
    own.sort_by_key(|it| it.interface);
    if let Some(tentative) = own.iter().find(|it| it.flags & TENTATIVE != 0) {
        return Found::Tentative(tentative.address);
    }
    let first = |v4: bool| own.iter().map(|it| it.address).find(|address| address.is_ipv4() == v4);
    Found::Settled([first(true), first(false)].into_iter().flatten().collect())
}

impl Configured {
    /// Neither loopback's, where services' addresses are put, nor a second one beside another, nor one that is taken.
    const fn is_global(&self) -> bool {
        self.scope == SCOPE_UNIVERSE
            && self.interface != LOOPBACK
            && self.flags & (SECONDARY | DUPLICATE) == 0
    }
}

/// `struct ifaddrmsg` and its attributes. An IPv4 address of a point-to-point link has the peer's beside it.
fn address(body: &[u8]) -> io::Result<Option<Configured>> {
    let (fixed, attributes) = body.split_at_checked(ADDRESS).ok_or_else(truncated)?;
    let ip_of = |kind| value_of(attributes, kind).and_then(ip);
    let flags = match value_of(attributes, ATTRIBUTE_FLAGS) {
        Some(all) => u32_at(all, 0)?,
        None => u32::from(fixed[2]),
    };
    let (interface, scope) = (u32_at(fixed, 4)?, fixed[3]);
    let address = ip_of(ATTRIBUTE_LOCAL).or_else(|| ip_of(ATTRIBUTE_ADDRESS));
    Ok(address.map(|address| Configured { address, interface, scope, flags }))
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(value).ok().map(|octets| Ipv4Addr::from(octets).into());
    let v6 = || <[u8; 16]>::try_from(value).ok().map(|octets| Ipv6Addr::from(octets).into());
    v4().or_else(v6)
}

/// The size of `struct ifaddrmsg` (`linux/if_addr.h`). All zero, it asks for each family and interface.
const ADDRESS: usize = 8;

const GET_ADDRESS: u16 = libc::RTM_GETADDR;
const NEW_ADDRESS: u16 = libc::RTM_NEWADDR;
const ATTRIBUTE_ADDRESS: u16 = libc::IFA_ADDRESS;
const ATTRIBUTE_LOCAL: u16 = libc::IFA_LOCAL;
/// `IFA_FLAGS`: all the flags, of which `ifaddrmsg` has room for eight.
const ATTRIBUTE_FLAGS: u16 = 8;
const SECONDARY: u32 = libc::IFA_F_SECONDARY;
const DUPLICATE: u32 = libc::IFA_F_DADFAILED;
const TENTATIVE: u32 = libc::IFA_F_TENTATIVE;
const SCOPE_UNIVERSE: u8 = libc::RT_SCOPE_UNIVERSE;
/// The first interface of every namespace.
const LOOPBACK: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str, interface: u32) -> Configured {
        let address = address.parse().expect("an address");
        Configured { address, interface, scope: SCOPE_UNIVERSE, flags: 0 }
    }

    fn settled(addresses: &[&str]) -> Found {
        Found::Settled(addresses.iter().map(|text| text.parse().expect("an address")).collect())
    }

    #[test]
    fn a_pod_has_one_address_of_each_family_and_its_first_interface() {
        let all = [
            Configured { scope: 254, ..at("127.0.0.1", 1) },
            at("10.96.0.10", 1),
            at("fd00::7", 3),
            at("192.168.7.7", 3),
            Configured { flags: SECONDARY, ..at("10.0.0.9", 2) },
            at("10.0.0.7", 2),
            Configured { scope: 253, ..at("fe80::1", 2) },
            Configured { flags: DUPLICATE, ..at("fd00::9", 2) },
        ];
        assert_eq!(global(&all), settled(&["10.0.0.7", "fd00::7"]));
        assert_eq!(global(&all[..2]), settled(&[]));
    }

    #[test]
    fn an_address_that_is_still_checked_is_waited_for() {
        let tentative = Configured { flags: TENTATIVE, ..at("fd00::7", 2) };
        assert_eq!(global(&[at("10.0.0.7", 2), tentative]), Found::Tentative(tentative.address));
    }

    #[test]
    fn the_kernel_tells_of_loopback() {
        let all = configured(&Netns::current().expect("a namespace")).expect("it answers");
        let loopback: IpAddr = Ipv4Addr::LOCALHOST.into();
        assert!(all.iter().any(|it| it.address == loopback && it.interface == LOOPBACK), "{all:?}");
        assert!(all.iter().all(|it| it.address != loopback || !it.is_global()));
    }
}
