//! How often an agent called the kernel, and for what.

use std::{fs, path::Path};

use anyhow::Context;

/// Counts by name, or shares of them; the most frequent first.
#[derive(Debug, PartialEq)]
pub(super) struct Calls {
    pub(super) total: f64,
    pub(super) by_name: Vec<(String, f64)>,
}

/// Between the columns of perf's output.
pub(super) const SEPARATOR: &str = ";";

/// What perf has to count: all of them, and those by name that an agent may make on its way. To watch each that the
/// kernel has would take perf a quarter of a minute to end.
pub(super) fn events() -> Vec<String> {
    let names = NAMES.iter().map(|name| format!("{BY_NAME}{name}"));
    [ALL.to_owned()].into_iter().chain(names.filter(|event| is_known(event))).collect()
}

const ALL: &str = "raw_syscalls:sys_enter";
const BY_NAME: &str = "syscalls:sys_enter_";

#[rustfmt::skip]
const NAMES: &[&str] = &[
    "read", "readv", "recvfrom", "recvmsg", "recvmmsg", "write", "writev", "sendto", "sendmsg", "sendmmsg", "splice",
    "epoll_wait", "epoll_pwait", "epoll_pwait2", "epoll_ctl", "poll", "futex", "io_uring_enter",
    "socket", "bind", "connect", "accept4", "shutdown", "close", "setsockopt", "getsockopt", "getsockname",
    "getpeername", "ioctl", "fcntl", "setns", "bpf", "mmap", "munmap", "madvise", "brk", "mprotect", "clock_nanosleep",
    "sched_yield", "getrandom", "openat",
];

/// Kernels differ, by version and by what they were built with. Where this cannot be told, perf says it.
fn is_known(event: &str) -> bool {
    let path = Path::new(TRACEPOINTS);
    !path.exists() || path.join(event.replace(':', "/")).exists()
}

const TRACEPOINTS: &str = "/sys/kernel/tracing/events";

impl Calls {
    /// Reads what perf has left.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
        Self::parse(&text).with_context(|| format!("{}: perf has counted nothing: {text}", file.display()))
    }

    fn parse(text: &str) -> Option<Self> {
        let counts: Vec<(&str, f64)> = text.lines().filter_map(event).collect();
        let (_, total) = counts.iter().find(|(event, _)| *event == ALL)?;
        let named = counts.iter().filter_map(|(event, count)| Some((event.strip_prefix(BY_NAME)?, *count)));
        let mut by_name: Vec<_> = named.map(|(name, count)| (name.to_owned(), count)).collect();
        by_name.push(("others".to_owned(), total - by_name.iter().map(|(_, count)| count).sum::<f64>()));
        by_name.retain(|(_, count)| *count > 0.0);
        by_name.sort_unstable_by(|(_, one), (_, other)| other.total_cmp(one));
        Some(Self { total: *total, by_name })
    }

    /// As shares of what was done meanwhile.
    pub(super) fn per(self, amount: f64) -> Self {
        let by_name = self.by_name.into_iter().map(|(name, count)| (name, count / amount)).collect();
        Self { total: self.total / amount, by_name }
    }
}

/// An event and its count: count, unit, event, and more that is of no interest. `<not counted>` is none.
fn event(line: &str) -> Option<(&str, f64)> {
    let mut columns = line.split(SEPARATOR);
    let count = columns.next()?.parse().ok()?;
    Some((columns.nth(1)?, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_counted_by_name_is_among_the_others() {
        let text = "# started on Sat\n\n100;;raw_syscalls:sys_enter;2541;100.00;;\n20;;syscalls:sys_enter_read;2541;100.00;;\n\
                    70;;syscalls:sys_enter_writev;2541;100.00;;\n<not counted>;;syscalls:sys_enter_bpf;0;0.00;;\n";
        let calls = Calls::parse(text).unwrap().per(10.0);
        let by_name =
            [("writev", 7.0), ("read", 2.0), ("others", 1.0)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(calls, Calls { total: 10.0, by_name: by_name.into() });
    }

    #[test]
    fn perf_that_has_counted_nothing_is_no_zero() {
        assert_eq!(Calls::parse("# started on Sat\n"), None);
    }
}
