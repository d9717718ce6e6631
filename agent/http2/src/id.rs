//! Which stream of a connection.

use std::fmt;

/// The identifier of a stream (RFC 9113, section 5.1.1). Never used twice in one connection.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StreamId(pub(crate) u32);

impl StreamId {
    /// The largest there is.
    pub(crate) const MAX: Self = Self((1 << 31) - 1);
}

impl From<StreamId> for u32 {
    fn from(id: StreamId) -> Self {
        id.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
