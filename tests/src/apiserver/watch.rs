//! Watches: changes as lines of JSON, for as long as the client stays.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{Stream, stream};
use serde_json::{Value, json};
use tokio::{
    sync::{broadcast, watch},
    time::{Instant, sleep_until},
};

use super::{
    faults::{Target, WatchFault},
    log::OpenWatch,
    route::Call,
    selector::Selector,
    shared::Shared,
    status::{ApiError, Reason},
    store::{After, Change},
    stored::{Head, Stored},
};

/// A watch that is open.
pub(super) struct Watch {
    shared: Arc<Shared>,
    call: Call,
    selector: Selector,
    head: Head,
    /// The last version that the client knows all about.
    seen: u64,
    news: watch::Receiver<u64>,
    faults: broadcast::Receiver<(Target, WatchFault)>,
    deadline: Instant,
    next_bookmark: Instant,
    /// What is to be sent next.
    ready: VecDeque<io::Result<Bytes>>,
    is_over: bool,
    _open: OpenWatch,
}

/// How long a watch lasts that says nothing of it.
const LIFETIME: u64 = 3600;
const EVENTS_PER_PIECE: usize = 256;

impl Watch {
    /// Begins a watch after the version that is asked for, or with all that there is.
    pub(super) fn start(shared: &Arc<Shared>, call: Call) -> Result<Self, ApiError> {
        let query = &call.query;
        if query.send_initial_events {
            // As a server does that has no streaming lists; clients fall back to a list.
            let message = "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the \
                WatchList feature gate is enabled";
            return Err(ApiError::new(Reason::Invalid, message));
        }
        let selector = Selector::parse(call.resource, &query.label_selector, &query.field_selector)?;
        let head = Head::new(call.resource, call.version);
        let faults = shared.faults.subscribe();
        let now = Instant::now();
        let lifetime = Duration::from_secs(query.timeout_seconds.unwrap_or(LIFETIME));
        let store = shared.store();
        let (seen, ready) = match query.resource_version {
            Some(version) if version > 0 => (version, Ok(VecDeque::new())),
            _ => {
                let objects = store.all(call.resource, call.namespace.as_deref());
                (store.version(), Ok(additions(&objects, &selector, &head)))
            }
        };
        let ready = store.changes(call.resource, seen, 0).and(ready);
        let (is_over, ready) = match ready {
            Ok(ready) => (false, ready),
            Err(error) if shared.gone_as_status.load(Ordering::Relaxed) => return Err(error),
            Err(error) => (true, VecDeque::from([Ok(line("ERROR", &error.status()))])),
        };
        Ok(Self {
            news: store.news(call.resource),
            _open: shared.log.watching(call.resource.plural),
            shared: Arc::clone(shared),
            next_bookmark: now + shared.bookmark_interval(),
            deadline: now + lifetime,
            call,
            selector,
            head,
            seen,
            faults,
            ready,
            is_over,
        })
    }

