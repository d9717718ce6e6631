//! A directory of manifests as the source of the cluster's state.

mod directory;
pub(crate) mod documents;
pub(super) mod folder;
mod mesh;

pub use directory::{ManifestDir, ManifestDirError};
