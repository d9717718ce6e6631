//! The machine: nodes that reach each other, their pods, and the cluster as manifests tell it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::PathBuf,
    sync::Arc,
};

use anyhow::Context;

use crate::{
    Expected, Node, Pod, PodSpec, Service, ServiceSpec,
    apiserver::ApiServer,
    kube_proxy,
    manifests::{self, ClusterModel, PodModel},
    node::Link,
    publish::Publisher,
    run::Run,
};

/// Where the API server listens on each node.
const API_SERVER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 6443));

/// Several nodes on this machine; dropped, all of it goes.
pub struct Machine {
    nodes: Vec<Link>,
    /// How many pods each node has had, by its name: addresses are not used twice.
    pods: BTreeMap<String, u8>,
    services: u8,
    model: ClusterModel,
    api: Option<Publisher>,
    /// By their names.
    nodes_with_api: BTreeSet<String>,
    run: Arc<Run>,
}

impl Machine {
    /// A machine without nodes. Removes what dead runs left behind.
    pub fn new() -> anyhow::Result<Self> {
        let run = Run::start()?;
        manifests::prepare(&run.manifests())?;
        Ok(Self {
            nodes: Vec::new(),
            pods: BTreeMap::new(),
            services: 0,
            model: ClusterModel::default(),
            api: None,
            nodes_with_api: BTreeSet::new(),
            run,
        })
    }

    /// Tells an API server from here on what the manifests say, too.
    #[must_use]
    pub fn with_api(self, server: &ApiServer) -> Self {
        Self { api: Some(Publisher::new(server)), ..self }
    }

    /// Has the API server listen on a node, and writes what `user` needs there to ask it with a token. Returns the
    /// kubeconfig's path.
    pub fn kubeconfig(&mut self, node: &Node, user: &str, token: &str) -> anyhow::Result<PathBuf> {
        let server = self.api.as_ref().context("this machine has no API server")?.server();
        if self.nodes_with_api.insert(node.name().to_owned()) {
            server.serve_in(node, API_SERVER)?;
        }
        server.kubeconfig(&self.directory().join(format!("{}.{user}", node.name())), API_SERVER, token)
    }

    /// Adds a node, joined to each of the others.
    pub fn node(&mut self, name: &str) -> anyhow::Result<Node> {
        let number = u8::try_from(self.nodes.len() + 1).context("there are too many nodes")?;
        let node = Node::create(&self.run, name, number)?;
        self.nodes.iter().try_for_each(|other| node.link.join(other))?;
        self.nodes.push(node.link.clone());
        Ok(node)
    }

    /// Starts a pod on a node. The agents learn of it with the next [`publish`](Self::publish).
    pub fn pod(&mut self, node: &Node, spec: PodSpec) -> anyhow::Result<Pod> {
        let expected = self.expect(node, spec)?;
        let pod = Pod::create(node, &expected)?;
        self.set_running(&pod);
        Ok(pod)
    }

    /// Binds a pod to a node, where it is Pending and without addresses until [`set_running`](Self::set_running).
    pub fn expect(&mut self, node: &Node, spec: PodSpec) -> anyhow::Result<Expected> {
        let count = self.pods.entry(node.name().to_owned()).or_insert(1);
        *count = count.checked_add(1).context("there are too many pods on one node")?;
        let expected = Expected::new(node, spec, *count)?;
        self.model.pods.insert(expected.name(), PodModel::of(&expected, node));
        Ok(expected)
    }

    /// Binds a pod to the node of one that has ended and is to be at its addresses.
    pub fn expect_after(&mut self, node: &Node, spec: PodSpec, ended: &Pod) -> anyhow::Result<Expected> {
        let expected = Expected::new(node, spec, ended.number)?;
        self.model.pods.insert(expected.name(), PodModel::of(&expected, node));
        Ok(expected)
    }

    /// Makes the sandbox of a pod that is expected. The manifests go on saying that it is Pending.
    pub fn sandbox(&self, node: &Node, expected: &Expected) -> anyhow::Result<Pod> {
        Pod::create(node, expected)
    }

    /// Says that a pod is Running, and where.
    pub fn set_running(&mut self, pod: &Pod) {
        if let Some(model) = self.model.pods.get_mut(pod.name()) {
            model.running = true;
        }
    }

    /// Ends a pod; the manifests forget it with the next [`publish`](Self::publish).
    pub fn delete(&mut self, pod: Pod) {
        self.model.pods.remove(pod.name());
        drop(pod);
    }

    /// Has the manifests forget a pod, which goes on running.
    pub fn forget(&mut self, pod: &Pod) {
        self.model.pods.remove(pod.name());
    }

    /// Changes what the manifests say of a pod, which goes on running as it is.
    pub fn relabel(&mut self, pod: &Pod, change: impl FnOnce(&mut BTreeMap<String, String>)) {
        if let Some(model) = self.model.pods.get_mut(pod.name()) {
            change(&mut model.spec.labels);
        }
    }

    /// Says whether a pod is ready, which is whether Services lead to it.
    pub fn set_ready(&mut self, pod: &Pod, ready: bool) {
        if let Some(model) = self.model.pods.get_mut(pod.name()) {
            model.ready = ready;
        }
    }

    /// Sets a label of a namespace.
    pub fn label_namespace(&mut self, namespace: &str, key: &str, value: &str) {
        let labels = self.model.namespaces.entry(namespace.to_owned()).or_default();
        labels.insert(key.to_owned(), value.to_owned());
    }

    /// Adds a Service.
    pub fn service(&mut self, spec: ServiceSpec) -> anyhow::Result<Service> {
        self.services = self.services.checked_add(1).context("there are too many Services")?;
        let service = Service { spec, number: self.services };
        self.model.services.push(service.clone());
        Ok(service)
    }

    /// Tells agents and nodes how the cluster is now: pods, Services and their endpoints, all in one change.
    pub fn publish(&self) -> anyhow::Result<()> {
        let objects = self.model.objects();
        manifests::write(&self.run.manifests(), "cluster", &manifests::documents(&objects)?)?;
        self.api.iter().try_for_each(|api| api.write("cluster", &objects))?;
        if self.model.services.is_empty() {
            return Ok(());
        }
        let rules = kube_proxy::rules(&self.model, &self.nodes);
        self.nodes.iter().try_for_each(|node| kube_proxy::load(&node.netns, &rules))
    }

    /// Adds or replaces a file of manifests, as text: `name` is the file's, without its ending.
    pub fn apply(&self, name: &str, yaml: &str) -> anyhow::Result<()> {
        manifests::write(&self.run.manifests(), name, yaml)?;
        self.api.iter().try_for_each(|api| api.write(name, &manifests::objects(yaml)?))
    }

    /// Removes a file that [`apply`](Self::apply) made.
    pub fn unapply(&self, name: &str) -> anyhow::Result<()> {
        manifests::remove(&self.run.manifests(), name)?;
        self.api.iter().try_for_each(|api| api.remove(name))
    }

    /// The directory of the manifests.
    pub fn manifests(&self) -> PathBuf {
        self.run.manifests()
    }

    /// The directory that the nodes' agents share their CA by.
    pub fn authority(&self) -> PathBuf {
        self.run.authority()
    }

    /// A directory for the files of a test, gone with the machine.
    pub fn directory(&self) -> PathBuf {
        self.run.directory()
    }
}
