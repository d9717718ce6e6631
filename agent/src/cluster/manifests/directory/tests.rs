use std::os::unix::fs::symlink;

use tempfile::TempDir;
use tokio::task::{JoinHandle, spawn};

use super::*;
use crate::cluster::{Kind, testing};

const NAME: &str = "manifests";

/// A directory that is followed, and the cluster that it feeds.
struct Followed {
    parent: TempDir,
    cluster: Cluster,
    task: JoinHandle<()>,
}

impl Followed {
    fn new(files: &[(&str, &str)]) -> Self {
        let parent = TempDir::new().unwrap();
        let directory = parent.path().join(NAME);
        fs::create_dir(&directory).unwrap();
        for (name, text) in files {
            fs::write(directory.join(name), text).unwrap();
        }
        let cluster = Cluster::new(Index::new(testing::settings()));
        let mut manifests = ManifestDir::open(&directory).unwrap();
        manifests.load(&cluster).unwrap();
        let task = spawn(manifests.run(cluster.clone()));
        Self { parent, cluster, task }
    }

    /// A path in the directory.
    fn path(&self, name: &str) -> PathBuf {
        self.beside(NAME).join(name)
    }

    /// A path beside the directory.
    fn beside(&self, name: &str) -> PathBuf {
        self.parent.path().join(name)
    }

    /// The pods that are known.
    fn pods(&self) -> Vec<String> {
        let index = self.cluster.read();
        index.local_pods("a").iter().map(|local| local.pod.to_string()).collect()
    }

    async fn expect_pods(&self, expected: &[&str]) {
        self.wait(|| self.pods() == expected, || format!("{:?}", self.pods())).await;
    }

