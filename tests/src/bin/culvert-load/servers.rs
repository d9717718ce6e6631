//! The applications at the far end.

use std::{cell::RefCell, io, net::SocketAddr};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{MESSAGE, print, run};

/// Sends back whatever comes.
pub(crate) fn echo(address: SocketAddr) -> Result<()> {
    run(async {
        let listener = listen(address).await?;
        loop {
            tokio::spawn(echo_one(accept(&listener).await?));
        }
    })
}

/// Reads to the end and says how much that was: eight bytes, the most significant first.
pub(crate) fn sink(address: SocketAddr) -> Result<()> {
    run(async {
        let listener = listen(address).await?;
        loop {
            tokio::spawn(sink_one(accept(&listener).await?));
        }
    })
}

/// Accepts and never reads.
pub(crate) fn mute(address: SocketAddr) -> Result<()> {
    run(async {
        let listener = listen(address).await?;
        let mut streams = Vec::new();
        loop {
            streams.push(accept(&listener).await?);
        }
    })
}

/// Sends back one message and closes.
pub(crate) fn once(address: SocketAddr) -> Result<()> {
    run(async {
        let listener = listen(address).await?;
        loop {
            tokio::spawn(once_one(accept(&listener).await?));
        }
    })
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listener = bind(address).await?;
    print(&"listening")?;
    Ok(listener)
}

pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

pub(crate) async fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn echo_one(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length]).await?,
        }
    }
}

async fn once_one(mut stream: TcpStream) -> io::Result<()> {
    let mut message = [0; MESSAGE];
    stream.read_exact(&mut message).await?;
    stream.write_all(&message).await
}

async fn sink_one(mut stream: TcpStream) -> io::Result<()> {
    let mut received = 0_u64;
    loop {
        stream.readable().await?;
        match BUFFER.with_borrow_mut(|buffer| stream.try_read(buffer)) {
            Ok(0) => return stream.write_all(&received.to_be_bytes()).await,
            Ok(length) => received += length as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

thread_local! {
    /// One for all connections: many of their own would only measure the CPU's caches.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 1 << 17]);
}
