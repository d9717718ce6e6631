//! The lines that a process prints, as they come.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use serde_json::Value;

/// A line.
#[derive(Clone, Debug)]
pub struct Line {
    /// As it was printed.
    pub text: String,
    /// What it says; null if it is not JSON.
    pub json: Value,
}

/// All lines so far.
#[derive(Clone, Default)]
pub(crate) struct Log {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// The places of lines that were taken.
    taken: Mutex<BTreeSet<usize>>,
}

#[derive(Default)]
struct State {
    lines: Vec<Line>,
    /// Streams that may bring more.
    open: usize,
    /// Where lines are kept for people, too.
    file: Option<File>,
}

impl Log {
    /// A log whose lines are added to a file as well.
    pub(crate) fn kept(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        let log = Self::default();
        log.state().file = Some(file);
        Ok(log)
    }

    /// Follows a stream until its end.
    pub(crate) fn follow(&self, stream: impl Read + Send + 'static) {
        self.state().open += 1;
        let log = self.clone();
        thread::spawn(move || {
            // A line that cannot be read is the end: the process is gone.
            BufReader::new(stream).lines().map_while(Result::ok).for_each(|text| log.push(text));
            log.close();
        });
    }

    /// Waits for a line that `find` takes, of those after the first `from`. None when the deadline has passed, or no
    /// line can come any more.
    pub(crate) fn wait_for<R>(
        &self,
        from: usize,
        deadline: Instant,
        mut find: impl FnMut(&Line) -> Option<R>,
    ) -> Option<R> {
        let mut state = self.state();
        let mut seen = from;
        loop {
            if let Some(found) = state.lines[seen..].iter().find_map(&mut find) {
                return Some(found);
            }
            seen = state.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if state.open == 0 || left.is_zero() {
                return None;
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for a line that was not taken before, and takes it. None as for [`wait_for`](Self::wait_for).
    pub(crate) fn take(&self, deadline: Instant, mut wanted: impl FnMut(&Line) -> bool) -> Option<Line> {
        let mut taken = self.shared.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut places = 0..;
        let (place, line) = self.wait_for(0, deadline, |line| {
            let place = places.next()?;
            (!taken.contains(&place) && wanted(line)).then(|| (place, line.clone()))
        })?;
        taken.insert(place);
        Some(line)
    }

    /// How many lines there are now.
    pub(crate) fn len(&self) -> usize {
        self.state().lines.len()
    }

    /// What there is now.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.state().lines.clone()
    }

    /// What there is now, as it was printed.
    pub(crate) fn text(&self) -> String {
        self.lines().into_iter().map(|line| line.text + "\n").collect()
    }

    fn push(&self, text: String) {
        let json = serde_json::from_str(&text).unwrap_or_default();
        let mut state = self.state();
        if let Some(file) = &mut state.file {
            // Nobody waits for the copy.
            let _ = writeln!(file, "{text}");
        }
        state.lines.push(Line { text, json });
        drop(state);
        self.shared.changed.notify_all();
    }

    fn close(&self) {
        self.state().open -= 1;
        self.shared.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io::pipe;

    use super::*;
    use crate::DEADLINE;

    fn wait_for(log: &Log, word: &str) -> Option<()> {
        log.wait_for(0, Instant::now() + DEADLINE, |line| line.text.contains(word).then_some(()))
    }

    #[test]
    fn a_line_is_found_before_it_comes_and_after() {
        let (reader, mut writer) = pipe().unwrap();
        let log = Log::default();
        log.follow(reader);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| wait_for(&log, "ready"));
            writeln!(writer, "starting\nready").unwrap();
            assert!(waiting.join().unwrap().is_some());
        });
        assert!(wait_for(&log, "starting").is_some());
    }

    #[test]
    fn a_line_is_taken_once() {
        let (reader, mut writer) = pipe().unwrap();
        let log = Log::default();
        log.follow(reader);
        writer.write_all(b"first\nagain\nagain\n").unwrap();
        drop(writer);
        let take = |word| log.take(Instant::now() + DEADLINE, |line| line.text == word);
        assert!(take("again").is_some() && take("first").is_some() && take("again").is_some());
        assert!(take("again").is_none() && take("first").is_none());
    }

    #[test]
    fn nobody_waits_for_a_process_that_has_ended() {
        let (reader, writer) = pipe().unwrap();
        let log = Log::default();
        log.follow(reader);
        drop(writer);
        let begin = Instant::now();
        assert!(wait_for(&log, "ready").is_none());
        assert!(begin.elapsed() < DEADLINE);
    }

    #[test]
    fn what_a_line_says_is_there_if_it_is_json() {
        let (reader, mut writer) = pipe().unwrap();
        let log = Log::default();
        log.follow(reader);
        writer.write_all(b"{\"message\":\"ready\"}\nready").unwrap();
        drop(writer);
        assert!(wait_for(&log, "nothing").is_none());
        let said: Vec<_> = log.lines().into_iter().map(|line| line.json["message"] == "ready").collect();
        assert_eq!(said, [true, false]);
    }
}
