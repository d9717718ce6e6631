//! The results for a person.

use std::fmt;

use super::sample::Sample;

/// A line per figure, a column per size.
pub(super) fn table(samples: &[Sample]) -> String {
    let line = |name: &str, cells: Vec<String>| {
        let cells: Vec<_> = cells.into_iter().map(|cell| format!("{cell:>WIDTH$}")).collect();
        format!("{name:<NAME$}{}", cells.concat())
    };
    let header = line("", samples.iter().map(|sample| format!("{} pods", sample.pods)).collect());
    let rows = ROWS.iter().map(|Row { name, digits, value }| {
        line(name, samples.iter().map(|sample| format!("{:.digits$}", value(sample))).collect())
    });
    [header].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}

const NAME: usize = 44;
const WIDTH: usize = 14;

struct Row {
    name: &'static str,
    digits: usize,
    value: fn(&Sample) -> f64,
}

const ROWS: [Row; 14] = [
    Row { name: "Services", digits: 0, value: |it| it.services.into() },
    Row { name: "first sync, s", digits: 1, value: |it| it.start.first_sync_s },
    Row { name: "first sync, CPU s of the agent", digits: 1, value: |it| it.start.first_sync_cpu_s },
    Row { name: "entries in the kernel's peer map", digits: 0, value: |it| it.start.peers.into() },
    Row { name: "kernel's peer map, MB", digits: 1, value: |it| it.start.peers_mb },
    Row { name: "changes per second", digits: 0, value: |it| it.steady.changes_per_second },
    Row { name: "from a write to the kernel, p50, ms", digits: 1, value: |it| it.steady.lag_p50_ms },
    Row { name: "from a write to the kernel, p99, ms", digits: 1, value: |it| it.steady.lag_p99_ms },
    Row { name: "from a write to the kernel, longest, ms", digits: 1, value: |it| it.steady.lag_max_ms },
    Row { name: "agent, CPU µs per change", digits: 0, value: |it| it.steady.cpu_us_per_change },
    Row { name: "agent, % of its CPU", digits: 1, value: |it| it.steady.cpu_share * 100.0 },
    Row { name: "agent, MB resident at its peak", digits: 1, value: |it| it.steady.memory_peak_mb },
    Row { name: "agent, MB resident once synced", digits: 1, value: |it| it.start.memory_synced_mb },
    Row { name: "agent, MB resident after the changes", digits: 1, value: |it| it.steady.memory_after_mb },
];

/// Whether the agent follows a cluster of the largest size as it must.
#[derive(Debug)]
pub(super) struct Verdict {
    findings: Vec<Finding>,
}

#[derive(Debug)]
struct Finding {
    what: &'static str,
    value: f64,
    below: f64,
}

/// What a change costs in the largest cluster may be that much of what it costs in the smallest: memory that is used
/// less often is farther from the CPU.
const MOST_GROWTH: f64 = 2.0;

impl Verdict {
    /// Of samples by size, the smallest first.
    pub(super) fn of(samples: &[Sample]) -> Self {
        let (Some(smallest), Some(largest)) = (samples.first(), samples.last()) else {
            return Self { findings: Vec::new() };
        };
        let finding = |what, value, below| Finding { what, value, below };
        Self {
            findings: vec![
                finding("first sync, s", largest.start.first_sync_s, 20.0),
                finding("longest way to the kernel, ms", largest.steady.lag_max_ms, 1000.0),
                finding("overtaken changes", largest.steady.overtaken.into(), 1.0),
                finding("MB at the peak", largest.steady.memory_peak_mb, 250.0),
                finding(
                    "growth of the cost of a change",
                    largest.steady.cpu_us_per_change / smallest.steady.cpu_us_per_change,
                    MOST_GROWTH,
                ),
            ],
        }
    }

    pub(super) fn holds(&self) -> bool {
        self.findings.iter().all(Finding::holds)
    }
}

impl Finding {
    fn holds(&self) -> bool {
        self.value < self.below
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the agent follows as it must: {}", if self.holds() { "holds" } else { "does not hold" })?;
        for Finding { what, value, below } in &self.findings {
            let sign = if value < below { "<" } else { "NOT <" };
            write!(f, "; {what}: {value:.1} {sign} {below}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::cluster::sample::{Start, Steady};

    fn sample(pods: u32) -> Sample {
        let start = Start {
            first_sync_s: 6.0,
            first_sync_cpu_s: 5.0,
            memory_synced_mb: 170.0,
            peers: pods,
            peers_mb: 20.0,
        };
        let steady = Steady {
            changes_per_second: 1000.0,
            lag_p50_ms: 10.0,
            lag_p99_ms: 30.0,
            lag_max_ms: 90.0,
            overtaken: 0,
            cpu_us_per_change: 200.0,
            cpu_share: 0.2,
            memory_after_mb: 170.0,
            memory_peak_mb: 180.0,
        };
        Sample { pods, services: pods / 20, start, steady }
    }

    fn late(pods: u32) -> Sample {
        let mut late = sample(pods);
        late.start.first_sync_s = 21.0;
        late
    }

    #[test]
    fn the_largest_cluster_is_judged() {
        assert!(Verdict::of(&[late(1000), sample(100_000)]).holds());
        let verdict = Verdict::of(&[sample(1000), late(100_000)]);
        assert!(!verdict.holds());
        assert!(verdict.to_string().contains("first sync, s: 21.0 NOT < 20"), "{verdict}");
    }

    #[test]
    fn a_change_that_costs_more_in_a_larger_cluster_is_told() {
        let mut dear = sample(100_000);
        dear.steady.cpu_us_per_change = 500.0;
        assert!(!Verdict::of(&[sample(1000), dear]).holds());
    }

    #[test]
    fn each_size_has_a_column() {
        let table = table(&[sample(1000), sample(100_000)]);
        let widths: Vec<_> = table.lines().map(|line| line.chars().count()).collect();
        assert_eq!(widths, [NAME + 2 * WIDTH; ROWS.len() + 1]);
    }
}
