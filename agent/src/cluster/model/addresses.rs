//! The addresses of one pod.

use std::net::IpAddr;

/// At most one address of each family, the first one written first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cluster) struct Addresses([Option<IpAddr>; 2]);

impl Addresses {
    /// Adds an address, unless there is one of its family.
    pub(super) fn add(&mut self, address: IpAddr) {
        if self.iter().all(|known| known.is_ipv4() != address.is_ipv4())
            && let Some(free) = self.0.iter_mut().find(|slot| slot.is_none())
        {
            *free = Some(address);
        }
    }

    pub(in crate::cluster) fn iter(&self) -> impl Iterator<Item = IpAddr> {
        self.0.iter().flatten().copied()
    }

    pub(in crate::cluster) fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&Some(address))
    }

    pub(in crate::cluster) const fn is_empty(&self) -> bool {
        self.0[0].is_none()
    }
}
