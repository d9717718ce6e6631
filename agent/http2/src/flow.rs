//! How much payload may be under way (RFC 9113, sections 5.2 and 6.9).

/// The size of each window until settings or updates change it (section 6.9.2).
pub(crate) const DEFAULT_WINDOW: u32 = (1 << 16) - 1;
/// The largest that a window may become (section 6.9.1).
pub(crate) const MAX_WINDOW: u32 = (1 << 31) - 1;

/// The size would be beyond what a window may be.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Overflow;

/// What the peer lets us send.
#[derive(Debug)]
pub(crate) struct SendWindow(i64);

impl SendWindow {
    pub(crate) fn new(size: u32) -> Self {
        Self(size.into())
    }

    pub(crate) fn available(&self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        self.0 -= signed(bytes);
    }

    /// Whether something may be sent now, and could not before.
    pub(crate) fn grow(&mut self, by: u32) -> Result<bool, Overflow> {
        let before = self.0;
        self.shift(by.into())?;
        Ok(before <= 0 && self.0 > 0)
    }

    /// The peer's initial size changed by so much. May leave less than nothing (section 6.9.2).
    pub(crate) fn shift(&mut self, by: i64) -> Result<(), Overflow> {
        let size = self.0 + by;
        if size > MAX_WINDOW.into() {
            return Err(Overflow);
        }
        self.0 = size;
        Ok(())
    }
}

/// What we let the peer send.
#[derive(Debug)]
pub(crate) struct ReceiveWindow {
    /// What it still may.
    open: i64,
    /// What was consumed and not announced yet.
    due: i64,
}

impl ReceiveWindow {
    pub(crate) fn new(size: u32) -> Self {
        Self { open: size.into(), due: 0 }
    }

    /// Whether so much was allowed.
    pub(crate) fn received(&mut self, bytes: usize) -> bool {
        let bytes = signed(bytes);
        let allowed = bytes <= self.open;
        self.open -= if allowed { bytes } else { 0 };
        allowed
    }

    /// What to announce now that so much has gone on: nothing until half of the window, which is `size`, is due.
    pub(crate) fn consumed(&mut self, bytes: usize, size: u32) -> Option<u32> {
        let size = i64::from(size);
        self.due = (self.due + signed(bytes)).min(size - self.open).max(0);
        if self.due == 0 || self.due * 2 < size {
            return None;
        }
        self.open += self.due;
        u32::try_from(std::mem::take(&mut self.due)).ok()
    }

    /// Our initial size changed by so much.
    pub(crate) fn shift(&mut self, by: i64) {
        self.open += by;
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_window_that_shrank_below_zero_has_to_grow_out_of_it() {
        let mut window = SendWindow::new(10);
        window.sent(8);
        assert_eq!(window.shift(-9), Ok(()));
        assert_eq!(window.available(), 0);
        assert_eq!(window.grow(7), Ok(false));
        assert_eq!(window.grow(3), Ok(true));
        assert_eq!((window.available(), window.grow(1)), (3, Ok(false)));
    }

    #[test]
    fn a_send_window_has_a_largest_size() {
        let mut window = SendWindow::new(1);
        assert_eq!(window.grow(MAX_WINDOW - 1), Ok(true).map(|_: bool| false));
        assert_eq!(window.grow(1), Err(Overflow));
    }

    #[test]
    fn a_receive_window_is_announced_by_halves() {
        let mut window = ReceiveWindow::new(100);
        assert!(window.received(100));
        assert!(!window.received(1));
        assert_eq!(window.consumed(49, 100), None);
        assert_eq!(window.consumed(1, 100), Some(50));
        assert!(window.received(50));
    }

    #[test]
    fn a_receive_window_never_grows_beyond_its_size() {
        let mut window = ReceiveWindow::new(100);
        assert!(window.received(60));
        assert_eq!(window.consumed(1000, 100), Some(60));
        assert_eq!(window.consumed(1000, 100), None);
    }

    #[test]
    fn a_receive_window_of_one_byte_is_announced_by_bytes() {
        let mut window = ReceiveWindow::new(1);
        assert!(window.received(1));
        assert_eq!(window.consumed(1, 1), Some(1));
    }
}
