//! From the text of a file to the objects in it.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use serde_json::{Value, map::Map};

/// One document of a file.
pub(super) struct Document {
    /// Counted from 1.
    pub(super) number: usize,
    /// Its objects, or why it cannot be read.
    pub(super) items: Result<Vec<Item>, String>,
}

/// One object, of a document of its own or of a list.
pub(super) struct Item {
    /// Where it stands in its document: empty, or `items[3].`.
    pub(super) path: String,
    pub(super) value: Value,
}

/// Reads a file: JSON by its name, else YAML with any number of documents. A document that cannot be read does not
/// take the others with it.
pub(super) fn read(file: &str, text: &str) -> Vec<Document> {
    if is_json(file) {
        let value = serde_json::from_str(text).map_err(|error| error.to_string());
        return vec![Document { number: 1, items: value.map(items) }];
    }
    let chunks = split(text).into_iter().enumerate();
    chunks.map(|(at, chunk)| Document { number: at + 1, items: chunk.parse().map(items) }).collect()
}

fn is_json(file: &str) -> bool {
    file.rsplit_once('.').is_some_and(|(_, extension)| extension == "json")
}

/// The text of one document.
struct Chunk<'a> {
    text: &'a str,
    /// Lines of the file before it.
    lines_before: u64,
}

impl Chunk<'_> {
    fn parse(&self) -> Result<Value, String> {
        // Size, depth and aliases stay within the bounds that the crate sets by itself.
        serde_saphyr::from_str(self.text).map_err(|error| {
            let message = error.without_snippet().to_string();
            match error.location() {
                Some(location) => format!("line {}: {message}", self.lines_before + location.line()),
                None => message,
            }
        })
    }

    /// Whether there is nothing but comments and directives: before the first `---` that is no document.
    fn is_prologue(&self) -> bool {
        let mut lines = self.text.lines().map(str::trim);
        lines.all(|line| line.is_empty() || line.starts_with('#') || line.starts_with('%'))
    }
}

/// Cuts at each line that begins a document. Within a document no line may begin like that, not even in a block of
/// text (YAML 1.2.2, section 9.1.2, `c-forbidden`).
fn split(text: &str) -> Vec<Chunk<'_>> {
    let mut chunks = Vec::new();
    let (mut start, mut start_line) = (0, 0);
    let (mut offset, mut line_number) = (0, 0);
    for line in text.split_inclusive('\n') {
        if begins_document(line) {
            chunks.push(Chunk { text: &text[start..offset], lines_before: start_line });
            (start, start_line) = (offset, line_number);
        }
        offset += line.len();
        line_number += 1;
    }
    chunks.push(Chunk { text: &text[start..], lines_before: start_line });
    if chunks[0].is_prologue() {
        chunks.remove(0);
    }
    chunks
}

fn begins_document(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

/// The objects of a document: none, one, or those of a list such as `List` or `PodList`.
fn items(document: Value) -> Vec<Item> {
    match document {
        Value::Null => Vec::new(),
        Value::Object(mut list) if is_list(&list) => {
            let Some(Value::Array(values)) = list.remove("items") else {
                return Vec::new();
            };
            let numbered = values.into_iter().enumerate();
            numbered
                .map(|(at, value)| Item { path: format!("items[{at}]."), value: inherit(value, &list) })
                .collect()
        }
        value => vec![Item { path: String::new(), value }],
    }
}

fn is_list(document: &Map<String, Value>) -> bool {
    let kind = document.get("kind").and_then(Value::as_str);
    kind.is_some_and(|kind| kind.ends_with("List")) && document.get("items").is_some_and(Value::is_array)
}

/// The API server leaves kind and version out of a list's items.
fn inherit(mut item: Value, list: &Map<String, Value>) -> Value {
    let kind = list.get("kind").and_then(Value::as_str).and_then(|kind| kind.strip_suffix("List"));
    if let (Value::Object(fields), Some(kind)) = (&mut item, kind.filter(|kind| !kind.is_empty())) {
        fields.entry("kind").or_insert_with(|| kind.into());
        if let Some(version) = list.get("apiVersion") {
            fields.entry("apiVersion").or_insert_with(|| version.clone());
        }
    }
    item
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The values of each document, or that it cannot be read.
    fn values(file: &str, text: &str) -> Vec<(usize, Option<Vec<Value>>)> {
        let documents = read(file, text).into_iter();
        let values = |items: Vec<Item>| items.into_iter().map(|item| item.value).collect();
        documents.map(|document| (document.number, document.items.ok().map(values))).collect()
    }

    #[test]
    fn documents_are_counted_from_one() {
        for text in
            ["a: 1\n---\na: 2\n", "---\na: 1\n--- # two\na: 2", "# top\n\n%YAML 1.2\n---\na: 1\n---\na: 2\n"]
        {
            let expected = [(1, Some(vec![json!({"a": 1})])), (2, Some(vec![json!({"a": 2})]))];
            assert_eq!(values("f.yaml", text), expected, "{text:?}");
        }
    }

    #[test]
    fn an_empty_document_holds_nothing_and_counts() {
        assert_eq!(values("f.yaml", ""), []);
        let expected = [(1, Some(vec![])), (2, Some(vec![json!({"a": 2})]))];
        assert_eq!(values("f.yaml", "---\n---\na: 2\n"), expected);
    }

    #[test]
    fn a_broken_document_leaves_the_others_readable() {
        let expected = [(1, Some(vec![json!({"a": 1})])), (2, None), (3, Some(vec![json!({"a": 3})]))];
        assert_eq!(values("f.yaml", "a: 1\n---\na: [\n---\na: 3\n"), expected);
    }

    #[test]
    fn an_error_names_the_line_of_the_file() {
        let documents = read("f.yaml", "a: 1\n---\nb: 2\nb: 3\n");
        let error = documents[1].items.as_ref().err().unwrap();
        assert!(error.starts_with("line 4: "), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn dashes_inside_a_line_separate_nothing() {
        let text = "a: |\n  ---\n  x\nb: ---x\n";
        assert_eq!(values("f.yaml", text), [(1, Some(vec![json!({"a": "---\nx\n", "b": "---x"})]))]);
    }

    #[test]
    fn a_list_is_its_items() {
        let text = r#"{"apiVersion": "v1", "kind": "PodList", "items": [{"a": 1}, {"kind": "Other"}]}"#;
        let expected = vec![
            json!({"apiVersion": "v1", "kind": "Pod", "a": 1}),
            json!({"apiVersion": "v1", "kind": "Other"}),
        ];
        assert_eq!(values("f.json", text), [(1, Some(expected.clone()))]);
        assert_eq!(values("f.yaml", text), [(1, Some(expected))]);
        let items = read("f.json", text).remove(0).items.unwrap();
        assert_eq!(items[1].path, "items[1].");
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let level = |level: usize| {
            let alias = format!("*a{}", level - 1);
            format!("a{level}: &a{level} [{}]\n", vec![alias; 10].join(", "))
        };
        let bottom = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        let text: String = std::iter::once(bottom).chain((1..12).map(level)).collect();
        assert_eq!(values("f.yaml", &text), [(1, None)]);
    }

    #[test]
    fn keys_that_look_like_numbers_are_keys() {
        let expected = json!({"ports": {"8080": {"mode": "DISABLE"}}});
        assert_eq!(values("f.yaml", "ports: {8080: {mode: DISABLE}}"), [(1, Some(vec![expected]))]);
    }
}
