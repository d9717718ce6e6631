//! Whether the API server answers, told once when it stops and once when it is back.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use tracing::{info, warn};

use crate::cluster::sources::Source;

/// The resources that get no answer now.
#[derive(Debug, Default)]
pub(super) struct Outage(Mutex<BTreeSet<Source>>);

impl Outage {
    /// A resource gets no answer.
    pub(super) fn failed(&self, source: Source, error: &str) {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.is_empty() {
            warn!(resource = %source, error, "the API server does not answer; the last known state serves on");
        }
        failing.insert(source);
    }

    /// A resource got an answer.
    pub(super) fn answered(&self, source: Source) {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.remove(&source) && failing.is_empty() {
            info!("the API server answers again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, MutexGuard},
    };

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::cluster::Kind;

    const PODS: Source = Source::Kind(Kind::Pod);
    const SERVICES: Source = Source::Kind(Kind::Service);

    /// What was logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    struct LogWriter<'a>(MutexGuard<'a, Vec<u8>>);

    impl io::Write for LogWriter<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Log {
        type Writer = LogWriter<'a>;

        fn make_writer(&'a self) -> LogWriter<'a> {
            LogWriter(self.0.lock().unwrap())
        }
    }

    #[test]
    fn an_outage_is_told_once_when_it_begins_and_once_when_it_ends() {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
        tracing::subscriber::with_default(subscriber, || {
            let outage = Outage::default();
            outage.answered(PODS);
            for _ in 0..3 {
                outage.failed(PODS, "connection refused");
                outage.failed(SERVICES, "connection refused");
            }
            outage.answered(SERVICES);
            outage.failed(SERVICES, "connection refused");
            outage.answered(SERVICES);
            outage.answered(PODS);
            outage.answered(PODS);
        });
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches("WARN").count(), 1, "{text}");
        assert_eq!(text.matches("INFO").count(), 1, "{text}");
        assert!(text.contains("resource=pods error=\"connection refused\""), "{text}");
    }
}
