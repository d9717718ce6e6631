//! An object as an API server might send it, after a byte for its kind.

use super::*;
use crate::cluster::Index;

/// What is skipped on the fast way is nothing that the slow way would refuse, and what came goes without a trace.
pub(crate) fn run(data: &[u8]) -> bool {
    let Some((selector, json)) = data.split_first() else { return false };
    let kind = Kind::ALL[usize::from(*selector) % Kind::ALL.len()];
    let settings = Settings::default();
    let read = decode_json(kind, json, &settings);
    if let Ok(Value::Object(mut fields)) = serde_json::from_slice(json) {
        let group = Some(kind.group()).filter(|group| !group.is_empty());
        let version = group.into_iter().chain([kind.versions()[0]]).collect::<Vec<_>>().join("/");
        fields.insert("apiVersion".to_owned(), version.into());
        fields.insert("kind".to_owned(), kind.as_str().into());
        let written = decode(&fields.into(), &settings);
        assert_eq!(read.is_ok(), written.is_ok(), "{kind}: {:?} and {:?}", read.err(), written.err());
    }
    read.is_ok_and(|object| come_and_go(vec![object]))
}

/// Into an index and out of it; true if there was something to come.
pub(crate) fn come_and_go(objects: Vec<Object>) -> bool {
    let mut index = Index::new(Settings::default());
    let keys: Vec<_> = objects.iter().map(Object::key).collect();
    for object in objects {
        index.apply(object);
    }
    for key in &keys {
        assert!(index.object(key).is_some_and(|object| object.key() == *key), "{key} did not come");
    }
    for key in &keys {
        index.delete(key);
    }
    assert!(Kind::ALL.iter().all(|kind| index.count(*kind) == 0), "something stays of {keys:?}");
    !keys.is_empty()
}
