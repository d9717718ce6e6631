//! One direction's key.

use aws_lc_rs::aead::{self, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use culvert_http2::Buffer;
use rustls::{ConnectionTrafficSecrets, Error};

use super::{DATA, HEADER, OVERHEAD, TAG};

/// A key, and how many records it has sealed or opened: no nonce comes twice.
pub(super) struct Protection {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    sequence: u64,
}

impl Protection {
    pub(super) fn new(sequence: u64, secrets: &ConnectionTrafficSecrets) -> Result<Self, Error> {
        let (algorithm, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&aead::AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&aead::AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&aead::CHACHA20_POLY1305, key, iv),
            _ => return Err(Error::General("expected a cipher suite of TLS 1.3".into())),
        };
        let unfit = |_| Error::General("the keys do not fit the cipher suite".into());
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).map_err(unfit)?);
        let iv = iv.as_ref().try_into().map_err(|_| Error::EncryptError)?;
        Ok(Self { key, iv, sequence })
    }

    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The content of a record's body, with its type and padding behind it.
    pub(super) fn open<'r>(&mut self, header: &[u8], body: &'r mut [u8]) -> Result<&'r [u8], Error> {
        let nonce = self.nonce();
        self.key
            .open_in_place(nonce, Aad::from(header), body)
            .map(|inner| &*inner)
            .map_err(|_| Error::DecryptError)
    }

    /// Appends one record.
    pub(super) fn seal(&mut self, kind: u8, content: &[u8], out: &mut Buffer) -> Result<(), Error> {
        let length = content.len() + 1 + TAG;
        let record = &mut out.room(content.len() + OVERHEAD)[..HEADER + length];
        let (header, body) = record.split_at_mut(HEADER);
        header.copy_from_slice(&head(length));
        let (sealed, rest) = body.split_at_mut(content.len());
        let nonce = self.nonce();
        let result =
            self.key.seal_out_of_place_scatter(nonce, Aad::from(&*header), content, sealed, &[kind], rest);
        result.map_err(|_| Error::EncryptError)?;
        out.commit(HEADER + length);
        Ok(())
    }

    /// RFC 8446, section 5.3.
    fn nonce(&mut self) -> Nonce {
        let mut nonce = self.iv;
        for (byte, part) in nonce[NONCE_LEN - 8..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= part;
        }
        self.sequence += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

/// All protected records look like TLS 1.2's (RFC 8446, section 5.2).
fn head(length: usize) -> [u8; HEADER] {
    let [high, low] = u16::try_from(length).expect("a record is short").to_be_bytes();
    [DATA, 3, 3, high, low]
}
