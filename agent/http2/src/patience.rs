//! How much a peer may cost.

/// A budget that is spent by what costs us and gives nothing, and earned back by what is worth it. Without a clock, so
/// that a quiet connection is never out of it.
#[derive(Debug)]
pub(crate) struct Patience {
    left: u32,
    most: u32,
}

impl Patience {
    pub(crate) const fn new(most: u32) -> Self {
        Self { left: most, most }
    }

    /// Whether there was so much.
    pub(crate) const fn spend(&mut self, cost: u32) -> bool {
        let enough = cost <= self.left;
        self.left = self.left.saturating_sub(cost);
        enough
    }

    pub(crate) fn earn(&mut self, worth: u32) {
        self.left = self.left.saturating_add(worth).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_and_never_grows_beyond_its_start() {
        let mut patience = Patience::new(2);
        patience.earn(100);
        assert!(patience.spend(1) && patience.spend(1) && !patience.spend(1));
        patience.earn(1);
        assert!(patience.spend(1) && !patience.spend(1));
    }
}
