//! The ways to change a part of an object.

use serde_json::{Map, Value};

use super::status::{ApiError, Reason};

/// A patch, by the content type that it came with.
#[derive(Clone, Debug)]
pub(super) enum Patch {
    /// RFC 7386. A strategic merge is taken for one, which is right for maps, and for lists that are replaced.
    Merge(Value),
    /// RFC 6902.
    Json(json_patch::Patch),
    /// What a manager wants an object to be.
    Apply(Value),
}

impl Patch {
    pub(super) fn parse(content_type: &str, body: &[u8]) -> Result<Self, ApiError> {
        let malformed = |error: &dyn std::fmt::Display| ApiError::bad_request(format!("patch: {error}"));
        let json = || serde_json::from_slice(body).map_err(|error| malformed(&error));
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/merge-patch+json" | "application/strategic-merge-patch+json" => {
                Ok(Self::Merge(json()?))
            }
            "application/json-patch+json" => {
                serde_json::from_slice(body).map(Self::Json).map_err(|error| malformed(&error))
            }
            // JSON is YAML, and what most clients send.
            "application/apply-patch+yaml" if body.starts_with(b"{") => json().map(Self::Apply),
            "application/apply-patch+yaml" => {
                serde_saphyr::from_slice(body).map(Self::Apply).map_err(|error| malformed(&error))
            }
            other => {
                let message = format!("the body of the request was in an unknown format: {other:?}");
                Err(ApiError::new(Reason::UnsupportedMediaType, message))
            }
        }
    }
}

/// Brings an object to what its manager now wants: what it wanted before and no longer does goes, what others have
/// added stays. Lists belong to one manager as a whole.
pub(super) fn three_way(before: &Value, wanted: &Value, object: &mut Value) {
    withdraw(before, wanted, object);
    add(wanted, object);
}

fn withdraw(before: &Value, wanted: &Value, object: &mut Value) {
    let (Some(before), Some(object)) = (before.as_object(), object.as_object_mut()) else { return };
    for (key, value) in before {
        let (still, Some(found)) = (&wanted[key], object.get_mut(key)) else { continue };
        withdraw(value, still, found);
        let is_empty = found.as_object().is_none_or(Map::is_empty);
        if still.is_null() && is_empty {
            object.remove(key);
        }
    }
}

fn add(wanted: &Value, object: &mut Value) {
    match (wanted, &mut *object) {
        (Value::Object(wanted), Value::Object(fields)) => {
            wanted.iter().for_each(|(key, value)| add(value, fields.entry(key).or_insert(Value::Null)));
        }
        _ => *object = wanted.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn applying_takes_back_only_what_was_applied() {
        let mut object = json!({ "a": { "mine": 1, "theirs": 2 }, "list": [1, 2], "gone": { "x": 1 } });
        let before = json!({ "a": { "mine": 1, "old": 0 }, "gone": { "x": 1 } });
        object["gone"]["theirs"] = 1.into();
        three_way(&before, &json!({ "a": { "mine": 3 }, "list": [3] }), &mut object);
        assert_eq!(object, json!({ "a": { "mine": 3, "theirs": 2 }, "list": [3], "gone": { "theirs": 1 } }));
    }

    #[test]
    fn a_patch_is_known_by_its_content_type() {
        let merge = Patch::parse("application/merge-patch+json; charset=utf-8", b"{}");
        assert!(matches!(merge, Ok(Patch::Merge(_))));
        let apply = Patch::parse("application/apply-patch+yaml", b"a: {b: 1}");
        assert!(matches!(apply, Ok(Patch::Apply(value)) if value["a"]["b"] == 1));
        let other = Patch::parse("text/plain", b"{}").expect_err("no patch");
        assert_eq!(other.reason, Reason::UnsupportedMediaType);
    }
}
