//! The object inside the agent: loaded, configured, and attached to the node's cgroup and to pods.

use std::{
    fs::File,
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::Duration,
};

use aya::{
    Ebpf, EbpfError, EbpfLoader, include_bytes_aligned,
    programs::{
        CgroupAttachMode, CgroupSockAddr, ProgramError, SkLookup, SockOps,
        links::{FdLink, LinkError},
    },
};
use aya_log::Level;
use culvert_abi::{Config, names::programs};

use super::{
    log::KernelLog,
    maps::{ControlMaps, MapsError},
    pins::{PinError, Pins},
};

/// The programs as they were built, an ELF file.
pub static OBJECT: &[u8] = include_bytes_aligned!(env!("CULVERT_EBPF_OBJECT"));

/// How long the kernel waits for a heartbeat before it takes the agent for gone.
const STALE_AFTER: Duration = Duration::from_secs(3);

/// What becomes of a connection that should be captured and cannot be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Failure {
    /// It is refused.
    #[default]
    Closed,
    /// It passes in plaintext, to peers that accept it.
    Open,
}

/// What the programs have to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// What becomes of a connection that cannot be captured.
    pub failure: Failure,
    /// How much the programs themselves log; none is the rule.
    pub log: Option<Level>,
}

/// The programs could not be loaded or attached.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The object could not be read, or a map could not be made.
    #[error("the eBPF object was refused")]
    Object(#[from] EbpfError),
    /// The verifier refused a program. All that it said is in the log, at DEBUG.
    #[error(
        "the kernel's verifier refused the program {name}, saying {verdict:?}; report it with this kernel's version and what --log debug shows"
    )]
    Verifier {
        /// The program.
        name: &'static str,
        /// The verifier's last words.
        verdict: String,
        /// What the system call returned.
        source: io::Error,
    },
    /// A program could not be loaded or attached.
    #[error("the kernel did not take the program {name}")]
    Program {
        /// The program.
        name: &'static str,
        /// Why.
        source: ProgramError,
    },
    /// The object has no such program.
    #[error("the eBPF object has no program {name}; build it anew with `cargo xtask build`")]
    Missing {
        /// The program.
        name: &'static str,
    },
    /// A link is not of the kind that can be pinned.
    #[error("the link of {name} cannot be pinned")]
    Link {
        /// The program.
        name: &'static str,
        /// Why.
        source: LinkError,
    },
    /// The node's cgroup could not be opened.
    #[error("cannot open the cgroup {path}")]
    Cgroup {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A map could not be used.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// A pin failed.
    #[error(transparent)]
    Pin(#[from] PinError),
}

/// The loaded programs.
#[derive(Debug)]
pub struct Programs {
    ebpf: Ebpf,
}

/// The node-wide programs, attached; detached by Drop unless they were pinned.
#[derive(Debug)]
pub struct NodeLinks(Vec<(&'static str, FdLink)>);

impl NodeLinks {
    /// Pins them, each in the place of an earlier agent's, which is detached by that.
    pub fn pin(self, pins: &Pins) -> Result<(), PinError> {
        self.0.into_iter().try_for_each(|(name, link)| pins.pin_link(name, link))
    }
}

/// One pod's `sk_lookup` program, attached; detached by Drop unless it was pinned.
#[derive(Debug)]
pub struct PodLink(pub(super) FdLink);

impl PodLink {
    /// The link, to be pinned.
    pub fn into_link(self) -> FdLink {
        self.0
    }
}

impl Programs {
    /// Loads all programs with maps of their own. Nothing is attached yet.
    pub fn load(options: &Options) -> Result<(Self, ControlMaps), LoadError> {
        Self::load_object(OBJECT, options)
    }

    /// Loads the programs of another object than [the agent's own](OBJECT).
    pub fn load_object(object: &[u8], options: &Options) -> Result<(Self, ControlMaps), LoadError> {
        let level = options.log.map_or(0, |level| level as u8);
        let mut ebpf = EbpfLoader::new().override_global(LOG_LEVEL, &level, true).load(object)?;
        let mut maps = ControlMaps::take(&mut ebpf)?;
        maps.configure(Config {
            stale_after: u64::try_from(STALE_AFTER.as_nanos()).expect("seconds fit"),
            fail_open: u32::from(options.failure == Failure::Open),
            capture_unknown: 0,
        })?;
        for hook in SOCK_ADDR_HOOKS {
            program::<CgroupSockAddr>(&mut ebpf, hook)?.load().map_err(refused(hook))?;
        }
        program::<SockOps>(&mut ebpf, programs::SOCKOPS)?.load().map_err(refused(programs::SOCKOPS))?;
        program::<SkLookup>(&mut ebpf, programs::SK_LOOKUP)?.load().map_err(refused(programs::SK_LOOKUP))?;
        Ok((Self { ebpf }, maps))
    }

    /// What the programs log, if they were told to.
    pub fn log(&mut self) -> Option<KernelLog> {
        KernelLog::take(&mut self.ebpf)
    }

    /// Attaches the node-wide programs. They are detached again unless the result is pinned.
    ///
    /// The order matters: what names connections comes before what captures them.
    pub fn attach(&mut self, cgroup: &Path) -> Result<NodeLinks, LoadError> {
        let cgroup =
            File::open(cgroup).map_err(|source| LoadError::Cgroup { path: cgroup.to_owned(), source })?;
        let mut links = vec![(programs::SOCKOPS, self.attach_sockops(&cgroup)?)];
        for &hook in SOCK_ADDR_HOOKS {
            links.push((hook, self.attach_sock_addr(hook, &cgroup)?));
        }
        Ok(NodeLinks(links))
    }

    /// Attaches `sk_lookup` to one network namespace.
    pub fn attach_pod(&mut self, netns: impl AsFd) -> Result<PodLink, LoadError> {
        let name = programs::SK_LOOKUP;
        let program = program::<SkLookup>(&mut self.ebpf, name)?;
        let id = program.attach(netns).map_err(refused(name))?;
        Ok(PodLink(program.take_link(id).map_err(refused(name))?.into()))
    }

    fn attach_sockops(&mut self, cgroup: &File) -> Result<FdLink, LoadError> {
        let name = programs::SOCKOPS;
        let program = program::<SockOps>(&mut self.ebpf, name)?;
        // A cgroup link takes no flags: several programs on one cgroup is all it knows.
        let id = program.attach(cgroup, CgroupAttachMode::Single).map_err(refused(name))?;
        let link = program.take_link(id).map_err(refused(name))?;
        link.try_into().map_err(|source| LoadError::Link { name, source })
    }

    fn attach_sock_addr(&mut self, name: &'static str, cgroup: &File) -> Result<FdLink, LoadError> {
        let program = program::<CgroupSockAddr>(&mut self.ebpf, name)?;
        let id = program.attach(cgroup, CgroupAttachMode::Single).map_err(refused(name))?;
        let link = program.take_link(id).map_err(refused(name))?;
        link.try_into().map_err(|source| LoadError::Link { name, source })
    }
}

/// The variable of aya-log-ebpf that says how much is logged; 0 takes the code out.
const LOG_LEVEL: &str = aya_log::LEVEL;

const SOCK_ADDR_HOOKS: &[&str] = &[
    programs::GETPEERNAME4,
    programs::GETPEERNAME6,
    programs::GETSOCKNAME4,
    programs::GETSOCKNAME6,
    programs::CONNECT4,
    programs::CONNECT6,
];

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, LoadError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(name).ok_or(LoadError::Missing { name })?;
    program.try_into().map_err(refused(name))
}

fn refused(name: &'static str) -> impl Fn(ProgramError) -> LoadError {
    move |error| match error {
        ProgramError::LoadError { io_error: source, verifier_log } => {
            let words = verifier_log.to_string();
            tracing::debug!(name, "the verifier said:\n{words}");
            LoadError::Verifier { name, verdict: verdict(&words), source }
        }
        source => LoadError::Program { name, source },
    }
}

/// The verifier says last why it stopped, but for what it counted on the way.
fn verdict(words: &str) -> String {
    let mut lines = words.lines().map(str::trim).filter(|line| !line.is_empty() && !is_statistics(line));
    lines.next_back().unwrap_or("nothing").to_owned()
}

fn is_statistics(line: &str) -> bool {
    ["processed ", "verification time ", "stack depth "].iter().any(|begin| line.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_what_the_verifier_says_last() {
        let words = "0: R1=ctx() R10=fp0\n0: (79) r0 = *(u64 *)(r2 +0)\nR2 !read_ok\n\
                     verification time 17 usec\nstack depth 0\nprocessed 1 insns (limit 1000000)\n";
        assert_eq!(verdict(words), "R2 !read_ok");
        assert_eq!(verdict(""), "nothing");
    }
}
