//! Connections that are held until standard input ends.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    time::Duration,
};

use anyhow::{Result, bail};
use serde::Serialize;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

use crate::{
    alone::{self, round_trip},
    many, print, run,
};

/// Connections on which nothing moves any more.
#[derive(Serialize)]
struct Stalled {
    stalled: usize,
    bytes: u64,
}

/// Opens connections, makes a round trip on each and says so; a line of standard input asks for another on each.
pub(crate) fn idle(address: SocketAddr, connections: usize) -> Result<()> {
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut stream = alone::connect(address)?;
        round_trip(&mut stream)?;
        streams.push(stream);
    }
    print(&"open")?;
    for line in io::stdin().lines() {
        line?;
        streams.iter_mut().try_for_each(round_trip)?;
        print(&"answered")?;
    }
    Ok(())
}

/// Opens connections, sends on each until no more is taken, and says how much was.
pub(crate) fn stalled(address: SocketAddr, connections: usize) -> Result<()> {
    run(async {
        let mut fills = JoinSet::new();
        for _ in 0..connections {
            fills.spawn(fill(many::connect(address).await?));
        }
        let (mut streams, mut bytes) = (Vec::new(), 0);
        while let Some(filled) = fills.join_next().await {
            let (stream, taken) = filled??;
            streams.push(stream);
            bytes += taken;
        }
        print(&Stalled { stalled: streams.len(), bytes })?;
        io::stdin().lines().try_for_each(|line| line.map(drop))?;
        Ok(())
    })
}

/// Nothing taken for so long: nobody reads.
const QUIET: Duration = Duration::from_secs(1);
/// Far more than what windows and buffers on the way hold; in bytes.
const MOST: u64 = 1 << 28;

async fn fill(stream: TcpStream) -> Result<(TcpStream, u64)> {
    let mut taken = 0;
    while let Ok(writable) = timeout(QUIET, stream.writable()).await {
        writable?;
        match stream.try_write(&[7; 1 << 14]) {
            Ok(length) => taken += length as u64,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        if taken > MOST {
            bail!("a connection that nobody reads has taken {taken} bytes");
        }
    }
    Ok((stream, taken))
}
