//! The applications at the far end.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    rc::Rc,
};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{LocalSet, spawn_local},
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

/// Says how much it has read from all so far, reads to the end, and says how much that was: eight bytes each, the most
/// significant first.
pub(crate) fn sink(address: SocketAddr) -> Result<()> {
    run(async {
        let listener = listen(address).await?;
        let total = Rc::<Cell<u64>>::default();
        LocalSet::new()
            .run_until(async {
                loop {
                    spawn_local(sink_one(accept(&listener).await?, Rc::clone(&total)));
                }
            })
            .await
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

async fn sink_one(mut stream: TcpStream, total: Rc<Cell<u64>>) -> io::Result<()> {
    stream.write_u64(total.get()).await?;
    let mut received = 0;
    loop {
        stream.readable().await?;
        match BUFFER.with_borrow_mut(|buffer| stream.try_read(buffer)) {
            Ok(0) => return stream.write_u64(received).await,
            Ok(length) => {
                received += length as u64;
                total.set(total.get() + length as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

thread_local! {
    /// One for all connections: many of their own would only measure the CPU's caches.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 1 << 17]);
}
