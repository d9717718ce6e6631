//! What the Secret holds: for each root `root-N.key`, `root-N.crt` and, once it is announced, `root-N.announced`.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    time::SystemTime,
};

use k8s_openapi::ByteString;
use zeroize::Zeroize;

use super::{StoredRoot, rotation::Term};
use crate::identity::{Key, NewRoot, RootFault, Signer, only_certificate};

/// The Secret's data. The keys in it are wiped from memory with it.
#[derive(Clone, Default)]
pub(super) struct Content(BTreeMap<String, ByteString>);

/// What of one root an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Key,
    Certificate,
    Announced,
}

/// The Secret's data is not what an authority writes.
#[derive(Debug, thiserror::Error)]
pub enum ContentFault {
    /// An entry that no authority writes.
    #[error("expected entries such as root-1.key and root-1.crt, found {name:?}")]
    Foreign {
        /// The entry.
        name: String,
    },
    /// A root is not complete.
    #[error("expected an entry {name}, found none")]
    Missing {
        /// The entry.
        name: String,
    },
    /// An entry cannot be read.
    #[error("expected {expected} in {name}")]
    Unreadable {
        /// The entry.
        name: String,
        /// What should be there.
        expected: &'static str,
        /// What was found.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A root cannot serve.
    #[error("cannot use the root in {name}")]
    Root {
        /// The certificate's entry.
        name: String,
        /// What is wrong with it.
        source: RootFault,
    },
}

impl Content {
    pub(super) fn new(data: BTreeMap<String, ByteString>) -> Self {
        Self(data)
    }

    /// The same for an object that is to be sent.
    pub(super) fn to_data(&self) -> BTreeMap<String, ByteString> {
        self.0.clone()
    }

    /// The roots, the oldest first.
    pub(super) fn roots(&self, trust_domain: &str) -> Result<Vec<StoredRoot>, ContentFault> {
        self.generations()?.into_iter().map(|generation| self.root(generation, trust_domain)).collect()
    }

    /// Adds a root that is newer than all others, and says its generation.
    pub(super) fn add(&mut self, root: &NewRoot) -> Result<u64, ContentFault> {
        let generation = self.generations()?.last().map_or(1, |newest| newest + 1);
        self.put(Part::Key.entry(generation), &root.key);
        self.put(Part::Certificate.entry(generation), &root.certificate);
        Ok(generation)
    }

    /// Marks a root as announced since `now`.
    pub(super) fn announce(&mut self, generation: u64, now: SystemTime) {
        self.put(Part::Announced.entry(generation), &humantime::format_rfc3339_seconds(now).to_string());
    }

    /// Forgets a root.
    pub(super) fn retire(&mut self, generation: u64) {
        for part in Part::ALL {
            if let Some(mut value) = self.0.remove(&part.entry(generation)) {
                value.0.zeroize();
            }
        }
    }

    fn generations(&self) -> Result<BTreeSet<u64>, ContentFault> {
        let foreign = |name: &String| ContentFault::Foreign { name: name.clone() };
        self.0.keys().map(|name| generation_of(name).ok_or_else(|| foreign(name))).collect()
    }

    fn root(&self, generation: u64, trust_domain: &str) -> Result<StoredRoot, ContentFault> {
        let key = Key::from_pem(self.text(Part::Key, generation)?)
            .map_err(|source| unreadable(Part::Key, generation, "one private key in PEM", source))?;
        let pem = self.text(Part::Certificate, generation)?;
        let certificate = only_certificate(pem.as_bytes())
            .map_err(|source| unreadable(Part::Certificate, generation, "one certificate in PEM", source))?;
        let name = || Part::Certificate.entry(generation);
        let signer = Signer::new(key, certificate, trust_domain)
            .map_err(|source| ContentFault::Root { name: name(), source })?;
        let term = Term { not_after: signer.root().not_after, announced: self.announced(generation)? };
        Ok(StoredRoot { generation, signer, pem: pem.to_owned(), term })
    }

    fn announced(&self, generation: u64) -> Result<Option<SystemTime>, ContentFault> {
        if !self.0.contains_key(&Part::Announced.entry(generation)) {
            return Ok(None);
        }
        humantime::parse_rfc3339(self.text(Part::Announced, generation)?.trim())
            .map(Some)
            .map_err(|source| unreadable(Part::Announced, generation, "a time as in RFC 3339", source))
    }

