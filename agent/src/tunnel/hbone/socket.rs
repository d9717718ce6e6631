//! Reading a socket with as few system calls as it takes.

use std::io;

use rustix::net::{RecvFlags, recv};
use tokio::{io::Interest, net::TcpStream};

use super::super::busy_poll;

/// A read that does not fill its room has emptied the socket: there is no need to ask again.
pub(super) fn receive(tcp: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
    let mut length = None;
    let result = tcp.try_io(Interest::READABLE, || {
        let (read, _) = recv(tcp, &mut *room, RecvFlags::DONTWAIT)?;
        length = Some(read);
        busy_poll::heard(read);
        if read < room.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match (length, result) {
        (Some(length), _) => Ok(length),
        (None, Err(error)) => Err(error),
        (None, Ok(())) => Err(io::ErrorKind::WouldBlock.into()),
    }
}
