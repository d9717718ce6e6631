//! The flags of `culvert detach`.

use super::{
    flags::{Flag, Given},
    values::{name, node_name},
};

/// What is to be detached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DetachOptions {
    /// The node's name.
    pub(crate) node: String,
}

pub(super) const FLAGS: &[Flag] = &[Flag::value(
    "node",
    "NAME",
    "the node's name, as the agent was given it [default: $NODE_NAME, or the host name]",
)];

impl DetachOptions {
    #[expect(
        clippy::unnecessary_wraps,
        reason = "each command's flags are parsed by a function of one shape"
    )]
    pub(super) fn parse(given: &mut Given) -> Option<Self> {
        Some(Self { node: given.take("node", name).unwrap_or_else(node_name) })
    }
}
