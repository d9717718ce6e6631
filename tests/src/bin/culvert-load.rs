//! The applications of `cargo xtask bench` that no tool of Debian's is: an echo server, and clients that measure
//! round trips, requests per second, new connections, and hold idle ones. Each prints one JSON object.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream as AsyncStream},
    task::JoinSet,
};

/// The size of a message and of its echo, in bytes.
const MESSAGE: usize = 64;
/// Round trips that are not counted.
const WARM_UP: usize = 200;

/// An echo server and its clients.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Echo whatever comes, until killed.
    Serve {
        /// Where to listen.
        address: SocketAddr,
    },
    /// One message at a time over one connection.
    RoundTrip {
        /// The server.
        address: SocketAddr,
        /// For how long, in seconds.
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
    },
    /// One message at a time over each of many connections.
    Requests {
        /// The server.
        address: SocketAddr,
        /// How many connections.
        #[arg(long, default_value_t = 64)]
        connections: usize,
        /// For how long, in seconds.
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
    },
    /// Connect, one round trip, close, one after the other.
    Connect {
        /// The server.
        address: SocketAddr,
        /// How often.
        #[arg(long, default_value_t = 1000)]
        count: usize,
    },
    /// Open connections, one round trip on each, say so, and hold them until standard input ends. A line there asks
    /// for another round trip on each.
    Hold {
        /// The server.
        address: SocketAddr,
        /// How many.
        #[arg(long, default_value_t = 1000)]
        connections: usize,
    },
}

/// Times of many repetitions, in microseconds.
#[derive(Serialize)]
struct Times {
    count: usize,
    p50_us: f64,
    p99_us: f64,
}

/// Requests answered in a time.
#[derive(Serialize)]
struct Rate {
    requests: u64,
    per_second: f64,
}

fn main() -> Result<()> {
    raise_file_limit()?;
    match Arguments::parse().command {
        Command::Serve { address } => run(serve(address)),
        Command::RoundTrip { address, seconds } => {
            print(&round_trips(address, Duration::from_secs_f64(seconds))?)
        }
        Command::Requests { address, connections, seconds } => {
            print(&run(requests(address, connections, Duration::from_secs_f64(seconds)))?)
        }
        Command::Connect { address, count } => print(&connects(address, count)?),
        Command::Hold { address, connections } => hold(address, connections),
    }
}

/// A shell's usual limit of 1024 descriptors is fewer than the connections to hold.
fn raise_file_limit() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .context("the limit of open files cannot be raised")
}

fn run<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

#[expect(clippy::print_stdout, reason = "this is what the tool is for")]
fn print(result: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(result)?);
    Ok(())
}

async fn serve(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    print(&"listening")?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(echo(stream));
    }
}

async fn echo(mut stream: AsyncStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length]).await?,
        }
    }
}

fn round_trips(address: SocketAddr, time: Duration) -> Result<Times> {
    let mut stream = connect(address)?;
    for _ in 0..WARM_UP {
        round_trip(&mut stream)?;
    }
    let (end, mut times) = (Instant::now() + time, Vec::new());
    while Instant::now() < end {
        let start = Instant::now();
        round_trip(&mut stream)?;
        times.push(start.elapsed());
    }
    Ok(summary(times))
}

async fn requests(address: SocketAddr, connections: usize, time: Duration) -> Result<Rate> {
    let mut streams = Vec::new();
    for _ in 0..connections {
        let mut stream = AsyncStream::connect(address).await?;
        stream.set_nodelay(true)?;
        async_round_trip(&mut stream).await?;
        streams.push(stream);
    }
    let (start, end) = (Instant::now(), Instant::now() + time);
    let mut tasks: JoinSet<io::Result<u64>> =
        streams.into_iter().map(|stream| ask_until(stream, end)).collect();
    let mut requests = 0;
    while let Some(done) = tasks.join_next().await {
        requests += done??;
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of seconds' worth of requests")]
    let per_second = requests as f64 / start.elapsed().as_secs_f64();
    Ok(Rate { requests, per_second })
}

async fn ask_until(mut stream: AsyncStream, end: Instant) -> io::Result<u64> {
    let mut requests = 0;
    while Instant::now() < end {
        async_round_trip(&mut stream).await?;
        requests += 1;
    }
    Ok(requests)
}

async fn async_round_trip(stream: &mut AsyncStream) -> io::Result<()> {
    let mut message = [7; MESSAGE];
    stream.write_all(&message).await?;
    stream.read_exact(&mut message).await?;
    Ok(())
}

fn connects(address: SocketAddr, count: usize) -> Result<Times> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        round_trip(&mut connect(address)?)?;
        times.push(start.elapsed());
    }
    Ok(summary(times))
}

fn hold(address: SocketAddr, connections: usize) -> Result<()> {
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut stream = connect(address)?;
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

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn round_trip(stream: &mut TcpStream) -> Result<()> {
    let mut message = [7; MESSAGE];
    stream.write_all(&message)?;
    stream.read_exact(&mut message)?;
    Ok(())
}

fn summary(mut times: Vec<Duration>) -> Times {
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).map_or(0.0, |time| time.as_secs_f64() * 1e6);
    Times { count: times.len(), p50_us: at(50), p99_us: at(99) }
}
