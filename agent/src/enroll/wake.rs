//! Being told of what happens in a pod, without looking again and again.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::Notify,
    task::AbortHandle,
};

use crate::sys;

/// Something that is waited for; dropped, it is no more.
#[derive(Debug)]
pub(super) struct Wake {
    fired: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Wake {
    /// The end of the process behind a pidfd.
    pub(super) fn on_end(process: impl AsFd, notify: &Arc<Notify>) -> io::Result<Self> {
        Ok(Self::on(sys::readiness(process, Interest::READABLE)?, Interest::READABLE, notify))
    }

    /// The first process in a cgroup, or the last one's end: the kernel tells of it as of an urgent message
    /// (Documentation/admin-guide/cgroup-v2.rst, "\[Un\]populated Notification").
    pub(super) fn on_population(cgroup: &Path, notify: &Arc<Notify>) -> io::Result<Self> {
        let mut events = File::open(cgroup.join("cgroup.events"))?;
        // What changes after this reading is told, also if it does before the next line.
        let mut text = String::new();
        events.read_to_string(&mut text)?;
        let wake = Self::on(sys::readiness(&events, Interest::PRIORITY)?, Interest::PRIORITY, notify);
        if text.contains("populated 1") {
            wake.fired.store(true, Ordering::Relaxed);
            notify.notify_one();
        }
        Ok(wake)
    }

    /// Whether it has happened.
    pub(super) fn has_fired(&self) -> bool {
        self.fired.load(Ordering::Relaxed)
    }

    fn on(file: AsyncFd<OwnedFd>, interest: Interest, notify: &Arc<Notify>) -> Self {
        let fired = Arc::new(AtomicBool::new(false));
        let (told, notify) = (Arc::clone(&fired), Arc::clone(notify));
        let task = tokio::spawn(async move {
            // A file that cannot be waited for is looked at by who asked, as it is now.
            let _ = file.ready(interest).await;
            told.store(true, Ordering::Relaxed);
            notify.notify_one();
        });
        Self { fired, task: task.abort_handle() }
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        self.task.abort();
    }
}
