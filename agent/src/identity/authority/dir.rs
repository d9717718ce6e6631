//! The directory that agents share an authority by.
//!
//! No lock, and no moment at which a reader could see a key and a certificate that do not match: the key is
//! published first, by a hard link that only one agent can win, and a certificate is only ever made for the published
//! key. Whoever finds a key without a certificate (the winner, a loser, or the next agent after a crash) makes one, and
//! publishes it in the same way. Everybody then loads what was published.

use std::{
    error::Error,
    fs::{DirBuilder, File, Metadata, OpenOptions, hard_link, remove_file},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustls::{crypto::aws_lc_rs, pki_types::CertificateDer};
use zeroize::Zeroizing;

use super::{AuthorityError, root};
use crate::identity::Key;

const KEY: &str = "ca.key";
/// The root certificate's file.
pub(super) const ROOT: &str = "ca.pem";
/// More than any key or certificate needs, so that a wrong file is not read to its end.
const MAX_FILE: u64 = 64 * 1024;

/// The key and the root certificate that were published in `dir`, made now if nobody did.
pub(super) fn load_or_create(
    dir: &Path,
    trust_domain: &str,
) -> Result<(Key, CertificateDer<'static>), AuthorityError> {
    make_dir(dir)?;
    let key = match read_key(dir)? {
        Some(key) => key,
        None => create_key(dir)?,
    };
    let root = match read_root(dir)? {
        Some(root) => root,
        None => create_root(dir, &key, trust_domain)?,
    };
    Ok((key, root))
}

fn make_dir(dir: &Path) -> Result<(), AuthorityError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(dir)
        .map_err(|source| AuthorityError::Create { path: dir.into(), source })?;
    let mode = mode(dir.metadata()).map_err(|source| AuthorityError::Read { path: dir.into(), source })?;
    refuse(dir, mode, 0o022, "go-w")
}

fn read_key(dir: &Path) -> Result<Option<Key>, AuthorityError> {
    let path = dir.join(KEY);
    let Some(file) = open(&path)? else { return Ok(None) };
    let mode = mode(file.metadata()).map_err(|source| AuthorityError::Read { path: path.clone(), source })?;
    refuse(&path, mode, 0o077, "go-rwx")?;
    let pem = Zeroizing::new(read(&path, file)?);
    Key::from_pem(&pem).map(Some).map_err(|error| malformed(path, "one private key in PEM", error))
}

fn create_key(dir: &Path) -> Result<Key, AuthorityError> {
    // The key is published before the certificate: who sees a certificate first has either lost a race just now, or
    // the key has gone.
    if dir.join(ROOT).exists() {
        return read_key(dir)?.ok_or_else(|| AuthorityError::KeyMissing { dir: dir.into() });
    }
    publish(dir, KEY, Key::generate()?.to_pem().as_bytes(), 0o600)?;
    read_key(dir)?.ok_or_else(|| AuthorityError::KeyMissing { dir: dir.into() })
}

fn read_root(dir: &Path) -> Result<Option<CertificateDer<'static>>, AuthorityError> {
    let path = dir.join(ROOT);
    let Some(file) = open(&path)? else { return Ok(None) };
    let pem = read(&path, file)?;
    root::only_certificate(pem.as_bytes())
        .map(Some)
        .map_err(|error| malformed(path, "one certificate in PEM", error))
}

fn create_root(dir: &Path, key: &Key, trust_domain: &str) -> Result<CertificateDer<'static>, AuthorityError> {
    let root = root::sign(key, trust_domain, root::LIFETIME, SystemTime::now())?;
    publish(dir, ROOT, root.pem().as_bytes(), 0o644)?;
    let path = dir.join(ROOT);
    read_root(dir)?.ok_or_else(|| AuthorityError::Read { path, source: ErrorKind::NotFound.into() })
}

/// Makes the whole file appear under its name at once. That somebody else was first is no error.
fn publish(dir: &Path, name: &str, content: &[u8], mode: u32) -> Result<(), AuthorityError> {
    let path = dir.join(name);
    try_publish(dir, &path, content, mode).map_err(|source| AuthorityError::Create { path, source })
}

fn try_publish(dir: &Path, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let draft = Draft::write(dir, content, mode)?;
    match hard_link(&draft.0, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => File::open(dir)?.sync_all(),
    }
}

/// A file under a name that nobody looks for, gone when dropped.
struct Draft(PathBuf);

impl Draft {
    fn write(dir: &Path, content: &[u8], mode: u32) -> io::Result<Self> {
        let draft = Self(dir.join(format!(".draft-{:016x}", random()?)));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft.0)?;
        file.write_all(content)?;
        file.sync_all()?;
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Left behind, it is in nobody's way.
        let _ = remove_file(&self.0);
    }
}

/// Two agents in containers of their own can have the same process id: a name needs more than that.
fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    let provider = aws_lc_rs::default_provider();
    provider.secure_random.fill(&mut bytes).map_err(|_| io::Error::other("no random bytes"))?;
    Ok(u64::from_ne_bytes(bytes))
}

fn open(path: &Path) -> Result<Option<File>, AuthorityError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(AuthorityError::Read { path: path.into(), source }),
    }
}

fn read(path: &Path, file: File) -> Result<String, AuthorityError> {
    let mut text = String::new();
    let read = file.take(MAX_FILE).read_to_string(&mut text);
    read.map(|_| text).map_err(|source| AuthorityError::Read { path: path.into(), source })
}

fn mode(metadata: io::Result<Metadata>) -> io::Result<u32> {
    Ok(metadata?.permissions().mode() & 0o7777)
}

fn refuse(path: &Path, mode: u32, forbidden: u32, remedy: &'static str) -> Result<(), AuthorityError> {
    if mode & forbidden == 0 {
        return Ok(());
    }
    Err(AuthorityError::Permissive { path: path.into(), mode, remedy })
}

fn malformed(
    path: PathBuf,
    expected: &'static str,
    found: impl Into<Box<dyn Error + Send + Sync>>,
) -> AuthorityError {
    AuthorityError::Malformed { path, expected, source: found.into() }
}
