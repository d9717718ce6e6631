//! Leaving pods alone, so that nothing of them holds for who comes after.

use std::{collections::BTreeMap, net::IpAddr};

use futures::future::join_all;
use tracing::info;

use super::{Enrolled, Enroller};
use crate::{
    cluster::{LocalPod, PodRef},
    kernel::MapsError,
};

impl Enroller {
    /// Releases pods whose sandbox ended or was replaced: the cluster may tell of it late, or never.
    pub async fn release_ended(&mut self) -> Result<(), MapsError> {
        let ended = self.enrolled.iter().filter(|(_, pod)| !pod.is_alive());
        let ended = ended.map(|(name, _)| (name.clone(), "its sandbox ended")).collect();
        self.release(ended).await
    }

    pub(super) async fn release_unwanted(
        &mut self,
        wanted: &BTreeMap<PodRef, LocalPod>,
    ) -> Result<(), MapsError> {
        let because = |(name, pod): (&PodRef, &mut Enrolled)| match wanted.get(name) {
            None => Some((name.clone(), "it is gone, or opted out")),
            Some(wish) if !pod.accepts(wish) => Some((name.clone(), "it changed")),
            Some(_) => None,
        };
        let unwanted = self.enrolled.iter_mut().filter_map(because).collect();
        self.release(unwanted).await
    }

    /// Releases who had an address before the cluster gave it to this pod.
    pub(super) async fn release_claimed(&mut self, by: &PodRef) -> Result<(), MapsError> {
        let claimed = self.enrolled.get(by).map_or(&[][..], Enrolled::addresses);
        let is_claimed = |pod: &Enrolled| pod.addresses().iter().any(|address| claimed.contains(address));
        let others = self.enrolled.iter().filter(|(name, pod)| *name != by && is_claimed(pod));
        let others = others.map(|(name, _)| (name.clone(), "its address went to another pod")).collect();
        self.release(others).await
    }

    /// Captures nothing more of these pods, and ends what is open.
    pub(super) async fn release(&mut self, pods: Vec<(PodRef, &'static str)>) -> Result<(), MapsError> {
        let mut released = Vec::new();
        for (name, because) in pods {
            if let Some(pod) = self.enrolled.remove(&name) {
                info!(pod = %name, because, "released");
                self.problems.remove(&name);
                self.parts.maps.remove_pod(pod.netns().cookie())?;
                released.push(pod);
            }
        }
        self.withdraw(released).await
    }

    /// First the pods' open connections, then their policy. Connections take a while to end, so those of all pods end
    /// at the same time.
    pub(super) async fn withdraw(&mut self, released: Vec<Enrolled>) -> Result<(), MapsError> {
        join_all(released.iter().map(|pod| self.parts.workers.remove(&pod.wish().pod))).await;
        for pod in released {
            let addresses = self.given_up(&pod);
            pod.lift(&addresses, &mut self.parts)?;
        }
        Ok(())
    }

    /// The addresses of a released pod that no other has by now.
    fn given_up(&self, pod: &Enrolled) -> Vec<IpAddr> {
        let kept = |address: &IpAddr| self.enrolled.values().any(|other| other.addresses().contains(address));
        pod.addresses().iter().copied().filter(|address| !kept(address)).collect()
    }
}
