//! TLS 1.3 over bytes that somebody else moves: records are opened where they lie, and sealed straight into the buffer
//! that is sent.
//!
//! Handshakes are rustls'. After one, its keys come here, by the interface that rustls has for TLS in the kernel: its own
//! record layer allocates and copies for each record, which cost a third of what carrying a byte cost.

pub(crate) mod handshake;
mod protection;

use culvert_http2::Buffer;
use rustls::{
    AlertDescription, Error, InvalidMessage, PeerMisbehaved, client::ClientConnectionData,
    kernel::KernelConnection, server::ServerConnectionData,
};

pub(super) use handshake::{Session, accept, connect};
use protection::Protection;

/// Both directions of a connection whose handshake is over.
pub(super) struct Records {
    sealing: Protection,
    opening: Protection,
    keys: Keys,
    owes_update: bool,
    /// Bytes of a handshake message whose rest has yet to come.
    words: Vec<u8>,
    /// Records since the last one with data in it.
    chatter: u32,
}

/// What derives the next keys.
enum Keys {
    Client(KernelConnection<ClientConnectionData>),
    Server(KernelConnection<ServerConnectionData>),
}

/// What was in a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content<'r> {
    Data(&'r [u8]),
    /// Nothing for the one who reads.
    Nothing,
    /// The peer sends no more (`close_notify`).
    End,
}

/// Content types (RFC 8446, section 5.1) and what comes after a handshake (section 4).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// What stands before a record's content, and the most that may follow (RFC 8446, section 5.2).
const HEADER: usize = 5;
const MOST: usize = PLAIN + 256;
/// The most that is sealed in one record.
const PLAIN: usize = 1 << 14;
const TAG: usize = 16;
/// What a record takes besides its data: header, content type and tag.
const OVERHEAD: usize = HEADER + 1 + TAG;

/// The length of the record that `bytes` begins with, as soon as that can be told.
pub(super) fn length(bytes: &[u8]) -> Result<Option<usize>, Error> {
    let [_, _, _, high, low, ..] = *bytes else { return Ok(None) };
    match usize::from(u16::from_be_bytes([high, low])) {
        length if length > MOST => Err(Error::PeerSentOversizedRecord),
        length => Ok(Some(HEADER + length)),
    }
}

