//! Short ways to write down objects in tests.

use crate::{Labels, Meta};

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|&(key, value)| (key.into(), value.into())).collect()
}

pub(crate) fn meta(created: Option<i64>, namespace: &str, name: &str) -> Meta {
    Meta { created, name: name.into(), namespace: namespace.into() }
}
