//! Culvert's node agent: see `ARCHITECTURE.md` for who knows what.

pub mod announce;
pub mod ca;
pub mod cluster;
pub mod enforce;
pub mod enroll;
pub mod explain;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod identity;
pub mod kernel;
pub mod memory;
mod netlink;
pub mod netns;
pub mod observe;
mod sock_diag;
pub mod status;
mod sys;
pub mod tunnel;
