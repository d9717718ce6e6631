//! How long the kernel takes to know what the API server knows.

use std::{collections::HashMap, net::Ipv4Addr};

use culvert_testbed::crowd::Change;

/// Changes that the kernel does not know of yet, and how long it took for the others.
#[derive(Default)]
pub(super) struct Lags {
    waiting: HashMap<Ipv4Addr, Change>,
    /// In nanoseconds.
    took: Vec<u64>,
    overtaken: u32,
}

/// How long it took, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Summary {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) most: f64,
}

impl Lags {
    /// From now on the kernel should know.
    pub(super) fn expect(&mut self, change: Change) {
        if self.waiting.insert(change.address, change).is_some() {
            self.overtaken += 1;
        }
    }

    /// Asks what the kernel knows, `now` in nanoseconds of the changes' own clock.
    pub(super) fn look(
        &mut self,
        now: u64,
        mut captures: impl FnMut(Ipv4Addr) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let mut known = Vec::new();
        for change in self.waiting.values() {
            if captures(change.address)? == change.captured {
                known.push(change.address);
            }
        }
        for address in known {
            self.took.extend(self.waiting.remove(&address).map(|change| now.saturating_sub(change.at)));
        }
        Ok(())
    }

    /// How many changes the kernel does not know of.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many changes the next one of the same pod came before: the kernel may never have known of them.
    pub(super) const fn overtaken(&self) -> u32 {
        self.overtaken
    }

    /// None of nothing.
    pub(super) fn summary(&self) -> Option<Summary> {
        let mut took = self.took.clone();
        took.sort_unstable();
        let at = |share: usize| Some(milliseconds(*took.get((took.len() - 1).checked_mul(share)? / 100)?));
        if took.is_empty() { None } else { Some(Summary { p50: at(50)?, p99: at(99)?, most: at(100)? }) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time of some seconds")]
fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn change(last: u8, captured: bool, at: u64) -> Change {
        Change { address: Ipv4Addr::new(10, 64, 0, last), captured, at }
    }

    #[test]
    fn a_change_waits_until_the_kernel_says_what_it_says() {
        let mut lags = Lags::default();
        lags.expect(change(1, false, 5 * MS));
        lags.expect(change(2, true, 6 * MS));
        lags.look(7 * MS, |_| Ok(true)).unwrap();
        assert_eq!(lags.waiting(), 1);
        lags.look(9 * MS, |_| Ok(false)).unwrap();
        assert_eq!(lags.waiting(), 0);
        assert_eq!(lags.summary(), Some(Summary { p50: 1.0, p99: 1.0, most: 4.0 }));
    }

    #[test]
    fn a_change_that_another_overtakes_is_counted() {
        let mut lags = Lags::default();
        assert_eq!(lags.summary(), None);
        lags.expect(change(1, false, 0));
        lags.expect(change(1, true, 2 * MS));
        lags.look(3 * MS, |_| Ok(true)).unwrap();
        assert_eq!((lags.overtaken(), lags.waiting()), (1, 0));
        assert_eq!(lags.summary().map(|it| it.most), Some(1.0));
    }
}
