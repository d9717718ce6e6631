//! What each manager has applied to each object, which is what it may take back.

use std::collections::HashMap;

use serde_json::Value;

/// The last that was applied, by the object's UID and the manager's name.
#[derive(Default)]
pub(super) struct Applied(HashMap<String, HashMap<String, Value>>);

impl Applied {
    /// What a manager applied to an object; null if it never did.
    pub(super) fn of(&self, uid: &str, manager: &str) -> &Value {
        self.0.get(uid).and_then(|managers| managers.get(manager)).unwrap_or(&Value::Null)
    }

    pub(super) fn insert(&mut self, uid: &str, manager: &str, object: Value) {
        self.0.entry(uid.to_owned()).or_default().insert(manager.to_owned(), object);
    }

    pub(super) fn forget(&mut self, uid: &str) {
        self.0.remove(uid);
    }
}
