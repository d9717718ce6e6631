//! A pod's sockets, made ahead: to enter a namespace and come back costs more than a socket does.

use std::{
    cell::{Cell, RefCell},
    io,
};

use socket2::{Domain, Socket};

use crate::netns::Netns;

/// Sockets of a pod that have yet to be connected.
pub(super) struct Stock {
    netns: Netns,
    v4: Shelf,
    v6: Shelf,
}

impl Stock {
    /// An empty one.
    pub(super) fn new(netns: Netns) -> Self {
        Self { netns, v4: Shelf::default(), v6: Shelf::default() }
    }

    /// What the kernel's programs know the pod's namespace by.
    pub(super) const fn cookie(&self) -> u64 {
        self.netns.cookie()
    }

    /// A non-blocking TCP socket in the pod's namespace.
    pub(super) fn take(&self, family: Domain) -> io::Result<Socket> {
        let place = if family == Domain::IPV4 { &self.v4 } else { &self.v6 };
        place.take(|count| self.netns.tcp_sockets(family, count))
    }
}

/// Each visit brings twice as many, so that a pod that needs few keeps few descriptors.
struct Shelf {
    ready: RefCell<Vec<Socket>>,
    next_visit: Cell<usize>,
}

/// Descriptors that a pod may hold for nothing, of each family.
const LARGEST: usize = 8;

impl Default for Shelf {
    fn default() -> Self {
        Self { ready: RefCell::default(), next_visit: Cell::new(1) }
    }
}

impl Shelf {
    fn take(&self, visit: impl FnOnce(usize) -> io::Result<Vec<Socket>>) -> io::Result<Socket> {
        let ready = self.ready.borrow_mut().pop();
        ready.map_or_else(|| self.restock(visit), Ok)
    }

    fn restock(&self, visit: impl FnOnce(usize) -> io::Result<Vec<Socket>>) -> io::Result<Socket> {
        let count = self.next_visit.get();
        let mut brought = visit(count)?;
        self.next_visit.set((count * 2).min(LARGEST));
        let first = brought.pop().ok_or(io::ErrorKind::NotFound)?;
        self.ready.replace(brought);
        Ok(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visits_bring_more_as_more_is_taken() {
        let stock = Stock::new(Netns::current().unwrap());
        let left: Vec<usize> = (0..16)
            .map(|_| {
                stock.take(Domain::IPV4).unwrap();
                stock.v4.ready.borrow().len()
            })
            .collect();
        assert_eq!(left, [0, 1, 0, 3, 2, 1, 0, 7, 6, 5, 4, 3, 2, 1, 0, 7]);
        assert!(stock.v6.ready.borrow().is_empty());
    }

    #[test]
    fn a_visit_that_fails_is_made_again() {
        let shelf = Shelf::default();
        assert!(shelf.take(|_| Err(io::ErrorKind::OutOfMemory.into())).is_err());
        assert!(shelf.take(|count| Netns::current()?.tcp_sockets(Domain::IPV6, count)).is_ok());
    }
}