impl Records {
    /// What is in a whole record. After an error the connection is over.
    pub(super) fn open<'r>(&mut self, record: &'r mut [u8]) -> Result<Content<'r>, Error> {
        let (header, body) = record.split_at_mut(HEADER);
        if header[0] != DATA {
            return Err(InvalidMessage::InvalidContentType.into());
        }
        let inner = self.opening.open(header, body)?;
        // Padding is zeros behind the content type (RFC 8446, section 5.4).
        let last = inner.iter().rposition(|byte| *byte != 0).ok_or(PADDED_ONLY)?;
        let (kind, content) = (inner[last], &inner[..last]);
        if kind == DATA && !content.is_empty() {
            self.chatter = 0;
            return Ok(Content::Data(content));
        }
        self.chatter += 1;
        match kind {
            _ if self.chatter > CHATTER => Err(PeerMisbehaved::TooManyEmptyFragments.into()),
            DATA => Ok(Content::Nothing),
            ALERT => alert(content),
            HANDSHAKE => self.listen(content).map(|()| Content::Nothing),
            _ => Err(InvalidMessage::InvalidContentType.into()),
        }
    }

    fn listen(&mut self, content: &[u8]) -> Result<(), Error> {
        self.words.extend_from_slice(content);
        while let [kind, a, b, c, rest @ ..] = &*self.words {
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            if length > WORDS {
                return Err(InvalidMessage::HandshakePayloadTooLarge.into());
            }
            let (kind, Some(body)) = (*kind, rest.get(..length)) else { break };
            let asked = match (kind, body) {
                // Sessions are not resumed.
                (NEW_SESSION_TICKET, _) => None,
                (KEY_UPDATE, [asked @ (0 | 1)]) => Some(*asked == 1),
                _ => return Err(InvalidMessage::UnexpectedMessage("after a handshake").into()),
            };
            self.words.drain(..4 + length);
            if let Some(asked) = asked {
                self.update(asked)?;
            }
        }
        if self.words.is_empty() {
            self.words = Vec::new();
        }
        Ok(())
    }

    fn update(&mut self, asked: bool) -> Result<(), Error> {
        if !self.words.is_empty() {
            return Err(PeerMisbehaved::KeyEpochWithPendingFragment.into());
        }
        let (sequence, secrets) = match &mut self.keys {
            Keys::Client(keys) => keys.update_rx_secret(),
            Keys::Server(keys) => keys.update_rx_secret(),
        }?;
        self.opening = Protection::new(sequence, &secrets)?;
        self.owes_update |= asked;
        Ok(())
    }

    /// Whether there is something to send although there is no data.
    pub(super) const fn is_owing(&self) -> bool {
        self.owes_update
    }

    /// Appends `data` to `out`, sealed.
    pub(super) fn seal(&mut self, data: &[u8], out: &mut Buffer) -> Result<(), Error> {
        out.room(data.len() + (data.len() / PLAIN + 2) * OVERHEAD);
        for chunk in data.chunks(PLAIN) {
            self.renew(out)?;
            self.sealing.seal(DATA, chunk, out)?;
        }
        self.renew(out)
    }

    /// New keys, where the peer wants to see some or the old ones have sealed enough (RFC 8446, section 5.5).
    fn renew(&mut self, out: &mut Buffer) -> Result<(), Error> {
        if !self.owes_update && self.sealing.sequence() < RECORDS_PER_KEY {
            return Ok(());
        }
        self.owes_update = false;
        self.sealing.seal(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0], out)?;
        let (sequence, secrets) = match &mut self.keys {
            Keys::Client(keys) => keys.update_tx_secret(),
            Keys::Server(keys) => keys.update_tx_secret(),
        }?;
        self.sealing = Protection::new(sequence, &secrets)?;
        Ok(())
    }

    /// Appends `close_notify`.
    pub(super) fn close(&mut self, out: &mut Buffer) -> Result<(), Error> {
        self.sealing.seal(ALERT, &[WARNING, CLOSE_NOTIFY], out)
    }

    /// Appends what tells the peer which of its records was the last one.
    pub(super) fn complain(&mut self, error: &Error, out: &mut Buffer) -> Result<(), Error> {
        self.sealing.seal(ALERT, &[FATAL, u8::from(description(error))], out)
    }
}

/// Records in a row without data in them, as many as rustls allows; each costs as much as one that has some.
const CHATTER: u32 = 32;
/// The longest message after a handshake: a ticket of a server that knows much.
const WORDS: usize = 1 << 16;
/// Half of what AES-GCM may seal with one key.
const RECORDS_PER_KEY: u64 = 1 << 23;

const WARNING: u8 = 1;
const FATAL: u8 = 2;
const CLOSE_NOTIFY: u8 = 0;
const PADDED_ONLY: Error = Error::InvalidMessage(InvalidMessage::InvalidEmptyPayload);

fn alert(content: &[u8]) -> Result<Content<'static>, Error> {
    match *content {
        [_, CLOSE_NOTIFY] => Ok(Content::End),
        [_, code] => Err(Error::AlertReceived(AlertDescription::from(code))),
        _ => Err(InvalidMessage::InvalidContentType.into()),
    }
}

fn description(error: &Error) -> AlertDescription {
    match error {
        Error::DecryptError => AlertDescription::BadRecordMac,
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::InvalidMessage(_) => AlertDescription::DecodeError,
        _ => AlertDescription::UnexpectedMessage,
    }
}

#[cfg(test)]
pub(super) mod tests;
