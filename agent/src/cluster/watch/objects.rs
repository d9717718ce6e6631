//! From the objects of one kind to the index.

use std::collections::BTreeSet;

use serde_json::value::RawValue;
use tracing::warn;

use super::{
    sink::Sink,
    wire::{self, Change, Name},
};
use crate::cluster::{
    Cluster, Index, Kind, Object, ObjectKey, Problem, Rejected, Settings, Subject, decode_json,
    problem::Reporter,
};

/// Feeds the index with the objects of one kind.
#[derive(Debug)]
pub(super) struct Objects {
    kind: Kind,
    cluster: Cluster,
    /// Objects with a problem. What was in force under their names is in force still.
    broken: BTreeSet<ObjectKey>,
}

/// The objects of a list that is not complete yet.
#[derive(Debug, Default)]
pub(super) struct Listing {
    objects: Vec<Object>,
    broken: Vec<Broken>,
}

/// An object that was not taken in.
#[derive(Debug)]
struct Broken {
    key: Option<ObjectKey>,
    problem: Problem,
}

/// What becomes of the index.
enum Step {
    Apply(Object),
    Delete(ObjectKey),
}

impl Objects {
    pub(super) const fn new(kind: Kind, cluster: Cluster) -> Self {
        Self { kind, cluster, broken: BTreeSet::new() }
    }

    fn read(&self, object: &RawValue, settings: &Settings) -> Result<Object, Box<Broken>> {
        decode_json(self.kind, object.get().as_bytes(), settings)
            .map_err(|rejected| self.broken(object, rejected))
    }

    fn broken(&self, object: &RawValue, rejected: Rejected) -> Box<Broken> {
        let key = rejected.key.or_else(|| wire::name(object).map(|name| self.key(&name)));
        let problem = Problem {
            file: None,
            document: None,
            subject: key.clone().map(Subject::Object),
            field: rejected.field,
            reason: rejected.reason.to_string(),
        };
        Box::new(Broken { key, problem })
    }

    fn key(&self, name: &Name<'_>) -> ObjectKey {
        ObjectKey { kind: self.kind, namespace: (*name.namespace).into(), name: (*name.name).into() }
    }

    fn step(&mut self, change: &Change<'_>, settings: &Settings) -> Option<Step> {
        let key = self.key(&change.name);
        if change.gone {
            self.mend(&key);
            return Some(Step::Delete(key));
        }
        match self.read(change.object, settings) {
            Ok(object) => {
                self.mend(&key);
                Some(Step::Apply(object))
            }
            Err(broken) => {
                self.tell(*broken);
                None
            }
        }
    }

    fn tell(&mut self, broken: Broken) {
        let reporter = broken.key.clone().map_or(Reporter::Nameless(self.kind), Reporter::Object);
        self.broken.extend(broken.key);
        for problem in self.cluster.report(reporter, vec![broken.problem]) {
            warn!(%problem, "object not taken in; what was in force under its name still is");
        }
    }

    fn mend(&mut self, key: &ObjectKey) {
        if self.broken.remove(key) {
            self.cluster.report(Reporter::Object(key.clone()), Vec::new());
        }
    }
}

impl Sink for Objects {
    type Listing = Listing;

    fn page(&self, listing: &mut Listing, items: &[&RawValue]) {
        let settings = self.cluster.read().settings().clone();
        let (mut objects, mut broken) = (Vec::with_capacity(items.len()), Vec::new());
        for item in items {
            match self.read(item, &settings) {
                Ok(object) => objects.push(object),
                Err(it) => broken.push(*it),
            }
        }
        let index = self.cluster.read();
        listing.objects.extend(objects.into_iter().map(|object| known_or_new(&index, object)));
        listing.broken.append(&mut broken);
    }

    fn complete(&mut self, listing: Listing) {
        let Listing { mut objects, broken } = listing;
        let listed: BTreeSet<_> = broken.iter().filter_map(|broken| broken.key.clone()).collect();
        self.cluster.update(|index| {
            objects.extend(listed.iter().filter_map(|key| index.object(key)));
            index.reset(self.kind, objects);
        });
        let mended: Vec<_> = self.broken.difference(&listed).cloned().collect();
        for key in &mended {
            self.mend(key);
        }
        self.cluster.report(Reporter::Nameless(self.kind), Vec::new());
        for broken in broken {
            self.tell(broken);
        }
    }

    fn change(&mut self, changes: &[Change<'_>]) {
        let settings = self.cluster.read().settings().clone();
        let steps: Vec<_> = changes.iter().filter_map(|change| self.step(change, &settings)).collect();
        self.cluster.update(|index| {
            for step in steps {
                match step {
                    Step::Apply(object) => index.apply(object),
                    Step::Delete(key) => index.delete(&key),
                }
            }
        });
    }
}

/// What a list repeats is kept once.
fn known_or_new(index: &Index, object: Object) -> Object {
    index.object(&object.key()).filter(|known| *known == object).unwrap_or(object)
}
