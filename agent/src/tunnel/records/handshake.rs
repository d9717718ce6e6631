//! Handshakes, by rustls' unbuffered connections: what comes behind the handshake in the same segment is not lost.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::{io, sync::Arc, time::Duration};

use culvert_http2::Buffer;
use rustls::{
    ClientConfig, CommonState, Error, ExtractedSecrets, ServerConfig,
    client::{ClientConnectionData, UnbufferedClientConnection},
    server::{ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    super::{
        failure::Failure,
        tls::{HANDSHAKE, late, part},
    },
    DATA, HEADER, Keys, Protection, Records, length,
};
use crate::identity::{VerifiedPeer, server_name};

/// A connection under TLS to a peer that has proven who it is.
pub(in super::super) struct Session {
    pub(in super::super) tcp: TcpStream,
    pub(in super::super) records: Records,
    pub(in super::super) peer: VerifiedPeer,
    /// What came behind the handshake, still sealed.
    pub(in super::super) arrived: Vec<u8>,
}

/// The client's side of a handshake.
pub(in super::super) async fn connect(config: Arc<ClientConfig>, tcp: TcpStream) -> Result<Session, Failure> {
    let side = UnbufferedClientConnection::new(config, server_name()).map_err(failure)?;
    shake(side, tcp, HANDSHAKE).await
}

/// The server's side of a handshake.
pub(in super::super) async fn accept(
    config: Arc<ServerConfig>,
    tcp: TcpStream,
    within: Duration,
) -> Result<Session, Failure> {
    let side = UnbufferedServerConnection::new(config).map_err(failure)?;
    shake(side, tcp, within).await
}

fn failure(error: Error) -> Failure {
    Failure::in_handshake(&io::Error::new(io::ErrorKind::InvalidData, error))
}

async fn shake<S: Side>(side: S, tcp: TcpStream, within: Duration) -> Result<Session, Failure> {
    let mut shaking = Shaking { side, tcp, inbox: Vec::new(), given: 0, outbox: Buffer::default() };
    match timeout(within, shaking.run()).await.map_err(|_| late())? {
        Ok(()) => shaking.finish(),
        Err(error) => {
            // The peer may be gone, and need no alert, or take none.
            let _ = timeout(within, shaking.transmit()).await;
            if S::HAS_LAST_WORD {
                part(shaking.tcp).await;
            }
            Err(Failure::in_handshake(&error))
        }
    }
}

/// One of the two sides, which rustls has different types for.
trait Side {
    type Data;
    /// Whether the peer may be sending still when this side finds fault with it.
    const HAS_LAST_WORD: bool;
    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
    fn state(&self) -> &CommonState;
    fn into_keys(self) -> Result<(ExtractedSecrets, Keys), Error>;
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    const HAS_LAST_WORD: bool = false;

    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(bytes)
    }

    fn state(&self) -> &CommonState {
        self
    }

    fn into_keys(self) -> Result<(ExtractedSecrets, Keys), Error> {
        let (secrets, keys) = self.dangerous_into_kernel_connection()?;
        Ok((secrets, Keys::Client(keys)))
    }
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    const HAS_LAST_WORD: bool = true;

    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(bytes)
    }

    fn state(&self) -> &CommonState {
        self
    }

    fn into_keys(self) -> Result<(ExtractedSecrets, Keys), Error> {
        let (secrets, keys) = self.dangerous_into_kernel_connection()?;
        Ok((secrets, Keys::Server(keys)))
    }
}

struct Shaking<S> {
    side: S,
    tcp: TcpStream,
    inbox: Vec<u8>,
    /// How much of the inbox rustls has been shown: no record more than it asks for.
    given: usize,
    outbox: Buffer,
}

/// What a handshake does next.
enum Next {
    Again,
    Transmit,
    Read,
    Over,
}

impl<S: Side> Shaking<S> {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            match self.step()? {
                Next::Again => {}
                Next::Transmit => self.transmit().await?,
                Next::Read => self.read().await?,
                Next::Over => return self.transmit().await,
            }
        }
    }

    fn step(&mut self) -> io::Result<Next> {
        let Self { side, inbox, given, outbox, .. } = self;
        let UnbufferedStatus { discard, state } = side.process(&mut inbox[..*given]);
        let next = match state {
            Ok(ConnectionState::EncodeTlsData(data)) => encode(data, outbox).map(|()| Next::Again),
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Ok(Next::Transmit)
            }
            Ok(ConnectionState::BlockedHandshake) => Ok(Next::Read),
            Ok(ConnectionState::WriteTraffic(_)) => Ok(Next::Over),
            Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        };
        inbox.drain(..discard);
        *given -= discard;
        match next {
            // A server may send before it has heard whether the client is who it says.
            Ok(Next::Over) if self.side.state().is_handshaking() => Ok(Next::Read),
            Err(error) => {
                self.complain();
                Err(error)
            }
            next => next,
        }
    }

    /// Takes the alert, which rustls hands out behind the error. Asked for more, it would go on reading.
    fn complain(&mut self) {
        if let Ok(ConnectionState::EncodeTlsData(data)) = self.side.process(&mut []).state {
            // The error itself counts.
            let _ = encode(data, &mut self.outbox);
        }
    }

    async fn transmit(&mut self) -> io::Result<()> {
        self.tcp.write_all(self.outbox.filled()).await?;
        self.outbox.clear();
        Ok(())
    }

    /// Gives rustls one more record, which may have to arrive first.
    async fn read(&mut self) -> io::Result<()> {
        loop {
            if let Some(length) = next(&self.inbox[self.given..]) {
                self.given += length;
                return Ok(());
            }
            if self.inbox.len() > LARGEST {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.inbox.reserve(READ);
            if self.tcp.read_buf(&mut self.inbox).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn finish(self) -> Result<Session, Failure> {
        let peer = VerifiedPeer::of(self.side.state())?;
        let (secrets, keys) = self.side.into_keys().map_err(failure)?;
        let (sealing, opening) = (secrets.tx, secrets.rx);
        let records = Records {
            sealing: Protection::new(sealing.0, &sealing.1).map_err(failure)?,
            opening: Protection::new(opening.0, &opening.1).map_err(failure)?,
            keys,
            owes_update: false,
            words: Vec::new(),
            chatter: 0,
        };
        Ok(Session { tcp: self.tcp, records, peer, arrived: self.inbox })
    }
}

/// How many bytes rustls is to see next, once they are there: a record, or what is none, for it to say so.
fn next(bytes: &[u8]) -> Option<usize> {
    let length = match bytes {
        [] | [CHANGE_CIPHER_SPEC..=DATA] | [CHANGE_CIPHER_SPEC..=DATA, MAJOR, ..] => length(bytes).ok(),
        _ => None,
    };
    match length {
        Some(record) => record.filter(|length| *length <= bytes.len()),
        None => (bytes.len() >= HEADER).then_some(bytes.len()),
    }
}

/// The lowest content type.
const CHANGE_CIPHER_SPEC: u8 = 20;
/// Of all protocol versions since SSL 3.0.
const MAJOR: u8 = 3;

/// A flight takes a few kilobytes. This much strangers can make the agent hold for each handshake.
const LARGEST: usize = 32 * 1024;
const READ: usize = 4096;

fn encode<D>(mut data: EncodeTlsData<'_, D>, out: &mut Buffer) -> io::Result<()> {
    loop {
        match data.encode(out.room(READ)) {
            Ok(written) => {
                out.commit(written);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(size)) => {
                out.room(size.required_size);
            }
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}
