//! What a test says to the process that lives in a pod, and how a socket comes back.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A socket that is wanted; its family is that of the address.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// One that starts to connect; the test waits for the outcome, so that the helper never blocks.
    Connect {
        /// Where to.
        to: SocketAddr,
        /// Bind to it first.
        bind: Option<SocketAddr>,
        /// Its `TCP_NOTSENT_LOWAT`.
        unsent_mark: Option<u32>,
    },
    /// One that listens.
    Listen {
        /// Where.
        at: SocketAddr,
        /// For IPv4 too, on an IPv6 address.
        dual_stack: bool,
    },
}

/// The answer: `Made` and then `Done`, or what went wrong. The first `Done` of all says that the helper is in its place.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// A socket, which comes with it.
    Made,
    /// The helper is in its place, and no longer holds what it made: a socket that the test closes is closed.
    Done,
    /// The kernel said no.
    Errno(i32),
    /// The helper itself could not start.
    Broken(String),
}

/// Sends one message, with a file descriptor or without.
pub(crate) fn send(
    channel: BorrowedFd<'_>,
    message: &impl Serialize,
    fd: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if let Some(fd) = &fd {
        control.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(fd)));
    }
    sendmsg(channel, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one message; none when the other side is gone.
pub(crate) fn receive<M: DeserializeOwned>(channel: impl AsFd) -> io::Result<Option<(M, Option<OwnedFd>)>> {
    let mut bytes = [0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(channel, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let message = serde_json::from_slice(&bytes[..received.bytes])?;
    Ok(Some((message, control.drain().find_map(first_fd))))
}

/// Messages are a few addresses, or the text of one error.
const LONGEST: usize = 4096;

fn first_fd(message: RecvAncillaryMessage<'_>) -> Option<OwnedFd> {
    match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    }
}
