//! Why a test fails, said again below the logs of its processes: of a long report often only the end is kept.

use std::{cell::RefCell, panic, sync::Once};

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Has each thread keep what its panics say, from now on.
pub(crate) fn keep() {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            LAST.set(Some(panic.to_string()));
            print(panic);
        }));
    });
}

/// Where and why this thread panicked last.
pub(crate) fn last() -> Option<String> {
    LAST.with_borrow(Clone::clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_kept() {
        keep();
        let panicked = panic::catch_unwind(|| panic!("of {}", "this"));
        assert!(panicked.is_err());
        let last = last().unwrap();
        assert!(last.contains(file!()) && last.ends_with("of this"), "{last}");
    }
}
