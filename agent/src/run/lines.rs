//! Lines of the log on their way out: a thread writes what has come together, so that nobody who carries connections
//! waits for a system call, or for whoever reads the log.

use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How long a line waits for company.
const GATHER: Duration = Duration::from_millis(10);
/// Bytes that may wait. Beyond it, who has a line to say writes himself, and so waits for the reader.
const ROOM: usize = 1 << 20;

/// Where lines are put.
pub(super) struct Lines<W>(Arc<Shared<W>>);

struct Shared<W> {
    /// Locked before `waiting`, so that lines keep their order.
    out: Mutex<W>,
    waiting: Mutex<Vec<u8>>,
    arrived: Condvar,
}

impl<W: Write + Send + 'static> Lines<W> {
    /// Starts the thread.
    pub(super) fn new(out: W) -> io::Result<Self> {
        let state = Shared { out: Mutex::new(out), waiting: Mutex::default(), arrived: Condvar::new() };
        let shared = Arc::new(state);
        let writer = Arc::clone(&shared);
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.run())?;
        Ok(Self(shared))
    }

    /// Writes what waits.
    pub(super) fn flush(&self) {
        self.0.flush(lock(&self.0.out));
    }

    /// Writes what waits unless somebody is at it: who has failed must not wait for himself.
    pub(super) fn try_flush(&self) {
        if let Ok(out) = self.0.out.try_lock() {
            self.0.flush(out);
        }
    }
}

impl<W> Clone for Lines<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W: Write> Shared<W> {
    fn run(&self) {
        loop {
            drop(self.arrived.wait_while(lock(&self.waiting), |waiting| waiting.is_empty()));
            thread::sleep(GATHER);
            self.flush(lock(&self.out));
        }
    }

    fn put(&self, line: &[u8], at_once: bool) {
        let mut waiting = lock(&self.waiting);
        let is_first = waiting.is_empty();
        waiting.extend_from_slice(line);
        let is_full = waiting.len() > ROOM;
        drop(waiting);
        if at_once || is_full {
            self.flush(lock(&self.out));
        } else if is_first {
            self.arrived.notify_one();
        }
    }

    fn flush(&self, mut out: MutexGuard<'_, W>) {
        let lines = mem::take(&mut *lock(&self.waiting));
        // There is nowhere to say that the log cannot be written.
        let _ = out.write_all(&lines).and_then(|()| out.flush());
    }
}

/// A panic of who held it leaves nothing half done but a line.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a, W: Write + Send + 'static> MakeWriter<'a> for Lines<W> {
    type Writer = Line<'a, W>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { lines: &self.0, at_once: false }
    }

    /// What a person should see is not lost with the process.
    fn make_writer_for(&'a self, of: &Metadata<'_>) -> Self::Writer {
        Line { lines: &self.0, at_once: *of.level() <= Level::WARN }
    }
}

/// Takes a line, whole.
pub(super) struct Line<'a, W> {
    lines: &'a Shared<W>,
    at_once: bool,
}

impl<W: Write> Write for Line<'_, W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.put(line, self.at_once);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    struct Told(Sender<Vec<u8>>);

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines() -> (Lines<Told>, Receiver<Vec<u8>>) {
        let (told, hears) = channel();
        (Lines::new(Told(told)).unwrap(), hears)
    }

    fn next(hears: &Receiver<Vec<u8>>) -> Vec<u8> {
        hears.recv_timeout(Duration::from_secs(10)).expect("lines are written by themselves")
    }

    #[test]
    fn a_line_is_written_without_another_one() {
        let (lines, hears) = lines();
        lines.0.put(b"one\n", false);
        assert_eq!(next(&hears), b"one\n");
        lines.0.put(b"two\n", false);
        assert_eq!(next(&hears), b"two\n");
    }

    #[test]
    fn an_urgent_line_is_written_at_once_behind_those_that_wait() {
        let (lines, hears) = lines();
        lines.0.put(b"one\n", false);
        lines.0.put(b"two\n", true);
        let mut written = Vec::new();
        while let Ok(lines) = hears.try_recv() {
            written.extend(lines);
        }
        assert_eq!(written, b"one\ntwo\n");
    }

    #[test]
    fn what_waits_for_a_reader_who_has_stopped_is_bounded() {
        let (told, hears) = channel();
        let lines = Lines::new(Told(told)).unwrap();
        let out = lock(&lines.0.out);
        let others = lines.clone();
        let talking =
            thread::spawn(move || (0..3).for_each(|_| others.0.put(&vec![b'x'; ROOM / 2 + 1], false)));
        while lock(&lines.0.waiting).len() <= ROOM {
            thread::yield_now();
        }
        assert!(!talking.is_finished(), "who finds no room waits");
        drop(out);
        talking.join().expect("the room is made");
        lines.flush();
        assert_eq!(hears.try_iter().map(|lines| lines.len()).sum::<usize>(), 3 * (ROOM / 2 + 1));
    }
}
