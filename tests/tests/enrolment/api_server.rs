//! An agent that follows an API server: what it tells it, and what it makes of its bad days.

use std::{io::ErrorKind, time::Duration};

use culvert_testbed::{
    Family, Pod, PodSpec,
    apiserver::{ApiServer, Target, Verb},
};
use serde_json::{Value, json};

use crate::{Site, count, eventually, maps::Maps, pass, says, within};

const CAPTURE: &str = "culvert.io/capture";

impl Site {
    /// A pod that runs, is enrolled, and is announced to the other agents.
    fn announced_pod(&mut self, api: &ApiServer, name: &str) -> Pod {
        let pod = self.pod(name);
        wait_announced(api, pod.name(), true);
        pod
    }

    /// Waits until this node's agent knows that the server can be spoken to.
    fn wait_peer(&self, api: &ApiServer) {
        wait_announced(api, self.server.name(), true);
        let maps = Maps::of(&self.agent);
        for family in Family::ALL {
            let is_peer = || (!maps.peers(self.server.ip(family)).is_empty()).then_some(());
            eventually("the server as a peer", is_peer);
        }
    }

    fn set_capture(&mut self, pod: &Pod, value: &str) {
        self.machine.relabel(pod, |labels| drop(labels.insert(CAPTURE.to_owned(), value.to_owned())));
        self.machine.publish().unwrap();
    }
}

fn is_announced(api: &ApiServer, pod: &str) -> bool {
    let (namespace, name) = pod.split_once('/').unwrap();
    let pod = api.get("pods", namespace, name).unwrap();
    pod["metadata"]["annotations"]["culvert.io/captured"] == "true"
}

fn wait_announced(api: &ApiServer, pod: &str, announced: bool) {
    let told = if announced { "announced" } else { "no longer announced" };
    eventually(&format!("{pod}, {told},"), || (is_announced(api, pod) == announced).then_some(()));
}

/// The pods that agents have written to since a mark, by name.
fn patched(api: &ApiServer, mark: usize) -> Vec<String> {
    let mut requests = api.requests().split_off(mark);
    requests.retain(|request| request.verb == Verb::Patch);
    assert!(requests.iter().all(|request| request.resource == "pods/status"), "{requests:#?}");
    requests.into_iter().map(|request| request.name).collect()
}

#[test]
fn a_pod_is_announced_when_its_capture_stands_and_only_while_it_does() {
    let api = ApiServer::start().unwrap();
    let mut site = Site::following(&api);
    let expected = site.machine.expect(&site.node, PodSpec::new("full", "pod").enrolled()).unwrap();
    site.machine.publish().unwrap();
    site.agent.wait_for(|line| says(line, "not enrolled yet", "full/pod")).unwrap();
    wait_announced(&api, site.server.name(), true);
    assert!(!is_announced(&api, "full/pod"), "it has no sandbox");

    // The status says Pending, and no address.
    let pod = site.machine.sandbox(&site.node, &expected).unwrap();
    wait_announced(&api, "full/pod", true);
    site.wait_peer(&api);
    for family in Family::ALL {
        site.assert_carried(&pod, family);
    }
    site.set_capture(&pod, "disabled");
    wait_announced(&api, "full/pod", false);
    site.set_capture(&pod, "enabled");
    wait_announced(&api, "full/pod", true);
    assert_eq!(patched(&api, 0), ["httpbin", "pod", "pod", "pod"]);
}

#[test]
fn an_agent_that_ends_takes_its_word_back() {
    let api = ApiServer::start().unwrap();
    let mut site = Site::following(&api);
    let pod = site.announced_pod(&api, "pod");
    site.wait_peer(&api);
    assert!(site.agent.stop().unwrap().success());
    assert!(!is_announced(&api, pod.name()));
    assert!(is_announced(&api, site.server.name()), "its agent goes on");

    site.agent = site.node.agent(&site.options).unwrap();
    wait_announced(&api, pod.name(), true);
}

#[test]
fn what_a_crashed_agent_announced_stays_where_it_still_stands() {
    let api = ApiServer::start().unwrap();
    let mut site = Site::following(&api);
    let (_stays, goes) = (site.announced_pod(&api, "stays"), site.announced_pod(&api, "goes"));
    site.wait_peer(&api);
    site.agent.kill().unwrap();
    site.set_capture(&goes, "disabled");
    let mark = api.mark();
    site.agent = site.node.agent(&site.options).unwrap();
    wait_announced(&api, "full/goes", false);
    let _new = site.announced_pod(&api, "new");
    assert!(is_announced(&api, "full/stays"));
    assert_eq!(patched(&api, mark), ["goes", "new"]);
}

