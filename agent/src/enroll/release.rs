//! Leaving pods alone, so that nothing of them holds for who comes after.

use std::{collections::BTreeMap, net::IpAddr, time::Instant};

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
        now: Instant,
    ) -> Result<(), MapsError> {
        let leaving = &self.leaving;
        let because = |(name, pod): (&PodRef, &mut Enrolled)| match wanted.get(name) {
            None => match leaving.get(name) {
                Some(leaving) if leaving.end() > now => None,
                Some(_) => Some((name.clone(), "it opted out")),
                None => Some((name.clone(), "it is gone")),
            },
            Some(wish) if !pod.accepts(wish) => Some((name.clone(), "it changed")),
            Some(_) => None,
        };
        let unwanted = self.enrolled.iter_mut().filter_map(because).collect();
        self.release(unwanted).await
    }

    /// Releases who had these addresses before the cluster gave them to another pod.
    pub(super) async fn release_holders(&mut self, of: &[IpAddr]) -> Result<(), MapsError> {
        let holds = |pod: &Enrolled| pod.addresses().iter().any(|address| of.contains(address));
        let holders = self.enrolled.iter().filter(|(_, pod)| holds(pod));
        let holders = holders.map(|(name, _)| (name.clone(), "its address went to another pod")).collect();
        self.release(holders).await
    }

    /// Captures nothing more of these pods, and ends what is open.
    pub(super) async fn release(&mut self, pods: Vec<(PodRef, &'static str)>) -> Result<(), MapsError> {
        let mut released = Vec::new();
        for (name, because) in pods {
            if let Some(pod) = self.enrolled.remove(&name) {
                info!(pod = %name, because, "released");
                self.problems.remove(&name);
                self.leaving.remove(&name);
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
            pod.lift(&mut self.parts)?;
        }
        Ok(())
    }
}
