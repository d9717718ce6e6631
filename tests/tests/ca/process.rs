//! `culvert ca` as the process that a cluster runs.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicU16, Ordering},
};

use culvert_testbed::culvert;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tonic::Code;

use crate::{
    caller::{Ask, Caller, id},
    cluster::{Cluster, SECRET, SYSTEM, eventually},
};

/// A running `culvert ca`; dropped, it is killed.
struct Process {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
    _files: TempDir,
}

impl Process {
    /// Starts one that looks at its Secret often.
    fn start(cluster: &Cluster, flags: &[&str]) -> Self {
        let files = tempfile::tempdir().unwrap();
        let log = files.path().join("log");
        let printed = File::create(&log).unwrap();
        let address = own_address();
        let child = Command::new(culvert())
            .args(["ca", "--log-format=json", "--overlap=1s"])
            .arg(format!("--listen={address}"))
            .arg(format!("--kubeconfig={}", cluster.kubeconfig(&cluster.own_token()).display()))
            .args(flags)
            .stdin(Stdio::null())
            .stdout(printed.try_clone().unwrap())
            .stderr(printed)
            .spawn()
            .unwrap();
        Self { child, address, log, _files: files }
    }

    fn printed(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits for a line of the log that says this.
    async fn says(&self, message: &str) -> Value {
        eventually(&format!("a line {message:?}"), async || {
            let lines = self.printed();
            let mut lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find(|line| line["message"] == message)
        })
        .await
    }

    async fn serves(&self) {
        self.says("certificate authority serves").await;
    }

    fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// How it ends by itself; callers go on meanwhile.
    async fn ended(&mut self) -> ExitStatus {
        eventually("its end", async || self.child.try_wait().unwrap()).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address of the loopback that no other authority uses: of this process, and of this call.
fn own_address() -> SocketAddr {
    static CALLS: AtomicU16 = AtomicU16::new(0);
    let [_, top, high, low] = std::process::id().to_be_bytes();
    let port = 15_012 + CALLS.fetch_add(1, Ordering::Relaxed);
    (Ipv4Addr::new(127, high, low, 1 + top), port).into()
}

fn run(arguments: &[&str]) -> Output {
    Command::new(culvert()).arg("ca").args(arguments).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn help_names_each_flag() {
    let help = run(&["--help"]);
    assert!(help.status.success());
    let text = String::from_utf8(help.stdout).unwrap();
    for flag in [
        "listen",
        "namespace",
        "secret",
        "config-map",
        "trust-domain",
        "audience",
        "agent-account",
        "max-lifetime",
        "root-lifetime",
        "overlap",
        "dns-name",
        "kubeconfig",
        "log-format",
        "log",
    ] {
        assert!(text.contains(&format!("  --{flag} ")), "--{flag} is missing in\n{text}");
    }
}

#[test]
fn each_mistake_on_the_command_line_is_named() {
    let wrong = run(&["--listen=nowhere", "--agent-account=agent", "--overlap=soon", "--colour=blue"]);
    assert_eq!(wrong.status.code(), Some(64));
    assert!(wrong.stdout.is_empty());
    let text = String::from_utf8(wrong.stderr).unwrap();
    for flag in ["--listen", "--agent-account", "--overlap", "--colour"] {
        assert!(text.contains(flag), "{flag} is missing in\n{text}");
    }
}

#[tokio::test]
async fn settings_that_contradict_each_other_end_it_with_the_reason() {
    let cluster = Cluster::new();
    let mut process = Process::start(&cluster, &["--root-lifetime=1h"]);
    assert_eq!(process.ended().await.code(), Some(64));
    let said = process.printed();
    assert!(said.contains("expected roots that live for at least 2days 4s"), "{said}");
    assert!(cluster.api.get("secrets", SYSTEM, SECRET).is_none());
}

#[tokio::test]
async fn it_serves_until_sigterm_and_open_requests_end_first() {
    let cluster = Cluster::new();
    let mut process = Process::start(&cluster, &[]);
    process.serves().await;
    let caller = Caller::new(&cluster, process.address).await;
    let ask = Ask::for_pod(&cluster.agent(1), &id("full", "sleep"));
    let mark = cluster.api.mark();
    let hold = cluster.api.hold("tokenreviews");
    let open = caller.ask(&ask);
    let end = async {
        cluster.api.requested(mark, |request| request.resource == "tokenreviews").await.unwrap();
        process.terminate();
        process.says("certificate authority ends").await;
        assert!(TcpStream::connect(process.address).await.is_err(), "nobody listens any more");
        drop(hold);
    };
    let (answer, ()) = tokio::join!(open, end);
    answer.certificates();
    drop(caller);
    assert_eq!(process.ended().await.code(), Some(0));
}

#[tokio::test]
async fn it_waits_for_the_api_server_and_is_not_ready_until_it_has_its_key() {
    let cluster = Cluster::new();
    cluster.api.go_away().unwrap();
    let mut process = Process::start(&cluster, &[]);
    let line = process.says("cannot look after the roots, those that are loaded go on").await;
    assert_eq!(line["level"], "WARN");
    assert!(line["error"].as_str().unwrap().contains("Connection refused"), "{line}");
    assert!(TcpStream::connect(process.address).await.is_err(), "its port is what readiness goes by");
    cluster.api.come_back().unwrap();
    process.serves().await;
    let caller = Caller::new(&cluster, process.address).await;
    caller.ask(&Ask::for_pod(&cluster.agent(1), &id("full", "sleep"))).await.certificates();
    let warnings = process.printed().lines().filter(|line| line.contains("\"WARN\"")).count();
    assert_eq!(warnings, 1, "{}", process.printed());
    process.terminate();
    assert_eq!(process.ended().await.code(), Some(0));
}

#[tokio::test]
async fn while_it_waits_for_the_api_server_sigterm_ends_it() {
    let cluster = Cluster::new();
    cluster.api.go_away().unwrap();
    let mut process = Process::start(&cluster, &[]);
    process.says("cannot look after the roots, those that are loaded go on").await;
    process.terminate();
    assert_eq!(process.ended().await.code(), Some(0));
}

#[tokio::test]
async fn two_processes_share_one_key() {
    let cluster = Cluster::new();
    let processes = [(); 2].map(|()| Process::start(&cluster, &[]));
    for process in &processes {
        process.serves().await;
    }
    assert_eq!(cluster.root_count(), 1);
    let roots = cluster.roots();
    for process in &processes {
        let caller = Caller::new(&cluster, process.address).await;
        let answer = caller.ask(&Ask::for_pod(&cluster.agent(1), &id("full", "sleep"))).await;
        answer.verify(&roots, cluster.now()).unwrap();
    }
}

/// Everything is logged that can be, and much goes wrong.
#[tokio::test]
async fn no_line_of_the_log_holds_a_key_or_a_token() {
    let cluster = Cluster::new();
    let mut process = Process::start(&cluster, &["--log=trace,kube_client=trace"]);
    process.serves().await;
    let caller = Caller::new(&cluster, process.address).await;
    let (good, bad) = (cluster.agent(1), "e5b7a3f0-a-token-of-nobody".to_owned());
    caller.ask(&Ask::for_pod(&good, &id("full", "sleep"))).await.certificates();
    caller.ask(&Ask::for_pod(&good, &id("full", "httpbin"))).await.refused(Code::PermissionDenied, "");
    caller.ask(&Ask::for_pod(&bad, &id("full", "sleep"))).await.refused(Code::Unauthenticated, "");
    let lines_of_key = lines_of_key(&cluster);
    make_unreadable(&cluster);
    process.says("cannot look after the roots, those that are loaded go on").await;
    process.terminate();
    assert_eq!(process.ended().await.code(), Some(0));
    let printed = process.printed();
    assert!(printed.contains("\"TRACE\""), "it has logged all it can");
    let secrets = [good, bad].into_iter().chain(lines_of_key);
    for secret in secrets {
        assert!(!printed.contains(&secret), "{secret} is in the log");
    }
    assert!(!printed.contains("PRIVATE KEY"));
}

/// What must not be found: the key's lines as they are in PEM, and as they are in the Secret.
fn lines_of_key(cluster: &Cluster) -> Vec<String> {
    let encoded = cluster.secret()["root-1.key"].clone();
    let ByteString(pem) = serde_json::from_value(encoded.clone()).unwrap();
    let pem = String::from_utf8(pem).unwrap();
    let lines = pem.lines().filter(|line| !line.starts_with('-')).map(str::to_owned);
    let mut lines: Vec<_> = lines.collect();
    assert!(lines.len() > 1, "a key has several lines");
    lines.push(encoded.as_str().unwrap()[..60].to_owned());
    lines
}

/// Makes the Secret one that no client can decode, with the keys still in it.
fn make_unreadable(cluster: &Cluster) {
    let mut secret = cluster.api.get("secrets", SYSTEM, SECRET).unwrap();
    secret["data"]["root-2.key"] = json!(7);
    serde_json::from_value::<Secret>(secret.clone()).expect_err("it decodes");
    cluster.api.put_raw("secrets", secret).unwrap();
}
