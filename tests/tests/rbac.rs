//! What the chart grants is what the programs need: an API server refuses them everything else, and no right of theirs
//! goes unused.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use culvert_testbed::{
    Agent, AgentOptions, Ca, CaOptions, DEADLINE, Machine, Node, Pod, PodSpec, StatusAnswer, Volume,
    apiserver::{ApiServer, TokenSpec},
    chart::{NAMESPACE, rendered_objects},
};
use serde_json::{Value, json};

const AGENT: &str = "culvert-agent";
const CA: &str = "culvert-ca";
const ROOTS: &str = "culvert-ca-root-cert";

/// Times that a test can wait for.
const VALUES: &[(&str, &str)] =
    &[("namespace.create", "true"), ("agent.drainSeconds", "1"), ("ca.overlap", "1s")];

/// A node with one pod that wishes to be enrolled, and an API server in which the chart is installed.
struct Site {
    objects: Vec<Value>,
    node: Node,
    api: ApiServer,
    machine: Machine,
    _pod: Pod,
}

/// A verb on a resource.
type Right = (String, String);

impl Site {
    fn new() -> Self {
        let api = ApiServer::start().unwrap();
        let objects = rendered_objects(VALUES).unwrap();
        for object in &objects {
            api.apply(object).unwrap();
        }
        api.enforce_rbac();
        let mut machine = Machine::new().unwrap().with_api(&api);
        let node = machine.node("a").unwrap();
        let pod = machine.pod(&node, PodSpec::new("full", "sleep").enrolled()).unwrap();
        machine.publish().unwrap();
        Self { objects, node, api, machine, _pod: pod }
    }

    /// What a service account asks the API server with.
    fn kubeconfig(&mut self, account: &str) -> PathBuf {
        let token = self.api.issue_token(&TokenSpec::new(NAMESPACE, account)).unwrap();
        self.machine.kubeconfig(&self.node, account, &token).unwrap()
    }

    /// Starts the authority as its Deployment does, but for where it listens.
    fn authority(&mut self) -> Ca {
        let flags = self.flags("Deployment", CA, &["listen", "dns-name", "log-format"]);
        let options = CaOptions::new(self.kubeconfig(CA));
        let options = flags.iter().fold(options, |options, (name, value)| options.flag(name, value));
        self.node.ca(&options).unwrap()
    }

    /// Starts the agent as its `DaemonSet` does, with an authority of its own.
    fn agent(&mut self) -> Agent {
        let options = self.agent_options();
        self.node.agent(&options).unwrap()
    }

    fn agent_options(&mut self) -> AgentOptions {
        let own = ["node", "ca-address", "ca-roots", "ca-token"];
        let flags = self.flags("DaemonSet", AGENT, &own);
        let options = AgentOptions::default().kubeconfig(&self.kubeconfig(AGENT));
        flags.iter().fold(options, |options, (name, value)| options.flag(name, value))
    }

    /// The flags of a workload's container, but for some.
    fn flags(&self, kind: &str, name: &str, without: &[&str]) -> Vec<(String, String)> {
        let is_it = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
        let workload = self.objects.iter().find(is_it).unwrap();
        let arguments = workload["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
        let flags =
            arguments.iter().filter_map(|argument| argument.as_str()?.strip_prefix("--")?.split_once('='));
        let flags = flags.filter(|(name, _)| !without.contains(name));
        flags.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The token of the agent of the node, as the kubelet mounts it for the authority.
    fn agent_token(&self) -> String {
        let pod = "culvert-agent-a";
        self.api
            .apply(&json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": { "namespace": NAMESPACE, "name": pod },
                "spec": {
                    "nodeName": self.node.name(), "serviceAccountName": AGENT, "hostNetwork": true,
                    "containers": [{ "name": "agent", "image": "none" }],
                },
                "status": { "phase": "Running" },
            }))
            .unwrap();
        let spec = TokenSpec::new(NAMESPACE, AGENT).audience(CA).bound_to(pod);
        self.api.issue_token(&spec).unwrap()
    }

