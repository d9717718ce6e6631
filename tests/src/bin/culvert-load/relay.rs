//! What any proxy has to do at the least: to read each message and write it on.

use std::{cell::RefCell, io, net::SocketAddr, str::FromStr};

use anyhow::{Context as _, Error, Result};
use tokio::{
    io::AsyncWriteExt as _,
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    task::JoinSet,
};

use crate::{
    many::connect,
    print, run,
    servers::{accept, bind},
};

/// Where connections come to, and where they are carried.
#[derive(Clone, Copy)]
pub(crate) struct Hop {
    from: SocketAddr,
    to: SocketAddr,
}

impl FromStr for Hop {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (from, to) = text.split_once('=').context("expected FROM=TO")?;
        Ok(Self { from: from.parse()?, to: to.parse()? })
    }
}

/// Carries the connections of all hops, until killed.
pub(crate) fn relay(hops: &[Hop]) -> Result<()> {
    run(async {
        let mut serving = JoinSet::new();
        for &Hop { from, to } in hops {
            let listener = bind(from).await?;
            serving.spawn(async move {
                loop {
                    tokio::spawn(carry(accept(&listener).await?, to));
                }
            });
        }
        print(&"listening")?;
        serving.join_next().await.context("nothing to carry")??
    })
}

async fn carry(mut near: TcpStream, to: SocketAddr) -> Result<()> {
    let mut far = connect(to).await?;
    let ((near_in, near_out), (far_in, far_out)) = (near.split(), far.split());
    tokio::try_join!(pump(near_in, far_out), pump(far_in, near_out))?;
    Ok(())
}

async fn pump(from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
    while let Some(rest) = hand_on(from.as_ref(), to.as_ref()).await? {
        to.write_all(&rest).await?;
    }
    to.shutdown().await
}

/// Writes on what can be read; what could not be written, or none at the end.
async fn hand_on(from: &TcpStream, to: &TcpStream) -> io::Result<Option<Vec<u8>>> {
    loop {
        from.readable().await?;
        let moved = BUFFER.with_borrow_mut(|buffer| {
            let length = from.try_read(buffer)?;
            let written = to.try_write(&buffer[..length]).unwrap_or(0);
            io::Result::Ok((length > 0).then(|| buffer[written..length].to_vec()))
        });
        match moved {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            moved => return moved,
        }
    }
}

thread_local! {
    /// One for all connections.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 1 << 17]);
}