#[test]
fn without_its_api_server_an_agent_serves_on_and_catches_up_later() {
    let api = ApiServer::start().unwrap();
    let mut site = Site::following(&api);
    let mut restarts = site.announced_pod(&api, "restarts");
    let (stays, mut ends) = (site.announced_pod(&api, "stays"), site.announced_pod(&api, "ends"));
    site.wait_peer(&api);
    let (mut asked, mut answered) = site.assert_carried(&stays, Family::V4);

    api.go_away().unwrap();
    let begins = |line: &Value| {
        line["level"] == "WARN" && line["message"].as_str().is_some_and(|text| text.contains("serves on"))
    };
    site.agent.wait_for(begins).unwrap();
    ends.end().unwrap();
    site.agent.wait_for(|line| says(line, "released", "full/ends")).unwrap();
    let mark = site.agent.mark();
    restarts.restart().unwrap();
    site.agent.wait_for_since(mark, |line| says(line, "enrolled", "full/restarts")).unwrap();
    for pod in [&stays, &restarts] {
        for family in Family::ALL {
            site.assert_carried(pod, family);
        }
    }
    pass(&mut asked, &mut answered);

    api.come_back().unwrap();
    within(BACK_OFF, "end of an announcement", || (!is_announced(&api, "full/ends")).then_some(()));
    let again = |line: &Value| line["message"] == "the API server answers again";
    site.agent.wait_for_within(BACK_OFF, again).unwrap();
    assert!(is_announced(&api, "full/restarts"));
    assert_eq!(site.agent.lines().iter().filter(|line| begins(&line.json)).count(), 1, "it is told once");
    assert_eq!(count(&site.agent, "released", "full/stays"), 0);
}

/// More than agents wait after an outage of some seconds.
const BACK_OFF: Duration = Duration::from_secs(30);

#[test]
fn a_fresh_list_lets_go_of_nobody() {
    let api = ApiServer::start().unwrap();
    let mut site = Site::following(&api);
    let stays = site.announced_pod(&api, "stays");
    site.wait_peer(&api);
    let (mut asked, mut answered) = site.assert_carried(&stays, Family::V4);
    let mark = api.mark();
    api.expire_watches(Target::everything());
    for resource in ["pods", "namespaces", "peerauthentications"] {
        // Of each agent.
        eventually("a fresh list", || {
            let requests = api.requests().split_off(mark);
            let lists = requests.iter().filter(|it| it.resource == resource && it.verb == Verb::List);
            (lists.count() == 2).then_some(())
        });
    }
    let _new = site.announced_pod(&api, "new");
    pass(&mut asked, &mut answered);
    assert_eq!(count(&site.agent, "released", "full/stays"), 0);
    assert_eq!(patched(&api, mark), ["new"]);
}

#[test]
fn nobody_is_enrolled_before_policy_was_read_once_and_what_was_in_force_stays() {
    let api = ApiServer::start().unwrap();
    api.apply(&json!({
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"namespace": "full", "name": "strict"}, "spec": {"mtls": {"mode": "STRICT"}},
    }))
    .unwrap();
    let mut site = Site::following(&api);
    let stays = site.announced_pod(&api, "stays");
    let outsider = site.machine.pod(&site.node, PodSpec::new("legacy", "sleep")).unwrap();
    let refuses = |pod: &Pod| {
        let to = pod.address(Family::V4, 80);
        let _listener = pod.listen(to).unwrap();
        assert_eq!(outsider.connect(to).unwrap_err().kind(), ErrorKind::ConnectionRefused, "{}", pod.name());
    };
    refuses(&stays);

    site.agent.kill().unwrap();
    api.deny("peerauthentications");
    site.agent = site.node.agent(&site.options).unwrap();
    let new = site.machine.pod(&site.node, PodSpec::new("full", "new").enrolled()).unwrap();
    site.machine.publish().unwrap();
    let warned =
        |line: &Value| line["level"] == "WARN" && line["resource"] == "peerauthentications.security.istio.io";
    let line = site.agent.wait_for(warned).unwrap();
    assert!(line["reason"].as_str().unwrap().contains("cannot list resource"), "{line}");
    eventually("all else followed", || {
        let document = site.node.status(&["-o", "json"]).unwrap().json();
        let watches = document["cluster"]["watches"].as_array().unwrap();
        let followed = watches.iter().filter(|it| it["state"] == "watching").count();
        (followed == watches.len() - 1).then_some(())
    });
    refuses(&stays);
    assert_eq!(site.node.status(&["--ready"]).unwrap().code, Some(1));
    assert_eq!(site.agent.lines().iter().filter(|line| line.json["message"] == "enrolled").count(), 0);
    assert_eq!(site.agent.lines().iter().filter(|line| warned(&line.json)).count(), 1, "it is told once");

    api.deny_nothing();
    for pod in [&stays, &new] {
        site.wait_enrolled(pod.name());
        refuses(pod);
    }
    site.wait_peer(&api);
    site.assert_carried(&new, Family::V4);
}

#[test]
fn what_cannot_be_taken_in_is_named_and_harms_nobody() {
    let api = ApiServer::start().unwrap();
    let mut site = Site::following(&api);
    let pod = site.announced_pod(&api, "pod");
    site.wait_peer(&api);
    let policy = json!({
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"namespace": "full", "name": "odd"}, "spec": {"mtls": {"mode": "STRIKT"}},
    });
    api.put_raw("peerauthentications", policy).unwrap();
    let names = |line: &Value| {
        let problem = line["problem"].as_str().unwrap_or_default();
        line["level"] == "WARN" && problem.starts_with("PeerAuthentication full/odd, spec.mtls.mode: ")
    };
    site.agent.wait_for(names).unwrap();
    let _new = site.announced_pod(&api, "new");
    for family in Family::ALL {
        site.assert_carried(&pod, family);
    }
}