    /// What roles grant.
    fn granted(&self, roles: &[(&str, &str, &str)]) -> BTreeSet<Right> {
        let roles =
            roles.iter().map(|(plural, namespace, name)| self.api.get(plural, namespace, name).unwrap());
        roles
            .flat_map(|role| role["rules"].as_array().unwrap().iter().flat_map(rights).collect::<Vec<_>>())
            .collect()
    }

    /// What a service account has asked for, and got.
    fn used(&self, account: &str) -> BTreeSet<Right> {
        let user = format!("system:serviceaccount:{NAMESPACE}:{account}");
        let requests = self.api.requests().into_iter();
        let got = requests.filter(|it| it.user == user && it.status.is_some_and(|status| status < 300));
        got.map(|it| (it.verb.as_str().to_owned(), it.resource)).collect()
    }

    /// Waits until every right was used, and compares.
    fn assert_uses_all(&self, account: &str, roles: &[(&str, &str, &str)]) {
        let granted = self.granted(roles);
        let deadline = Instant::now() + DEADLINE;
        while self.used(account) != granted && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(self.used(account), granted, "what {account} used, and what it is granted");
    }

    fn wait_status(&self, wanted: impl Fn(&Value) -> bool) -> StatusAnswer {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let answer = self.node.status(&["-o", "json"]).unwrap();
            if wanted(&answer.json()) {
                return answer;
            }
            assert!(Instant::now() < deadline, "the last answer: {answer:#?}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn rights(rule: &Value) -> Vec<Right> {
    let verbs = words(&rule["verbs"]);
    let of =
        |resource: &String| verbs.iter().map(|verb| (verb.clone(), resource.clone())).collect::<Vec<_>>();
    words(&rule["resources"]).iter().flat_map(of).collect()
}

fn words(list: &Value) -> Vec<String> {
    serde_json::from_value(list.clone()).unwrap()
}

#[test]
fn agent_and_authority_use_every_right_that_they_have_and_need_no_other() {
    let mut site = Site::new();
    // As before Kubernetes 1.30: the authority has to look for the pod of the agent's token.
    site.api.name_nodes_of_tokens(false);
    let authority = site.authority();
    authority.wait_ready().unwrap();

    let directory = site.machine.directory();
    let roots = Volume::mount(&site.api, (NAMESPACE, ROOTS), "root-cert.pem", &directory);
    let token = directory.join("agent-token");
    fs::write(&token, site.agent_token()).unwrap();
    let options = site.agent_options();
    let options = options.certificates_from(Ca::address(&site.node), roots.file(), &token);
    let agent = site.node.agent(&options).unwrap();
    agent.wait_ready().unwrap();
    let well =
        site.wait_status(|it| it["pods"]["enrolled"][0]["announced"] == true && it["concerns"] == json!([]));
    assert_eq!(well.code, Some(0), "{well:#?}");
    // The authority puts right what somebody spoils.
    site.api.edit("configmaps", NAMESPACE, ROOTS, |it| it["data"]["root-cert.pem"] = "none".into()).unwrap();

    site.assert_uses_all(AGENT, &[("clusterroles", "", AGENT)]);
    site.assert_uses_all(CA, &[("clusterroles", "", CA), ("roles", NAMESPACE, CA)]);
    let refused: Vec<_> =
        site.api.refused().into_iter().map(|it| (it.user, it.verb, it.resource, it.name, it.query)).collect();
    assert_eq!(refused, []);
}

#[test]
fn an_agent_that_may_not_read_all_that_it_has_to_is_not_ready_and_says_what_it_lacks() {
    let mut site = Site::new();
    let role = site.api.get("clusterroles", "", AGENT).unwrap();
    let rules = role["rules"].as_array().unwrap();
    for missing in 0..rules.len() {
        let left: Vec<_> = rules.iter().enumerate().filter(|(at, _)| *at != missing).map(|it| it.1).collect();
        site.api.edit("clusterroles", "", AGENT, |role| role["rules"] = json!(left)).unwrap();
        let lost = words(&rules[missing]["resources"]);
        if lost == ["pods/status"] {
            check_without_announcement(&mut site);
        } else {
            check_without(&mut site, &lost);
        }
    }
}

/// An agent that has lost its rights on some resources.
fn check_without(site: &mut Site, lost: &[String]) {
    let mut agent = site.agent();
    let answer = site.wait_status(|document| {
        lost.iter().all(|resource| is_forbidden(document, resource)) && are_followed(document, lost)
    });
    assert_eq!(answer.code, Some(1), "without {lost:?}: {answer:#?}");
    assert_eq!(answer.json()["pods"]["enrolled"], json!([]), "without {lost:?}");
    let readiness = site.node.status(&["--ready"]).unwrap();
    assert_eq!(readiness.code, Some(1), "without {lost:?}");
    for resource in lost {
        assert!(readiness.text.lines().any(|line| line.starts_with(resource)), "{readiness:?}");
    }
    end_after_one_warning_of_each(&mut agent, lost);
}

/// An agent that may only look.
fn check_without_announcement(site: &mut Site) {
    let lost = ["pods/status".to_owned()];
    let mut agent = site.agent();
    agent.wait_ready().unwrap();
    let answer = site.wait_status(|document| is_forbidden(document, &lost[0]) && are_followed(document, &[]));
    assert_eq!(answer.code, Some(1), "{answer:#?}");
    assert_eq!(answer.json()["pods"]["enrolled"][0]["pod"], "full/sleep");
    assert_eq!(site.node.status(&["--ready"]).unwrap().code, Some(0));
    end_after_one_warning_of_each(&mut agent, &lost);
}

/// Whether one thing needs a person: that this may not be done.
fn is_forbidden(document: &Value, resource: &str) -> bool {
    let concerns = document["concerns"].as_array().into_iter().flatten().filter_map(Value::as_str);
    concerns.filter(|it| it.contains(resource) && it.contains("forbidden")).count() == 1
}

fn end_after_one_warning_of_each(agent: &mut Agent, lost: &[String]) {
    for resource in lost {
        let is_warning = |line: &Value| line["level"] == "WARN" && line.to_string().contains(resource);
        let told = agent.lines().into_iter().filter(|line| is_warning(&line.json)).count();
        assert_eq!(told, 1, "{resource} in the log");
    }
    assert!(agent.stop().unwrap().success());
}

/// Whether each resource but these is followed.
fn are_followed(document: &Value, lost: &[String]) -> bool {
    let watches = document["cluster"]["watches"].as_array().into_iter().flatten();
    let is_lost = |watch: &&Value| {
        let name = watch["resource"].as_str().unwrap();
        lost.iter().any(|resource| name.split(['.', '/']).next() == Some(resource))
    };
    let (denied, followed): (Vec<_>, Vec<_>) = watches.partition(is_lost);
    denied.iter().all(|it| it["state"] == "denied") && followed.iter().all(|it| it["state"] == "watching")
}

#[test]
fn an_authority_that_may_not_read_its_secret_says_so_and_serves_once_it_may() {
    let mut site = Site::new();
    let granted = site.api.get("roles", NAMESPACE, CA).unwrap()["rules"].clone();
    site.api.edit("roles", NAMESPACE, CA, |role| role["rules"] = json!([])).unwrap();
    let authority = site.authority();
    authority.wait_for(|line| line["level"] == "WARN" && line.to_string().contains("forbidden")).unwrap();
    site.api.edit("roles", NAMESPACE, CA, |role| role["rules"] = granted.clone()).unwrap();
    authority.wait_ready().unwrap();
}
