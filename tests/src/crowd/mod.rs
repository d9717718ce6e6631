//! A large cluster for an API server: pods and Services of the size that real ones have, and how they change.
//!
//! Each pod is captured, as its agent's annotation says, but for a few that are away: while the crowd changes, one pod
//! leaves and the one that has been away the longest comes back, so that the cluster stays as large as it was.

mod objects;

use std::{net::Ipv4Addr, path::PathBuf};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How large a cluster is, and how many of its pods are away at any time.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// Pods.
    pub pods: u32,
    /// Services, whose endpoints are all the pods between them.
    pub services: u32,
    /// Pods that are not captured.
    pub away: u32,
}

/// A pod that is captured from here on, or no longer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The pod's address.
    pub address: Ipv4Addr,
    /// What its annotation says now.
    pub captured: bool,
    /// When it was written, in nanoseconds of [`now`].
    pub at: u64,
}

/// What is asked of `culvert-apiserver`, a line of JSON each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// How many pods to change.
    pub changes: u32,
    /// How many of them each second.
    pub rate: u32,
}

/// What `culvert-apiserver` says, a line of JSON each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// All objects are there, and a client with this kubeconfig may ask for them.
    Serving(PathBuf),
    /// A pod has changed.
    Changed(Change),
    /// An order is done.
    Done,
}

impl Crowd {
    /// A crowd, some of which are away; fewer than asked where it is small.
    pub fn new(pods: u32, services: u32, away: u32) -> Self {
        Self { pods, services, away: away.min(pods / 2) }
    }

    /// All objects, as an API server has them at the beginning.
    pub fn objects(self) -> impl Iterator<Item = Value> {
        let namespaces = (0..self.services.div_ceil(SERVICES_PER_NAMESPACE)).map(objects::namespace);
        let services = (0..self.services).flat_map(move |service| self.service(service));
        let pods = (0..self.pods).map(move |pod| self.pod(pod, pod < self.pods - self.away));
        namespaces.chain(services).chain(pods)
    }

    /// The pod that changes at a step, as it is then; `at` is left to who writes it.
    pub fn step(self, step: u32) -> (Value, Change) {
        let turn = step / 2;
        let captured = step % 2 == 1;
        let first = if captured { self.pods - self.away } else { 0 };
        let pod = (first + turn % self.pods) % self.pods;
        (self.pod(pod, captured), Change { address: address(pod), captured, at: 0 })
    }

    fn service(self, service: u32) -> [Value; 2] {
        let size = self.pods.div_ceil(self.services);
        let pods = (service * size).min(self.pods)..((service + 1) * size).min(self.pods);
        [objects::service(service), objects::endpoint_slice(service, pods)]
    }

    fn pod(self, pod: u32, captured: bool) -> Value {
        let service = pod / self.pods.div_ceil(self.services);
        objects::pod(pod, service, captured)
    }
}

/// Since the machine was started, in nanoseconds: the same for all processes.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let part = |part| u64::try_from(part).expect("time goes forward");
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}

const SERVICES_PER_NAMESPACE: u32 = 10;

/// Between those of the testbed's own pods (10.1.0.0/16 and on) and of its nodes (10.200.0.0/16).
fn address(pod: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 64, 0, 0).to_bits() + pod)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn is_captured(pod: &Value) -> bool {
        pod["metadata"]["annotations"]["culvert.io/captured"] == "true"
    }

    #[test]
    fn each_step_changes_a_pod_and_as_many_stay_away() {
        let crowd = Crowd::new(7, 2, 3);
        let objects: Vec<_> = crowd.objects().filter(|it| it["kind"] == "Pod").collect();
        let ip = |pod: &Value| pod["status"]["podIP"].as_str().unwrap().to_owned();
        let mut captured: BTreeSet<_> = objects.iter().filter(|pod| is_captured(pod)).map(ip).collect();
        assert_eq!((objects.len(), captured.len()), (7, 4));
        for step in 0..100 {
            let (pod, change) = crowd.step(step);
            assert_eq!((is_captured(&pod), ip(&pod)), (change.captured, change.address.to_string()));
            let changed =
                if change.captured { captured.insert(ip(&pod)) } else { captured.remove(&ip(&pod)) };
            assert!(changed, "{step}: {change:?}");
            assert!((3..=4).contains(&captured.len()), "{step}");
        }
    }

    #[test]
    fn each_pod_is_an_endpoint_of_one_service_of_its_namespace() {
        let objects: Vec<_> = Crowd::new(50, 4, 0).objects().collect();
        let of_kind = |kind: &'static str| objects.iter().filter(move |it| it["kind"] == kind);
        let pods: BTreeSet<_> = of_kind("Pod")
            .map(|pod| (pod["metadata"]["namespace"].to_string(), pod["status"]["podIP"].to_string()))
            .collect();
        let endpoints = of_kind("EndpointSlice").flat_map(|slice| {
            let namespace = slice["metadata"]["namespace"].to_string();
            let endpoints = slice["endpoints"].as_array().unwrap().iter();
            endpoints.map(move |endpoint| (namespace.clone(), endpoint["addresses"][0].to_string()))
        });
        let endpoints: Vec<_> = endpoints.collect();
        assert_eq!((pods.len(), endpoints.len(), of_kind("Service").count()), (50, 50, 4));
        assert_eq!(endpoints.into_iter().collect::<BTreeSet<_>>(), pods);
    }

    #[test]
    fn a_pod_is_as_large_as_real_ones_are() {
        let size = Crowd::new(10, 1, 0).step(1).0.to_string().len();
        assert!((3_000..=5_000).contains(&size), "{size}");
    }
}
