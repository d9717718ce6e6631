//! Applications: servers that say which pod they are, and clients that never cease to ask.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use culvert_testbed::{DEADLINE, Family, Place, Pod};
use socket2::SockRef;

/// The port of every server.
pub(crate) const PORT: u16 = 8080;

/// A server that answers each byte with a line of its pod's name and its client's address, on IPv4 and IPv6.
pub(crate) struct Server {
    listeners: Vec<Arc<TcpListener>>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(pod: &Pod) -> Self {
        let listeners = Family::ALL.map(|family| Arc::new(pod.listen(pod.address(family, PORT)).unwrap()));
        let threads = listeners.iter().map(|listener| {
            let (listener, name) = (Arc::clone(listener), pod.name().to_owned());
            thread::spawn(move || serve(&listener, &name))
        });
        Self { threads: threads.collect(), listeners: listeners.into() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for listener in &self.listeners {
            // Wakes up who waits in accept(); it cannot fail on a socket that listens.
            let _ = SockRef::from(&**listener).shutdown(std::net::Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            // What went wrong there has been printed.
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, name: &str) {
    loop {
        match listener.accept() {
            Ok((stream, client)) => {
                let line = format!("{name} {client}\n");
                thread::spawn(move || answer(stream, &line));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// A client may go on for longer than sockets usually wait.
fn answer(mut stream: TcpStream, line: &str) -> io::Result<()> {
    stream.set_read_timeout(None)?;
    while stream.read(&mut [0])? > 0 {
        stream.write_all(line.as_bytes())?;
    }
    Ok(())
}

/// A call that was answered.
#[derive(Debug)]
pub(crate) struct Call {
    /// Who answered, as `namespace/name`.
    pub(crate) pod: String,
    /// The client's address, as the client knows it.
    pub(crate) source: SocketAddr,
    /// And as the server does: an agent that carries a connection in plaintext has an address of its own.
    pub(crate) seen_as: SocketAddr,
}

/// Connects, asks once, and closes.
pub(crate) fn call(from: &Place, to: SocketAddr) -> io::Result<Call> {
    ask(&mut from.connect(to)?)
}

/// Asks on an open connection.
pub(crate) fn ask(stream: &mut TcpStream) -> io::Result<Call> {
    stream.write_all(b"?")?;
    let (mut line, mut byte) = (String::new(), [0]);
    loop {
        stream.read_exact(&mut byte)?;
        match byte[0] {
            b'\n' => break,
            byte => line.push(byte.into()),
        }
    }
    let (pod, client) = line.split_once(' ').unwrap();
    Ok(Call { pod: pod.to_owned(), source: stream.local_addr()?, seen_as: client.parse().unwrap() })
}

/// Calls of a client that goes on while something else happens.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) answered: usize,
    pub(crate) failed: Vec<String>,
}

/// Has clients call each of these addresses in turn, again and again, while `work` runs.
pub(crate) fn while_calling(from: &[Arc<Pod>], to: &[SocketAddr], work: impl FnOnce()) -> Tally {
    thread::scope(|scope| {
        let end = End::default();
        let callers: Vec<_> = from
            .iter()
            .map(|from| {
                let ended = Arc::clone(&end.0);
                scope.spawn(move || call_until(from, to, &ended))
            })
            .collect();
        work();
        drop(end);
        callers.into_iter().map(|caller| caller.join().unwrap()).fold(Tally::default(), Tally::and)
    })
}

impl Tally {
    fn and(mut self, other: Self) -> Self {
        self.answered += other.answered;
        self.failed.extend(other.failed);
        self
    }

    /// Every call was answered, and there were some.
    pub(crate) fn assert_unnoticed(&self) {
        assert_eq!(self.failed, Vec::<String>::new(), "beside {} that were answered", self.answered);
        assert!(self.answered > 0);
    }
}

/// Dropped, the calls end: also when the work fails.
#[derive(Default)]
struct End(Arc<AtomicBool>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn call_until(from: &Pod, to: &[SocketAddr], ended: &AtomicBool) -> Tally {
    let (begin, mut tally) = (Instant::now(), Tally::default());
    for &to in to.iter().cycle() {
        if ended.load(Ordering::Relaxed) {
            break;
        }
        let at = begin.elapsed();
        match call(from, to) {
            Ok(_) => tally.answered += 1,
            Err(error) => tally.failed.push(format!("{} to {to} after {at:?}: {error}", from.name())),
        }
        thread::sleep(BETWEEN_CALLS);
    }
    tally
}

/// What leaves the agents some of the two cores.
const BETWEEN_CALLS: Duration = Duration::from_millis(2);

/// Tries until there is a result.
pub(crate) fn eventually<R>(what: &str, attempt: impl FnMut() -> Option<R>) -> R {
    within(DEADLINE, what, attempt)
}

/// Tries until there is a result, but no longer than a while.
pub(crate) fn within<R>(patience: Duration, what: &str, mut attempt: impl FnMut() -> Option<R>) -> R {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(Instant::now() < deadline, "{what}: not within {patience:?}");
        thread::sleep(BETWEEN_ATTEMPTS);
    }
}

const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(5);
