//! One connection at a time.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::MESSAGE;

/// Times of many repetitions, in microseconds.
#[derive(Serialize)]
pub(crate) struct Times {
    count: usize,
    p50_us: f64,
    p99_us: f64,
}

/// Round trips that are made, but whose times are not counted.
const WARM_UP: usize = 200;

/// One message after the other over one connection, each so long after the one before, or as soon as that is answered.
pub(crate) fn round_trips(address: SocketAddr, time: Duration, every: Duration) -> Result<Times> {
    let mut stream = connect(address)?;
    let (mut next, mut times) = (Instant::now(), Vec::new());
    let end = next + time;
    while Instant::now() < end {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        let start = Instant::now();
        round_trip(&mut stream)?;
        times.push(start.elapsed());
        next = start + every;
    }
    let counted = times.split_off(WARM_UP.min(times.len()));
    Ok(Times { count: times.len() + counted.len(), ..summary(counted) })
}

/// Connect, one round trip, close, one after the other.
pub(crate) fn connects(address: SocketAddr, count: usize) -> Result<Times> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        round_trip(&mut connect(address)?)?;
        times.push(start.elapsed());
    }
    Ok(summary(times))
}

pub(crate) fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

pub(crate) fn round_trip(stream: &mut TcpStream) -> Result<()> {
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
