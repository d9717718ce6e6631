//! Lists, whole or in pages of one consistent snapshot.

use std::{collections::VecDeque, sync::Arc};

use bytes::{BufMut as _, Bytes, BytesMut};
use serde_json::json;

use super::{
    resources::Resource,
    route::{Query, VersionMatch},
    selector::Selector,
    status::{ApiError, Reason},
    store::Store,
    stored::{Head, Stored},
};

/// Lists whose further pages may be asked for; the oldest goes first.
#[derive(Default)]
pub(super) struct Snapshots {
    made: u64,
    kept: VecDeque<(u64, Arc<Snapshot>)>,
}

/// How many of them are kept.
const SNAPSHOTS: usize = 16;

/// What matched at one version.
struct Snapshot {
    version: u64,
    objects: Vec<Arc<Stored>>,
}

/// One answer to a list request.
pub(super) struct Page {
    pub(super) resource: &'static Resource,
    pub(super) api_version: String,
    version: u64,
    next: Option<(String, usize)>,
    objects: Vec<Arc<Stored>>,
}

impl Page {
    /// Takes what a request asks for out of the store.
    pub(super) fn take(
        store: &mut Store,
        resource: &'static Resource,
        api_version: String,
        namespace: Option<&str>,
        query: &Query,
    ) -> Result<Self, ApiError> {
        let selector = Selector::parse(resource, &query.label_selector, &query.field_selector)?;
        let (id, from, snapshot) = match &query.continuation {
            Some(token) => store.snapshots.resume(token)?,
            None => (None, 0, Arc::new(snapshot(store, resource, namespace, &selector, query)?)),
        };
        // From its cache a server gives everything at once.
        let limit = if query.resource_version == Some(0) { None } else { query.limit };
        let to = limit.map_or(usize::MAX, |limit| from + limit).min(snapshot.objects.len());
        let left = snapshot.objects.len() - to;
        let next = (left > 0).then(|| {
            let id = id.unwrap_or_else(|| store.snapshots.keep(Arc::clone(&snapshot)));
            (format!("{id}.{to}"), if selector.is_everything() { left } else { 0 })
        });
        let objects = snapshot.objects[from..to].to_vec();
        Ok(Self { resource, api_version, version: snapshot.version, next, objects })
    }

    pub(super) fn objects(&self) -> &[Arc<Stored>] {
        &self.objects
    }

    /// The body, in pieces, so that a list of all objects is never in memory as a whole.
    pub(super) fn pieces(self, version: &str) -> impl Iterator<Item = Bytes> + Send + use<> {
        let mut metadata = json!({ "resourceVersion": self.version.to_string() });
        if let Some((token, left)) = &self.next {
            metadata["continue"] = token.as_str().into();
            if *left > 0 {
                metadata["remainingItemCount"] = (*left).into();
            }
        }
        let kind = format!("{}List", self.resource.kind);
        let head = json!({ "apiVersion": self.api_version, "kind": kind, "metadata": metadata }).to_string();
        let head = format!("{},\"items\":[", &head[..head.len() - 1]);
        // Only items of custom resources name their kind.
        let item_head = self.resource.custom.then(|| Head::new(self.resource, version));
        let mut first = true;
        let mut objects = self.objects.into_iter();
        let items = std::iter::from_fn(move || {
            let mut piece = BytesMut::new();
            for object in objects.by_ref().take(ITEMS_PER_PIECE) {
                if !std::mem::take(&mut first) {
                    piece.put_u8(b',');
                }
                match &item_head {
                    Some(head) => object.write(head, &mut piece),
                    None => object.write_bare(&mut piece),
                }
            }
            (!piece.is_empty()).then(|| piece.freeze())
        });
        std::iter::once(Bytes::from(head)).chain(items).chain([Bytes::from_static(b"]}\n")])
    }
}

const ITEMS_PER_PIECE: usize = 64;

fn snapshot(
    store: &Store,
    resource: &'static Resource,
    namespace: Option<&str>,
    selector: &Selector,
    query: &Query,
) -> Result<Snapshot, ApiError> {
    let version = store.version();
    match query.resource_version {
        Some(asked) if asked > version => {
            let message = format!("Too large resource version: {asked}, current: {version}");
            return Err(ApiError::new(Reason::Timeout, message));
        }
        Some(asked) if query.version_match == Some(VersionMatch::Exact) && asked != version => {
            return Err(ApiError::too_old(asked, version));
        }
        _ => {}
    }
    let mut objects = store.all(resource, namespace);
    objects.retain(|object| selector.matches(object));
    Ok(Snapshot { version, objects })
}

impl Snapshots {
    fn keep(&mut self, snapshot: Arc<Snapshot>) -> u64 {
        self.made += 1;
        self.kept.push_back((self.made, snapshot));
        if self.kept.len() > SNAPSHOTS {
            self.kept.pop_front();
        }
        self.made
    }

    fn resume(&self, token: &str) -> Result<(Option<u64>, usize, Arc<Snapshot>), ApiError> {
        let parsed =
            token.split_once('.').and_then(|(id, from)| Some((id.parse().ok()?, from.parse().ok()?)));
        let Some((id, from)) = parsed else {
            return Err(ApiError::bad_request("continue key is not valid"));
        };
        let found = self.kept.iter().find(|(kept, _)| *kept == id).map(|(_, snapshot)| Arc::clone(snapshot));
        match found {
            Some(snapshot) if from <= snapshot.objects.len() => Ok((Some(id), from, snapshot)),
            _ => Err(ApiError::new(Reason::Expired, EXPIRED)),
        }
    }
}

const EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You can \
    start a new list without the continue parameter.";
