//! What lists and watches look like, as far as it concerns following. Objects stay text until their turn comes.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::borrow::Cow;

use kube::core::{ListMeta, Status};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::fault::Fault;

/// One answer to a list.
#[derive(Debug, Deserialize)]
pub(super) struct Page<'a> {
    pub(super) metadata: ListMeta,
    #[serde(borrow, default)]
    pub(super) items: Option<Vec<&'a RawValue>>,
}

/// What one line of a watch says.
#[derive(Debug)]
pub(super) enum Event<'a> {
    /// An object came, changed or went.
    Change(Change<'a>),
    /// Nothing changed up to this version.
    Bookmark(String),
    /// It cannot go on.
    Error(Fault),
}

/// An object that came, changed or went.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub(super) gone: bool,
    pub(super) name: Name<'a>,
    pub(super) version: String,
    pub(super) object: &'a RawValue,
}

/// Which object of its resource it is.
#[derive(Debug)]
pub(super) struct Name<'a> {
    /// Empty where it has none.
    pub(super) namespace: Cow<'a, str>,
    pub(super) name: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Line<'a> {
    r#type: EventType,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum EventType {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

/// The least that each object has to say: everything else of it may be broken.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Cow<'a, str>,
    #[serde(borrow, default)]
    resource_version: Cow<'a, str>,
}

impl<'a> Page<'a> {
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, Fault> {
        serde_json::from_slice(text).map_err(|error| Fault::Malformed(error.to_string()))
    }

    /// How to ask for the next page.
    pub(super) fn next(&self) -> Option<&str> {
        self.metadata.continue_.as_deref().filter(|token| !token.is_empty())
    }

    /// What a watch goes on from.
    pub(super) fn version(&self) -> Result<String, Fault> {
        let version = self.metadata.resource_version.clone().filter(|version| !version.is_empty());
        version.ok_or_else(|| Fault::Malformed("a list without metadata.resourceVersion".to_owned()))
    }
}

impl<'a> Event<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, Fault> {
        let malformed = |error: serde_json::Error| Fault::Malformed(error.to_string());
        let line: Line<'_> = serde_json::from_slice(line).map_err(malformed)?;
        if matches!(line.r#type, EventType::Error) {
            let status: Status = serde_json::from_str(line.object.get()).map_err(malformed)?;
            return Ok(Self::Error(Fault::of_status(&status)));
        }
        let Header { metadata } = serde_json::from_str(line.object.get()).map_err(malformed)?;
        if metadata.resource_version.is_empty() {
            return Err(Fault::Malformed("an event without metadata.resourceVersion".to_owned()));
        }
        let version = metadata.resource_version.into_owned();
        if matches!(line.r#type, EventType::Bookmark) {
            return Ok(Self::Bookmark(version));
        }
        let gone = matches!(line.r#type, EventType::Deleted);
        let name = Name { namespace: metadata.namespace, name: metadata.name };
        Ok(Self::Change(Change { gone, name, version, object: line.object }))
    }
}

/// Which object it is, where it says so.
pub(super) fn name(object: &RawValue) -> Option<Name<'_>> {
    let Header { metadata } = serde_json::from_str(object.get()).ok()?;
    Some(Name { namespace: metadata.namespace, name: metadata.name }).filter(|name| !name.name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_keeps_its_objects_as_text() {
        let text = br#"{"kind": "PodList", "metadata": {"resourceVersion": "7", "continue": ""},
            "items": [{"spec": 1}, "odd"]}"#;
        let page = Page::parse(text).unwrap();
        assert_eq!(page.next(), None);
        assert_eq!(page.version(), Ok("7".to_owned()));
        let items: Vec<_> = page.items.unwrap().into_iter().map(RawValue::get).collect();
        assert_eq!(items, [r#"{"spec": 1}"#, "\"odd\""]);
    }

    #[test]
    fn an_empty_list_may_be_null() {
        let page = Page::parse(br#"{"metadata": {"resourceVersion": "7"}, "items": null}"#).unwrap();
        assert!(page.items.is_none());
        assert!(Page::parse(br#"{"metadata": {}}"#).unwrap().version().is_err());
    }

    #[test]
    fn an_event_says_what_becomes_of_which_object() {
        let line = br#"{"type":"DELETED","object":{"metadata":{"name":"p","namespace":"ns",
            "resourceVersion":"8","labels":7},"spec":"broken"}}"#;
        let Event::Change(change) = Event::parse(line).unwrap() else { panic!("no change") };
        assert!(change.gone);
        assert_eq!((&*change.name.namespace, &*change.name.name, &*change.version), ("ns", "p", "8"));
    }

    #[test]
    fn a_bookmark_is_a_version_and_an_error_a_fault() {
        let line = br#"{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"9"}}}"#;
        assert!(matches!(Event::parse(line), Ok(Event::Bookmark(version)) if version == "9"));
        let line = br#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}"#;
        assert!(matches!(Event::parse(line), Ok(Event::Error(Fault::Expired))));
    }

    #[test]
    fn what_is_no_event_is_malformed() {
        for line in [
            "",
            "{",
            "[]",
            r#"{"type":"ADDED"}"#,
            r#"{"type":"MOVED","object":{}}"#,
            r#"{"type":"ADDED","object":{"metadata":{"name":"p"}}}"#,
            r#"{"type":"ADDED","object":7}"#,
        ] {
            assert!(matches!(Event::parse(line.as_bytes()), Err(Fault::Malformed(_))), "{line}");
        }
    }
}