    fn text(&self, part: Part, generation: u64) -> Result<&str, ContentFault> {
        let name = part.entry(generation);
        let value = self.0.get(&name).ok_or(ContentFault::Missing { name })?;
        str::from_utf8(&value.0).map_err(|source| unreadable(part, generation, "text", source))
    }

    fn put(&mut self, name: String, value: &str) {
        self.0.insert(name, ByteString(value.as_bytes().to_vec()));
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        self.0.values_mut().for_each(|value| value.0.zeroize());
    }
}

impl Part {
    const ALL: [Self; 3] = [Self::Key, Self::Certificate, Self::Announced];

    fn entry(self, generation: u64) -> String {
        let suffix = match self {
            Self::Key => "key",
            Self::Certificate => "crt",
            Self::Announced => "announced",
        };
        format!("root-{generation}.{suffix}")
    }
}

fn generation_of(name: &str) -> Option<u64> {
    let (generation, _) = name.strip_prefix("root-")?.split_once('.')?;
    let generation = generation.parse().ok()?;
    Part::ALL.iter().any(|part| part.entry(generation) == name).then_some(generation)
}

fn unreadable(
    part: Part,
    generation: u64,
    expected: &'static str,
    source: impl Into<Box<dyn Error + Send + Sync>>,
) -> ContentFault {
    ContentFault::Unreadable { name: part.entry(generation), expected, source: source.into() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn root(trust_domain: &str) -> NewRoot {
        NewRoot::generate(trust_domain, Duration::from_hours(1), SystemTime::now()).unwrap()
    }

    fn fault(content: &Content) -> String {
        let Err(fault) = content.roots("cluster.local") else { panic!("nothing is wrong with it") };
        format!("{:#}", anyhow::Error::from(fault))
    }

    #[test]
    fn roots_come_back_as_they_were_stored() {
        let mut content = Content::default();
        let since = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        let made = [root("cluster.local"), root("cluster.local")];
        assert_eq!(made.iter().map(|root| content.add(root).unwrap()).collect::<Vec<_>>(), [1, 2]);
        content.announce(2, since);
        let roots = Content::new(content.to_data()).roots("cluster.local").unwrap();
        assert_eq!([&roots[0].pem, &roots[1].pem], [&made[0].certificate, &made[1].certificate]);
        assert_eq!([roots[0].term.announced, roots[1].term.announced], [None, Some(since)]);
        content.retire(1);
        let left: Vec<_> = content.to_data().into_keys().collect();
        assert_eq!(left, ["root-2.announced", "root-2.crt", "root-2.key"]);
        assert_eq!(content.add(&made[0]).unwrap(), 3);
    }

    #[test]
    fn what_no_authority_writes_is_named() {
        let mut content = Content::default();
        content.add(&root("cluster.local")).unwrap();
        for name in ["tls.key", "root-1", "root-01.key", "root--1.key", "root-1.pem", "root-.key"] {
            let mut foreign = content.clone();
            foreign.put(name.to_owned(), "");
            assert!(fault(&foreign).contains(&format!("found {name:?}")), "{}", fault(&foreign));
        }
    }

    #[test]
    fn a_root_that_cannot_serve_is_named() {
        let mut content = Content::default();
        content.add(&root("elsewhere.example")).unwrap();
        let found = fault(&content);
        assert!(found.starts_with("cannot use the root in root-1.crt: expected an authority of"), "{found}");
        let other = root("cluster.local");
        content.put("root-1.crt".to_owned(), &other.certificate);
        assert!(fault(&content).contains("found that of another key"), "{}", fault(&content));
        content.put("root-1.crt".to_owned(), &format!("{}{}", other.certificate, other.certificate));
        assert_eq!(fault(&content), "expected one certificate in PEM in root-1.crt: found more than one");
        content.put("root-1.key".to_owned(), "no key");
        assert!(fault(&content).starts_with("expected one private key in PEM in root-1.key"));
        content.put("root-2.key".to_owned(), &other.key);
        content.retire(1);
        assert_eq!(fault(&content), "expected an entry root-2.crt, found none");
    }
}