    /// The body of the answer.
    pub(super) fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        stream::unfold(self, |mut watch| async move { watch.next().await.map(|piece| (piece, watch)) })
    }

    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some(piece);
            }
            if self.is_over {
                return None;
            }
            self.catch_up();
            if self.ready.is_empty() && !self.is_over {
                self.wait().await;
            }
        }
    }

    /// Makes ready the changes that the client does not know yet.
    fn catch_up(&mut self) {
        self.news.borrow_and_update();
        let changes = self.shared.store().changes(self.call.resource, self.seen, EVENTS_PER_PIECE);
        // After the look at the store: what happened after a fault must not be told as if it had been before.
        while let Ok((target, fault)) = self.faults.try_recv() {
            if target.is(&self.call) {
                return self.suffer(fault);
            }
        }
        match changes {
            Ok(changes) => self.tell(&changes),
            Err(error) => {
                self.is_over = true;
                self.ready.push_back(Ok(line("ERROR", &error.status())));
            }
        }
    }

    fn tell(&mut self, changes: &[Change]) {
        let mut events = BytesMut::new();
        for change in changes {
            self.write_event(change, &mut events);
            self.seen = change.version;
        }
        // Another batch may be there already.
        if changes.len() == EVENTS_PER_PIECE {
            self.news.mark_changed();
        }
        if !events.is_empty() {
            self.ready.push_back(Ok(events.freeze()));
        }
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.news.changed() => {}
            Ok((target, fault)) = self.faults.recv() => {
                if target.is(&self.call) {
                    self.suffer(fault);
                }
            }
            () = sleep_until(self.next_bookmark) => self.bookmark(),
            () = sleep_until(self.deadline) => self.end(),
        }
    }

    fn suffer(&mut self, fault: WatchFault) {
        match fault {
            WatchFault::Cut => {
                self.ready.push_back(Ok(Bytes::from_static(br#"{"type":"MODIFIED","object":{"kind":"#)));
                self.ready.push_back(Err(io::ErrorKind::ConnectionReset.into()));
                self.is_over = true;
            }
            WatchFault::End => self.end(),
            WatchFault::Garble => {
                self.ready.push_back(Ok(Bytes::from_static(b"{\"type\":\"MODIFIED\",\"object\":}\n")));
            }
            WatchFault::Expire => {
                let error =
                    ApiError::new(Reason::Expired, "The resourceVersion for the provided watch is too old.");
                self.ready.push_back(Ok(line("ERROR", &error.status())));
                self.is_over = true;
            }
            WatchFault::Bookmark => self.bookmark(),
        }
    }

    fn end(&mut self) {
        self.bookmark();
        self.is_over = true;
    }

    /// Tells the client how far it has come, if it wants to know.
    fn bookmark(&mut self) {
        self.next_bookmark = Instant::now() + self.shared.bookmark_interval();
        if !self.call.query.bookmarks {
            return;
        }
        let store = self.shared.store();
        // Events that are not sent yet come first.
        if store.changes(self.call.resource, self.seen, 1).is_ok_and(|changes| changes.is_empty()) {
            self.seen = self.seen.max(store.version());
        }
        let object = json!({
            "apiVersion": self.call.resource.api_version(self.call.version),
            "kind": self.call.resource.kind,
            "metadata": { "resourceVersion": self.seen.to_string(), "creationTimestamp": null },
        });
        drop(store);
        self.ready.push_back(Ok(line("BOOKMARK", &object)));
    }

    /// What a change is to this client: an object that enters its selection is added, one that leaves it deleted.
    fn write_event(&self, change: &Change, out: &mut BytesMut) {
        let before = change.before.as_ref().filter(|object| self.selects(object));
        match (before, &change.after) {
            (None, After::Kept(after)) if self.selects(after) => write(out, "ADDED", &self.head, after),
            (Some(_), After::Kept(after)) if self.selects(after) => write(out, "MODIFIED", &self.head, after),
            (Some(_), After::Deleted(last)) => write(out, "DELETED", &self.head, last),
            (Some(before), After::Kept(_)) => {
                let last = Stored::new(self.call.resource, before.value(), change.version);
                let last = last.expect("it had a name");
                write(out, "DELETED", &self.head, &last);
            }
            (None, _) => {}
        }
    }

    fn selects(&self, object: &Stored) -> bool {
        self.call.namespace.as_ref().is_none_or(|namespace| *namespace == object.namespace)
            && self.selector.matches(object)
    }
}

fn additions(objects: &[Arc<Stored>], selector: &Selector, head: &Head) -> VecDeque<io::Result<Bytes>> {
    let pieces = objects.chunks(EVENTS_PER_PIECE).map(|objects| {
        let mut piece = BytesMut::new();
        for object in objects.iter().filter(|object| selector.matches(object)) {
            write(&mut piece, "ADDED", head, object);
        }
        Ok(piece.freeze())
    });
    pieces.collect()
}

fn write(out: &mut BytesMut, kind: &str, head: &Head, object: &Stored) {
    out.put_slice(br#"{"type":""#);
    out.put_slice(kind.as_bytes());
    out.put_slice(br#"","object":"#);
    object.write(head, out);
    out.put_slice(b"}\n");
}

fn line(kind: &str, object: &Value) -> Bytes {
    format!("{}\n", json!({ "type": kind, "object": object })).into()
}
