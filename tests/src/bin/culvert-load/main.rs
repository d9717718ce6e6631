//! The applications of `cargo xtask bench` that no tool of Debian's is: servers, relays, and clients that measure round
//! trips, requests, throughput and new connections, or hold connections. Each prints one JSON object.

mod alone;
mod held;
mod many;
mod relay;
mod servers;

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

/// The size of a message and of its echo, in bytes.
const MESSAGE: usize = 64;

/// Servers and their clients.
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
    /// Read each connection to its end and say how much that was, until killed.
    Sink {
        /// Where to listen.
        address: SocketAddr,
    },
    /// Accept and never read, until killed.
    Mute {
        /// Where to listen.
        address: SocketAddr,
    },
    /// Echo one message on each connection and close it, until killed.
    Once {
        /// Where to listen.
        address: SocketAddr,
    },
    /// Carry connections on without a look at what they say, until killed.
    Relay {
        /// From where to where.
        #[arg(required = true, value_name = "FROM=TO")]
        hops: Vec<relay::Hop>,
    },
    /// One message at a time over one connection.
    RoundTrip {
        /// The echo server.
        address: SocketAddr,
        /// For how long, in seconds.
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
        /// From one message to the next, in seconds, unless its answer takes longer.
        #[arg(long, default_value_t = 0.0)]
        every: f64,
    },
    /// One message at a time over each of many connections.
    Requests {
        /// The echo server.
        address: SocketAddr,
        /// How many connections.
        #[arg(long, default_value_t = 64)]
        connections: usize,
        /// For how long, in seconds.
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
    },
    /// As many bytes as go through, over each of many connections.
    Push {
        /// The sink.
        address: SocketAddr,
        /// How many connections.
        #[arg(long, default_value_t = 1)]
        connections: usize,
        /// For how long, in seconds.
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
    },
    /// Connect, one round trip, close, one after the other.
    Connect {
        /// The echo server.
        address: SocketAddr,
        /// How often.
        #[arg(long, default_value_t = 1000)]
        count: usize,
    },
    /// Connect, one round trip, wait for the server to close, several at a time.
    Churn {
        /// The server that echoes one message.
        address: SocketAddr,
        /// How often.
        #[arg(long, default_value_t = 10_000)]
        count: u64,
        /// How many at a time.
        #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..))]
        parallel: u64,
    },
    /// Open connections, one round trip on each, say so, and hold them until standard input ends. A line there asks
    /// for another round trip on each.
    Hold {
        /// The echo server.
        address: SocketAddr,
        /// How many.
        #[arg(long, default_value_t = 1000)]
        connections: usize,
    },
    /// Open connections, send on each until no more is taken, say so, and hold them until standard input ends.
    Stall {
        /// The mute server.
        address: SocketAddr,
        /// How many.
        #[arg(long, default_value_t = 1000)]
        connections: usize,
    },
}

fn main() -> Result<()> {
    raise_file_limit()?;
    let time = Duration::from_secs_f64;
    match Arguments::parse().command {
        Command::Serve { address } => servers::echo(address),
        Command::Sink { address } => servers::sink(address),
        Command::Mute { address } => servers::mute(address),
        Command::Once { address } => servers::once(address),
        Command::Relay { hops } => relay::relay(&hops),
        Command::RoundTrip { address, seconds, every } => {
            print(&alone::round_trips(address, time(seconds), time(every))?)
        }
        Command::Requests { address, connections, seconds } => {
            print(&run(many::requests(address, connections, time(seconds)))?)
        }
        Command::Push { address, connections, seconds } => {
            print(&run(many::push(address, connections, time(seconds)))?)
        }
        Command::Connect { address, count } => print(&alone::connects(address, count)?),
        Command::Churn { address, count, parallel } => print(&run(many::churn(address, count, parallel))?),
        Command::Hold { address, connections } => held::idle(address, connections),
        Command::Stall { address, connections } => held::stalled(address, connections),
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