    async fn wait(&self, done: impl Fn() -> bool, found: impl Fn() -> String) {
        let mut changes = self.cluster.changed();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !done() {
            assert!(Instant::now() < deadline, "found {}", found());
            // A new problem alone changes no answer, so look now and then.
            let _ = timeout(Duration::from_millis(20), changes.changed()).await;
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn pod(name: &str, address: &str) -> String {
    testing::pod("ns", name, address, true).to_string()
}

#[tokio::test]
async fn what_is_there_is_loaded_before_anything_runs() {
    let followed = Followed::new(&[
        ("a.yaml", &pod("a", "10.0.0.1")),
        ("b.yml", &pod("b", "10.0.0.2")),
        ("c.json", &pod("c", "10.0.0.3")),
        ("d.txt", &pod("d", "10.0.0.4")),
        (".e.yaml", &pod("e", "10.0.0.5")),
    ]);
    assert_eq!(followed.pods(), ["ns/a", "ns/b", "ns/c"]);
}

#[tokio::test]
async fn files_come_change_and_go() {
    let followed = Followed::new(&[]);
    fs::write(followed.path("a.yaml"), pod("a", "10.0.0.1")).unwrap();
    followed.expect_pods(&["ns/a"]).await;
    fs::write(followed.path("a.yaml"), pod("b", "10.0.0.1")).unwrap();
    followed.expect_pods(&["ns/b"]).await;
    fs::remove_file(followed.path("a.yaml")).unwrap();
    followed.expect_pods(&[]).await;
}

#[tokio::test]
async fn a_file_is_replaced_by_a_rename() {
    let followed = Followed::new(&[("a.yaml", &pod("a", "10.0.0.1"))]);
    fs::write(followed.path("a.yaml.tmp"), pod("b", "10.0.0.1")).unwrap();
    fs::rename(followed.path("a.yaml.tmp"), followed.path("a.yaml")).unwrap();
    followed.expect_pods(&["ns/b"]).await;
}

#[tokio::test]
async fn a_mounted_config_map_is_replaced_by_a_link() {
    let followed = Followed::new(&[]);
    for (version, name) in [("..1", "a"), ("..2", "b")] {
        fs::create_dir(followed.path(version)).unwrap();
        fs::write(followed.path(version).join("pod.yaml"), pod(name, "10.0.0.1")).unwrap();
    }
    symlink("..1", followed.path("..data")).unwrap();
    symlink("..data/pod.yaml", followed.path("pod.yaml")).unwrap();
    followed.expect_pods(&["ns/a"]).await;
    symlink("..2", followed.path("..data_tmp")).unwrap();
    fs::rename(followed.path("..data_tmp"), followed.path("..data")).unwrap();
    followed.expect_pods(&["ns/b"]).await;
}

#[tokio::test]
async fn a_broken_file_is_listed_until_it_is_whole() {
    let followed = Followed::new(&[("a.yaml", &pod("a", "10.0.0.1"))]);
    let problems = || followed.cluster.problems();
    fs::write(followed.path("a.yaml"), "a: [").unwrap();
    followed.wait(|| problems().len() == 1, || format!("{:?}", problems())).await;
    assert_eq!((problems()[0].file.as_deref(), problems()[0].document), (Some("a.yaml"), Some(1)));
    assert_eq!(followed.pods(), ["ns/a"]);
    fs::write(followed.path("a.yaml"), pod("b", "10.0.0.1")).unwrap();
    followed.wait(|| problems().is_empty(), || format!("{:?}", problems())).await;
    assert_eq!(followed.pods(), ["ns/b"]);
}

#[tokio::test]
async fn a_file_that_is_not_text_keeps_what_it_said() {
    let followed = Followed::new(&[("a.yaml", &pod("a", "10.0.0.1"))]);
    let problems = || followed.cluster.problems();
    fs::write(followed.path("a.yaml"), [0xff, 0xfe, 0x00]).unwrap();
    followed.wait(|| problems().len() == 1, || format!("{:?}", problems())).await;
    assert_eq!(followed.pods(), ["ns/a"]);
}

#[tokio::test]
async fn a_directory_that_went_away_keeps_what_it_said_until_it_is_back() {
    let followed = Followed::new(&[("a.yaml", &pod("a", "10.0.0.1"))]);
    let directory = followed.beside(NAME);
    fs::rename(&directory, followed.beside("away")).unwrap();
    let problems = || followed.cluster.problems();
    followed.wait(|| problems().len() == 1, || format!("{:?}", problems())).await;
    assert_eq!(problems()[0].file, Some(directory.display().to_string()));
    assert_eq!(followed.pods(), ["ns/a"]);

    let next = followed.beside("next");
    fs::create_dir(&next).unwrap();
    fs::write(next.join("a.yaml"), pod("b", "10.0.0.1")).unwrap();
    fs::rename(&next, &directory).unwrap();
    followed.expect_pods(&["ns/b"]).await;
    fs::write(followed.path("b.yaml"), pod("c", "10.0.0.2")).unwrap();
    followed.expect_pods(&["ns/b", "ns/c"]).await;
    assert_eq!(problems(), []);
}

#[test]
fn a_directory_that_cannot_be_read_is_named() {
    let error = ManifestDir::open(Path::new("/nonexistent/manifests")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read the manifest directory /nonexistent/manifests: "), "{error}");
}

#[test]
fn a_file_of_any_size_is_bounded() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("big.yaml");
    fs::File::create(&path).unwrap().set_len(MAX_FILE + 1).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("split the file"));
}

#[tokio::test]
async fn what_says_the_same_again_is_no_change() {
    let followed = Followed::new(&[("a.yaml", &pod("a", "10.0.0.1"))]);
    let revision = followed.cluster.read().revision();
    let mut manifests = ManifestDir::open(&followed.beside(NAME)).unwrap();
    let mut changes = followed.cluster.changed();
    manifests.load(&followed.cluster).unwrap();
    assert_eq!(followed.cluster.read().revision(), revision);
    assert!(!changes.has_changed().unwrap());
    followed.cluster.update(|index| index.reset(Kind::Pod, Vec::new()));
    assert!(changes.has_changed().unwrap());
    assert_eq!(*changes.borrow_and_update(), revision + 1);
}
