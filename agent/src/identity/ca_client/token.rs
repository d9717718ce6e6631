//! The agent's own service-account token.

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
};

use tonic::metadata::{Ascii, MetadataValue};
use zeroize::Zeroizing;

use super::CaError;

/// Much more than a token has, so that a wrong file is not read to its end.
const MAX_TOKEN: u64 = 64 * 1024;

/// A file that the kubelet writes anew before the token in it expires, and which is therefore read for each request.
#[derive(Debug)]
pub(super) struct TokenFile(pub(super) PathBuf);

impl TokenFile {
    /// The token as `authorization` has it. It is never printed.
    pub(super) fn bearer(&self) -> Result<MetadataValue<Ascii>, CaError> {
        let read = || {
            let text = self.read()?;
            let value = Zeroizing::new(format!("Bearer {}", text.trim()));
            let invalid = |_| io::Error::new(io::ErrorKind::InvalidData, "expected a token of one line");
            let mut value = MetadataValue::try_from(value.as_str()).map_err(invalid)?;
            value.set_sensitive(true);
            Ok(value)
        };
        read().map_err(|source| CaError::Token { path: self.0.clone(), source })
    }

    fn read(&self) -> io::Result<Zeroizing<String>> {
        let mut text = Zeroizing::new(String::new());
        File::open(&self.0)?.take(MAX_TOKEN).read_to_string(&mut text)?;
        if text.trim().is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "expected a token, found nothing"));
        }
        Ok(text)
    }
}
