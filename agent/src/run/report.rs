//! What the agent says of itself to `culvert status`.

use std::{collections::BTreeSet, time::SystemTime};

use culvert::{
    cluster::{Cluster, PodRef, WatchState, WatchStatus},
    enroll::{EnrolReport, Enroller},
    explain::{self, Explanation, Question},
    identity::{Identities, IdentityReport, Originator},
    kernel::Failure,
    status::{self, Document, Timestamp},
};

use crate::cli::AgentOptions;

/// Where the facts come from.
pub(super) struct Reporter {
    node: String,
    failure: &'static str,
    since: SystemTime,
    cluster: Cluster,
    identities: Identities,
    originator: Originator,
}

impl Reporter {
    /// An agent that begins now.
    pub(super) fn new(
        options: &AgentOptions,
        cluster: &Cluster,
        identities: &Identities,
        originator: Originator,
    ) -> Self {
        Self {
            node: options.node.clone(),
            failure: if options.failure == Failure::Closed { "closed" } else { "open" },
            since: SystemTime::now(),
            cluster: cluster.clone(),
            identities: identities.clone(),
            originator,
        }
    }

    /// Everything, as it is now. `in_force` is whether this agent's programs are the ones that decide.
    pub(super) fn document(&self, enroller: &Enroller, in_force: bool) -> Document {
        let pods_now = enroller.report();
        let maps = enroller.maps();
        let mut document = Document {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.node.clone(),
            failure: self.failure.to_owned(),
            since: self.since.into(),
            not_ready: Vec::new(),
            concerns: Vec::new(),
            programs: pods_now.programs.iter().map(program).collect(),
            pods: pods(&pods_now),
            cluster: self.cluster(),
            certificates: self.identities.report().iter().map(certificate).collect(),
            roots: self.identities.roots().into_iter().map(root).collect(),
            maps: maps.fill().into_iter().map(map).collect(),
            connects: counts(enroller),
            lost_records: maps.lost_events().unwrap_or_default(),
        };
        document.not_ready = self.missing(&document, in_force);
        document.concerns = document.concerns(SystemTime::now());
        document.concerns.extend(self.identities.trust_problem());
        document.concerns.extend(self.unmet_demands());
        document
    }

    fn unmet_demands(&self) -> Vec<String> {
        let faults = self.originator.faults();
        self.cluster.read().unmet_demands(&faults).iter().map(ToString::to_string).collect()
    }

    /// How a connection would go; the error is why that cannot be said. Of this node's pods the enroller knows better
    /// than the cluster whether they are captured.
    pub(super) fn explanation(
        &self,
        enroller: &Enroller,
        question: &Question,
    ) -> Result<Explanation, String> {
        if !*self.cluster.synced().borrow() {
            return Err("the agent does not know the cluster yet: see culvert status".to_owned());
        }
        let index = self.cluster.read();
        let here: BTreeSet<PodRef> = index.announcements(&self.node).map(|it| it.pod).collect();
        let captured: BTreeSet<PodRef> = enroller.report().enrolled.into_iter().map(|it| it.pod).collect();
        let is_captured = |pod: &PodRef| here.contains(pod).then(|| captured.contains(pod));
        explain::explain(&index, question, is_captured).map_err(|reason| reason.to_string())
    }

    /// What the agent waits for before it serves.
    fn missing(&self, document: &Document, in_force: bool) -> Vec<String> {
        let mut missing = Vec::new();
        let late = document.cluster.watches.iter().filter(|watch| !watch.settled);
        missing.extend(late.map(|watch| match &watch.error {
            Some(error) => format!("{} were not listed yet: {error}", watch.resource),
            None => format!("{} were not listed yet", watch.resource),
        }));
        if !in_force {
            missing.push("the kernel programs are not in force yet".to_owned());
        }
        if document.roots.is_empty() {
            missing.push("no root of the mesh is known yet".to_owned());
        }
        let without = self.identities.report().into_iter().filter(|identity| !identity.held);
        missing.extend(without.map(|identity| format!("no certificate of {} yet", identity.id)));
        missing
    }

    fn cluster(&self) -> status::Cluster {
        status::Cluster {
            revision: self.cluster.read().revision(),
            synced: *self.cluster.synced().borrow(),
            watches: self.cluster.sources().into_iter().map(watch).collect(),
            problems: self.cluster.problems().iter().map(ToString::to_string).collect(),
        }
    }
}

fn program(program: &culvert::enroll::AttachedProgram) -> status::Program {
    status::Program { name: program.name.clone(), attached_to: program.attached_to.clone() }
}

fn pods(report: &EnrolReport) -> status::Pods {
    let enrolled = report.enrolled.iter().map(|pod| status::Enrolled {
        pod: pod.pod.to_string(),
        identity: pod.identity.to_string(),
        addresses: pod.addresses.clone(),
        since: pod.since.into(),
        announced: pod.announced,
        problem: pod.problem.clone(),
    });
    let waiting = report.waiting.iter().map(|pod| status::NotEnrolled {
        pod: pod.pod.to_string(),
        reason: pod.reason.clone(),
        transient: pod.transient,
        since: Some(pod.since.into()),
    });
    let never = report.not_enrollable.iter().map(|pod| status::NotEnrolled {
        pod: pod.pod.to_string(),
        reason: pod.reason.to_string(),
        transient: false,
        since: None,
    });
    status::Pods { enrolled: enrolled.collect(), not_enrolled: waiting.chain(never).collect() }
}

/// A resource that is not served is no fault, so its error is none of a person's business.
fn watch(watch: WatchStatus) -> status::Watch {
    status::Watch {
        resource: watch.resource,
        state: watch.state.to_string(),
        objects: watch.objects,
        last_event: watch.last_event.map(Timestamp),
        error: watch.error.filter(|_| watch.state != WatchState::NotServed),
        settled: watch.settled,
    }
}

fn certificate(identity: &IdentityReport) -> status::Certificate {
    status::Certificate {
        identity: identity.id.to_string(),
        not_after: identity.not_after.map(Timestamp),
        renewal: Some(identity.next_renewal.into()),
        error: identity.error.clone(),
    }
}

fn root(root: culvert::identity::RootReport) -> status::Root {
    status::Root { fingerprint: root.fingerprint, not_after: root.not_after.into() }
}

fn map(map: culvert::kernel::MapFill) -> status::Map {
    status::Map { name: map.name.to_owned(), id: map.id, entries: map.entries, capacity: map.capacity }
}

/// What cannot be counted is not told.
fn counts(enroller: &Enroller) -> Vec<status::Count> {
    let outcomes = enroller.maps().outcomes().unwrap_or_default().into_iter();
    outcomes.map(|(outcome, count)| status::Count { outcome: outcome.as_str().to_owned(), count }).collect()
}
