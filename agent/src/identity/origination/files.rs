//! The files of a rule: what they hold, and whether that has changed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::OriginationFault;

/// Several times what the largest bundle of public roots has.
pub(super) const MAX_FILE: u64 = 1024 * 1024;

/// What the file system says of some files. A mount is replaced by renaming a link above its files, which shows as
/// other inodes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stamps(Vec<Option<Stamp>>);

/// Device, inode, size, and when the file last changed, in seconds and nanoseconds.
type Stamp = (u64, u64, u64, i64, i64);

impl Stamps {
    pub(super) fn of(paths: &[&PathBuf]) -> Self {
        let stamp = |path: &&PathBuf| {
            let it = fs::metadata(path).ok()?;
            Some((it.dev(), it.ino(), it.size(), it.ctime(), it.ctime_nsec()))
        };
        Self(paths.iter().map(stamp).collect())
    }
}

/// What a file holds. It may be a key, so nothing of it stays in memory.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, OriginationFault> {
    let file = open(path).map_err(|source| OriginationFault::Read { path: path.into(), source })?;
    // In room that is there from the start: a buffer that grows leaves copies behind.
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(MAX_FILE + 1).unwrap_or_default()));
    match file.take(MAX_FILE + 1).read_to_end(&mut content) {
        Err(source) => Err(OriginationFault::Read { path: path.into(), source }),
        Ok(length) if length as u64 > MAX_FILE => Err(OriginationFault::TooLong { path: path.into() }),
        Ok(_) => Ok(content),
    }
}

/// Without waiting, as a pipe would have it.
fn open(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("expected a regular file")) }
}
