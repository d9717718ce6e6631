//! Asking, and reading what was answered.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use culvert_testbed::{
    cases::{Case, Mode, Seen},
    culvert,
};
use serde::Deserialize as _;
use serde_json::Value;

/// `culvert explain` with these arguments.
pub(crate) fn explain(arguments: &[&str]) -> Output {
    Command::new(culvert()).arg("explain").args(arguments).output().unwrap()
}

/// The JSON that it answers by a directory of manifests.
pub(crate) fn ask(manifests: &Path, from: &str, to: &str) -> Value {
    let output =
        explain(&["--manifests", manifests.to_str().unwrap(), "--from", from, "--to", to, "-o", "json"]);
    json(&output)
}

/// What was answered, which has to be an answer.
pub(crate) fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Writes objects as one file of a directory.
pub(crate) fn write(directory: &Path, name: &str, objects: &[Value]) {
    let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    fs::write(directory.join(name), list.to_string()).unwrap();
}

/// What each endpoint is said to see, by pod. Endpoints of one pod have to agree: only their addresses differ.
pub(crate) fn seen(answer: &Value, mtls: &str) -> BTreeMap<String, Seen> {
    let mut seen = BTreeMap::new();
    for endpoint in answer["endpoints"].as_array().unwrap() {
        let pod = endpoint["pod"].as_str().unwrap().to_owned();
        let now = match (endpoint["outcome"].as_str().unwrap(), endpoint["transport"].as_str().unwrap()) {
            ("refused", _) => Seen::Fail,
            ("ok", "plaintext") => Seen::Plain,
            ("ok", transport) if transport == mtls => Seen::Mtls,
            other => panic!("{other:?} in {answer}"),
        };
        let before = seen.insert(pod, now);
        assert!(before.is_none_or(|before| before == now), "{answer}");
    }
    seen
}

/// The mode that is named for an endpoint is the one of the list.
pub(crate) fn check_modes(case: &Case, answer: &Value) {
    for endpoint in answer["endpoints"].as_array().unwrap() {
        if let Some(mode) = case.modes.get(endpoint["pod"].as_str().unwrap()) {
            assert_eq!(Mode::deserialize(&endpoint["mode"]).unwrap(), *mode, "{}: {answer}", case.id);
        }
    }
}
