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
    time::{sleep_until, timeout_at},
};

use crate::MESSAGE;

/// Requests answered in a time.
#[derive(Serialize)]
pub(crate) struct Rate {
    requests: u64,
    per_second: f64,
}

/// Bytes that have arrived while all were sending, and how many connections had not come to their end a minute after.
#[derive(Serialize)]
pub(crate) struct Transfer {
    bytes: u64,
    bits_per_second: f64,
    unfinished: usize,
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

/// As many bytes as go through, over each of many connections, to a sink that counts them. The clock starts when it has
/// accepted all.
pub(crate) async fn push(address: SocketAddr, connections: usize, time: Duration) -> Result<Transfer> {
    let mut streams = Vec::new();
    for _ in 0..connections {
        streams.push(greeted(address).await?.0);
    }
    let (_, before) = greeted(address).await?;
    let (start, end) = (Instant::now(), Instant::now() + time);
    let mut uploads: JoinSet<_> = streams.into_iter().map(|stream| upload(stream, end)).collect();
    sleep_until(end.into()).await;
    let bytes = greeted(address).await?.1 - before;
    let bits_per_second = per_second(bytes, start) * 8.0;
    let mut unfinished = 0;
    while let Some(done) = uploads.join_next().await {
        unfinished += usize::from(!done??);
    }
    Ok(Transfer { bytes, bits_per_second, unfinished })
}

/// A connection to a sink, and what that has received so far from all.
async fn greeted(address: SocketAddr) -> Result<(TcpStream, u64)> {
    let mut stream = connect(address).await?;
    let received = stream.read_u64().await?;
    Ok((stream, received))
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

/// Whether all of it has arrived in time. What has not is broken off, so that it is not in the way of what comes next.
async fn upload(mut stream: TcpStream, end: Instant) -> Result<bool> {
    let Ok(arrived) = timeout_at((end + PATIENCE).into(), push_until(&mut stream, end)).await else {
        stream.set_zero_linger()?;
        return Ok(false);
    };
    let (sent, received) = arrived?;
    ensure!(sent == received, "of {sent} bytes {received} have arrived");
    Ok(true)
}

/// What is in queues on the way takes a fraction of a second. Where the kernel runs short of memory for TCP some
/// connections wait for retransmission timers that back off, for minutes.
const PATIENCE: Duration = Duration::from_mins(1);

/// What was sent, and what the sink says that it has received.
async fn push_until(stream: &mut TcpStream, end: Instant) -> Result<(u64, u64)> {
    let mut sent = 0;
    while Instant::now() < end {
        stream.write_all(&BLOCK).await?;
        sent += BLOCK.len() as u64;
    }
    stream.shutdown().await?;
    Ok((sent, stream.read_u64().await?))
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
