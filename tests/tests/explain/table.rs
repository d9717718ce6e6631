//! Each case of the list, explained by its manifests, with no agent: by name and by address, for Services with addresses
//! over HBONE, and for headless ones with sidecars. The rest the live tests ask an agent.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{fs, path::Path};

use culvert_testbed::cases::{Call, Case, make_headless};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{ask, check_modes, seen, write};

/// What enrolled servers speak.
#[derive(Clone, Copy, Debug)]
enum Peers {
    Hbone,
    /// Istio's sidecars stand in the place of enrolment.
    Sidecar,
}

#[test]
fn each_case_is_explained_as_the_list_says() {
    for case in Case::all().unwrap() {
        for (peers, is_headless) in [(Peers::Hbone, false), (Peers::Sidecar, true)] {
            let variant = Variant::of(&case, peers, is_headless);
            case.calls.iter().for_each(|call| variant.check(&case, call));
        }
    }
}

/// A case with its cluster changed, as a directory of manifests.
struct Variant {
    objects: Vec<Value>,
    peers: Peers,
    is_headless: bool,
    directory: TempDir,
}

impl Variant {
    fn of(case: &Case, peers: Peers, is_headless: bool) -> Self {
        let mut objects = case.cluster().unwrap();
        for object in &mut objects {
            match object["kind"].as_str().unwrap() {
                "Service" if is_headless => make_headless(object),
                "Pod" if matches!(peers, Peers::Sidecar) && is_server(case, object) => to_sidecar(object),
                _ => {}
            }
        }
        let directory = TempDir::new().unwrap();
        write(directory.path(), "cluster.json", &objects);
        fs::write(directory.path().join("policy.yaml"), case.policy().unwrap()).unwrap();
        Self { objects, peers, is_headless, directory }
    }

    fn check(&self, case: &Case, call: &Call) {
        let mtls = match self.peers {
            Peers::Hbone => "hbone",
            Peers::Sidecar => "sidecar",
        };
        let answer = ask(self.path(), &call.from, &call.to);
        let endpoints = answer["endpoints"].as_array().unwrap();
        assert_eq!(endpoints.len(), 2 * call.seen.len(), "both families: {answer}");
        assert_eq!(seen(&answer, mtls), call.seen, "{} {:?}: {answer}", case.id, self.peers);
        check_modes(case, &answer);
        let addresses = if self.is_headless { self.of_pods(call) } else { self.of_service(call) };
        for address in addresses {
            let answer = ask(self.path(), &call.from, &address);
            for (pod, now) in seen(&answer, mtls) {
                assert_eq!(now, call.seen[&pod], "{} {address}: {answer}", case.id);
            }
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn of_service(&self, call: &Call) -> Vec<String> {
        let (name, namespace) = call.to.split_once('.').unwrap();
        let service = self.object("Service", &format!("{namespace}/{name}"));
        let port = &service["spec"]["ports"][0]["port"];
        let addresses = service["spec"]["clusterIPs"].as_array().unwrap().iter();
        addresses.map(|ip| format!("[{}]:{port}", ip.as_str().unwrap())).collect()
    }

    fn of_pods(&self, call: &Call) -> Vec<String> {
        let pods = call.seen.keys().map(|pod| self.object("Pod", pod));
        let addresses = pods.flat_map(|pod| pod["status"]["podIPs"].as_array().unwrap());
        addresses.map(|ip| format!("[{}]:8080", ip["ip"].as_str().unwrap())).collect()
    }

    fn object(&self, kind: &str, name: &str) -> &Value {
        let is_it = |object: &&Value| object["kind"] == kind && name_of(object) == name;
        self.objects.iter().find(is_it).unwrap()
    }
}

fn name_of(object: &Value) -> String {
    let [namespace, name] = ["namespace", "name"].map(|field| object["metadata"][field].as_str().unwrap());
    format!("{namespace}/{name}")
}

fn is_server(case: &Case, pod: &Value) -> bool {
    case.calls.iter().any(|call| call.seen.contains_key(&name_of(pod)))
}

/// Of a pod that is enrolled, by itself or by the namespace `full`.
fn to_sidecar(pod: &mut Value) {
    let capture = "culvert.io/capture";
    let is_enrolled =
        pod["metadata"]["labels"][capture] == "enabled" || pod["metadata"]["namespace"] == "full";
    if is_enrolled {
        pod["metadata"]["labels"][capture] = json!("disabled");
        pod["metadata"]["labels"]["security.istio.io/tlsMode"] = json!("istio");
    }
}
