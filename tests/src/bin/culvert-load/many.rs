//! Many connections at once.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::MESSAGE;

/// Requests answered in a time.
#[derive(Serialize)]
pub(crate) struct Rate {
    requests: u64,
    per_second: f64,
}

/// Bytes that have arrived in a time.
#[derive(Serialize)]
pub(crate) struct Transfer {
    bytes: u64,
    bits_per_second: f64,
}

/// One message at a time over each of many connections.
pub(crate) async fn requests(address: SocketAddr, connections: usize, time: Duration) -> Result<Rate> {
    let mut streams = Vec::new();
    for _ in 0..connections {
        let mut stream = connect(address).await?;
        round_trip(&mut stream).await?;
        streams.push(stream);
    }
    let (start, end) = (Instant::now(), Instant::now() + time);
    let requests = sum(streams.into_iter().map(|stream| ask_until(stream, end)).collect()).await?;
    Ok(Rate { requests, per_second: per_second(requests, start) })
}

/// As many bytes as go through, over each of many connections, to a sink that counts them.
pub(crate) async fn push(address: SocketAddr, connections: usize, time: Duration) -> Result<Transfer> {
    let mut streams = Vec::new();
    for _ in 0..connections {
        streams.push(connect(address).await?);
    }
    let (start, end) = (Instant::now(), Instant::now() + time);
    let bytes = sum(streams.into_iter().map(|stream| push_until(stream, end)).collect()).await?;
    Ok(Transfer { bytes, bits_per_second: per_second(bytes, start) * 8.0 })
}

/// Connect, one round trip, wait for the server to close, several at a time.
pub(crate) async fn churn(address: SocketAddr, count: u64, parallel: u64) -> Result<Rate> {
    let start = Instant::now();
    // What does not divide evenly the first ones do.
    let shares = (0..parallel).map(|one| count / parallel + u64::from(one < count % parallel));
    let requests = sum(shares.map(|share| one_by_one(address, share)).collect()).await?;
    Ok(Rate { requests, per_second: per_second(requests, start) })
}

pub(crate) async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let connected = TcpStream::connect(address).await;
    let stream = connected.with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn ask_until(mut stream: TcpStream, end: Instant) -> Result<u64> {
    let mut requests = 0;
    while Instant::now() < end {
        round_trip(&mut stream).await?;
        requests += 1;
    }
    Ok(requests)
}

async fn push_until(mut stream: TcpStream, end: Instant) -> Result<u64> {
    while Instant::now() < end {
        stream.write_all(&BLOCK).await?;
    }
    stream.shutdown().await?;
    Ok(stream.read_u64().await?)
}

/// As large as those of iperf3.
static BLOCK: [u8; 1 << 17] = [7; 1 << 17];

async fn one_by_one(address: SocketAddr, count: u64) -> Result<u64> {
    for _ in 0..count {
        let mut stream = connect(address).await?;
        round_trip(&mut stream).await?;
        ensure!(stream.read(&mut [0]).await? == 0, "the server does not close");
    }
    Ok(count)
}

async fn round_trip(stream: &mut TcpStream) -> io::Result<()> {
    let mut message = [7; MESSAGE];
    stream.write_all(&message).await?;
    stream.read_exact(&mut message).await?;
    Ok(())
}

async fn sum(mut tasks: JoinSet<Result<u64>>) -> Result<u64> {
    let mut sum = 0;
    while let Some(done) = tasks.join_next().await {
        sum += done??;
    }
    Ok(sum)
}

#[expect(clippy::cast_precision_loss, reason = "a count of seconds' worth")]
fn per_second(count: u64, start: Instant) -> f64 {
    count as f64 / start.elapsed().as_secs_f64()
}
