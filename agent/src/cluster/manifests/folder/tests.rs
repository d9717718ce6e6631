use super::*;
use crate::cluster::testing::settings;

const STRICT: &str = "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, \
                      metadata: {namespace: ns, name: p}, spec: {mtls: {mode: STRICT}}}";
const BROKEN: &str = "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, \
                      metadata: {namespace: ns, name: p}, spec: {mtls: {mode: STRIKT}}}";
const DISABLE: &str = "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, \
                       metadata: {namespace: ns, name: p}, spec: {mtls: {mode: DISABLE}}}";
const NAMESPACE: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: ns}}";
const NAMELESS: &str = "{apiVersion: v1, kind: Namespace}";
const OTHER: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: other}}";
const FOREIGN: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: {a: b}}";
const NO_YAML: &str = "a: [";

fn put(folder: &mut Folder, name: &str, documents: &[&str]) {
    folder.put(name, documents.join("\n---\n"), &settings());
}

/// The objects in force and the problems, as text.
fn told(folder: &Folder) -> (Vec<String>, Vec<String>) {
    let contents = folder.contents();
    let objects = contents.objects.keys().map(ToString::to_string).collect();
    (objects, contents.problems.iter().map(ToString::to_string).collect())
}

fn object(text: &str) -> Object {
    let value = serde_saphyr::from_str(text).unwrap();
    decode(&value, &settings()).unwrap().unwrap()
}

fn is_in_force(folder: &Folder, text: &str) -> bool {
    folder.contents().objects.values().any(|found| *found == object(text))
}

#[test]
fn a_broken_document_is_named_and_changes_nothing_that_was_in_force() {
    let mut folder = Folder::default();
    put(&mut folder, "f.yaml", &[NAMESPACE, STRICT]);
    put(&mut folder, "f.yaml", &[OTHER, BROKEN]);
    let (objects, problems) = told(&folder);
    assert_eq!(objects, ["Namespace other", "PeerAuthentication ns/p"]);
    let expected = "PeerAuthentication ns/p, f.yaml, document 2, spec.mtls.mode: \
                    expected mode UNSET, DISABLE, PERMISSIVE or STRICT, found \"STRIKT\"";
    assert_eq!(problems, [expected]);
    assert!(is_in_force(&folder, STRICT));

    put(&mut folder, "f.yaml", &[OTHER, DISABLE]);
    assert_eq!(told(&folder).1, [""; 0]);
    assert!(is_in_force(&folder, DISABLE));
}

#[test]
fn a_broken_document_that_never_was_in_force_is_only_named() {
    let mut folder = Folder::default();
    put(&mut folder, "f.yaml", &[NAMESPACE, BROKEN]);
    assert_eq!(told(&folder).0, ["Namespace ns"]);
    assert_eq!(told(&folder).1.len(), 1);
}

#[test]
fn what_cannot_be_told_may_be_anything_that_the_file_said() {
    for broken in [NO_YAML, NAMELESS, "just text", "[1, 2]"] {
        let mut folder = Folder::default();
        put(&mut folder, "f.yaml", &[NAMESPACE, STRICT]);
        put(&mut folder, "f.yaml", &[broken, OTHER]);
        let (objects, problems) = told(&folder);
        assert_eq!(objects, ["Namespace ns", "Namespace other", "PeerAuthentication ns/p"], "{broken}");
        assert!(problems[0].starts_with("f.yaml, document 1"), "{problems:?}");
    }
}

#[test]
fn a_document_that_is_taken_out_is_gone() {
    let mut folder = Folder::default();
    put(&mut folder, "f.yaml", &[NAMESPACE, STRICT]);
    put(&mut folder, "f.yaml", &[NAMESPACE]);
    assert_eq!(told(&folder), (vec!["Namespace ns".to_owned()], vec![]));
    folder.retain(&BTreeSet::new());
    assert_eq!(told(&folder), (vec![], vec![]));
}

#[test]
fn of_two_documents_for_one_object_the_first_counts() {
    let mut folder = Folder::default();
    put(&mut folder, "b.yaml", &[DISABLE]);
    put(&mut folder, "a.yaml", &[NAMESPACE, STRICT, DISABLE]);
    assert!(is_in_force(&folder, STRICT));
    let reason =
        "metadata.name: this object stands in a.yaml, document 2, already, and that counts: remove one";
    let expected = ["a.yaml, document 3", "b.yaml, document 1"]
        .map(|place| format!("PeerAuthentication ns/p, {place}, {reason}"));
    assert_eq!(told(&folder).1, expected);

    folder.retain(&["b.yaml".to_owned()].into());
    assert!(is_in_force(&folder, DISABLE));
    assert_eq!(told(&folder).1, [""; 0]);
}

#[test]
fn a_file_that_cannot_be_read_keeps_its_objects() {
    let mut folder = Folder::default();
    put(&mut folder, "f.yaml", &[NAMESPACE]);
    folder.put_unreadable("f.yaml", "permission denied".to_owned());
    assert_eq!(told(&folder).0, ["Namespace ns"]);
    assert_eq!(told(&folder).1, ["f.yaml: permission denied"]);
    put(&mut folder, "f.yaml", &[NAMESPACE]);
    assert_eq!(told(&folder).1, [""; 0]);
}

#[test]
fn kinds_of_no_use_are_no_problem() {
    let mut folder = Folder::default();
    put(&mut folder, "f.yaml", &[FOREIGN, NAMESPACE]);
    assert_eq!(told(&folder), (vec!["Namespace ns".to_owned()], vec![]));
}

#[test]
fn an_item_of_a_list_is_named_by_its_place() {
    let mut folder = Folder::default();
    let list = format!("{{apiVersion: v1, kind: List, items: [{NAMESPACE}, {BROKEN}]}}");
    put(&mut folder, "f.yaml", &[&list]);
    assert_eq!(told(&folder).0, ["Namespace ns"]);
    let problem = told(&folder).1.remove(0);
    let expected = "PeerAuthentication ns/p, f.yaml, document 1, items[1].spec.mtls.mode: ";
    assert!(problem.starts_with(expected), "{problem}");
}

#[test]
fn broken_settings_of_the_mesh_are_named_and_those_before_stay_in_force() {
    let mesh = |yaml: &str| {
        let metadata = "{namespace: istio-system, name: istio}";
        format!("{{apiVersion: v1, kind: ConfigMap, metadata: {metadata}, data: {{mesh: '{yaml}'}}}}")
    };
    let mut folder = Folder::with_mesh_in("istio-system".to_owned());
    put(&mut folder, "f.yaml", &[&mesh("trustDomain: one")]);
    let one = MeshConfig::parse("trustDomain: one").ok();
    assert_eq!(folder.contents().mesh, one);

    put(&mut folder, "f.yaml", &[NAMESPACE, &mesh("trustDomain: a/b")]);
    assert_eq!(folder.contents().mesh, one);
    let (_, problems) = told(&folder);
    let expected = "ConfigMap istio-system/istio, f.yaml, document 2, data.mesh: ";
    assert!(problems.len() == 1 && problems[0].starts_with(expected), "{problems:?}");

    put(&mut folder, "f.yaml", &[NAMESPACE]);
    assert_eq!((folder.contents().mesh, told(&folder).1), (None, vec![]));
}
