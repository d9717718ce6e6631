//! A file of trusted roots, such as a mounted `ConfigMap`, whose content is replaced while we run.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::sleep;
use tracing::{info, warn};

use super::{Roots, Trust, failing::with_sources, roots::RootsFault};

/// A mount is replaced by renaming a link, in one of several directories above the file: looking at the content misses
/// nothing that a watch might.
const EVERY: Duration = Duration::from_secs(2);
/// Much more than a bundle has, so that a wrong file is not read to its end.
const MAX_FILE: u64 = 256 * 1024;

/// Keeps a [`Trust`] in step with a file.
#[derive(Debug)]
pub(super) struct RootsFile {
    path: PathBuf,
    trust: Arc<Trust>,
    /// What the file held when it was last looked at.
    seen: Mutex<Option<Vec<u8>>>,
}

/// Why a file of roots changes nothing.
#[derive(Debug, thiserror::Error)]
enum FileFault {
    #[error("cannot read the trusted roots in {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("expected trusted roots in {}, of at most {MAX_FILE} bytes", path.display())]
    TooLong { path: PathBuf },
    #[error("cannot use the trusted roots in {}", path.display())]
    Roots { path: PathBuf, source: RootsFault },
}

impl RootsFile {
    /// The file need not be there yet: until it is, `trust` is as it was.
    pub(super) fn open(path: PathBuf, trust: Arc<Trust>) -> Self {
        let file = Self { path, trust, seen: Mutex::default() };
        file.look();
        file
    }

    /// Looks every few seconds, for ever.
    pub(super) async fn follow(&self) {
        loop {
            self.look();
            sleep(EVERY).await;
        }
    }

    /// Puts in force what the file holds now. A file that cannot be used changes nothing, and is told of once.
    pub(super) fn look(&self) {
        match self.news() {
            Ok(None) => {}
            Ok(Some(roots)) => {
                let trusted = roots.report();
                self.trust.set_roots(roots);
                self.trust.set_problem(None);
                info!(file = %self.path.display(), ?trusted, "these roots are trusted");
            }
            Err(fault) => self.tell(&fault),
        }
    }

    fn tell(&self, fault: &FileFault) {
        let problem = with_sources(fault);
        if self.trust.set_problem(Some(problem.clone())).as_ref() != Some(&problem) {
            warn!(problem, "trusted roots stay as they were");
        }
    }

    /// The roots in the file, unless it holds what it held before.
    fn news(&self) -> Result<Option<Roots>, FileFault> {
        let content = read(&self.path)?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.as_ref() == Some(&content) && self.trust.problem().is_none() {
            return Ok(None);
        }
        let roots = Roots::from_pem(&content)
            .map_err(|source| FileFault::Roots { path: self.path.clone(), source })?;
        *seen = Some(content);
        Ok(Some(roots))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, FileFault> {
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut content));
    match read {
        Err(source) => Err(FileFault::Read { path: path.into(), source }),
        Ok(length) if length as u64 > MAX_FILE => Err(FileFault::TooLong { path: path.into() }),
        Ok(_) => Ok(content),
    }
}
