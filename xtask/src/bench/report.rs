//! The results for a person.

use std::fmt;

use super::{
    figure::Figure,
    results::{Results, Summary},
    row::Row,
};

/// A line per figure: medians, the range over the rounds, and the share of direct.
pub(super) fn table(results: &Results) -> String {
    let header = Row::ALL.map(|row| format!("{:>WIDTH$}", row.name())).concat();
    let mut lines = vec![format!("{:<NAME$}{header}", "median (least..most) % of direct")];
    lines.extend(Figure::ALL.map(|figure| line(results, figure)));
    lines.push("Compare within this table only: another run is another machine.".to_owned());
    lines.join("\n")
}

const NAME: usize = 34;
const WIDTH: usize = 34;

fn line(results: &Results, figure: Figure) -> String {
    let cells = Row::ALL.map(|row| format!("{:>WIDTH$}", cell(results, row, figure)));
    format!("{:<NAME$}{}", figure.name(), cells.concat())
}

fn cell(results: &Results, row: Row, figure: Figure) -> String {
    let Some(Summary { least, median, most }) = results.summary(row, figure) else { return "–".to_owned() };
    let digits = figure.digits();
    let share = match results.share(row, figure) {
        Some(share) if row != Row::Direct => format!("{:>6.1} %", share * 100.0),
        _ => String::new(),
    };
    format!("{median:.digits$} ({least:.digits$}..{most:.digits$}){share}")
}

/// Whether letting a connection pass costs as little as it must.
#[derive(Debug)]
pub(super) struct Verdict {
    shares: Vec<(Figure, f64)>,
    doubt: Option<String>,
}

/// The share of direct that a passed connection keeps at least.
const LEAST_SHARE: f64 = 0.95;
/// Beyond this spread of direct the machine does too much else.
const MOST_SPREAD: f64 = 0.3;
/// Some 1.3 times the median is the 99th percentile of a direct round trip on an idle machine, 60 times on a busy one.
const LONGEST_TAIL: f64 = 5.0;
/// Fewer rounds do not show how far they spread.
const LEAST_ROUNDS: usize = 3;
const JUDGED: [Figure; 3] = [Figure::Throughput1, Figure::Throughput8, Figure::Requests];

impl Verdict {
    pub(super) fn of(results: &Results) -> Self {
        let shares =
            JUDGED.iter().filter_map(|figure| Some((*figure, results.share(Row::Passthrough, *figure)?)));
        Self { shares: shares.collect(), doubt: doubt(results) }
    }

    /// Whether it can be said, and is so.
    pub(super) fn holds(&self) -> bool {
        self.doubt.is_none() && self.is_met()
    }

    fn is_met(&self) -> bool {
        self.shares.iter().all(|(_, share)| *share >= LEAST_SHARE)
    }
}

/// Why these results prove nothing, if they do not.
fn doubt(results: &Results) -> Option<String> {
    if results.rounds() < LEAST_ROUNDS {
        return Some(format!("fewer than {LEAST_ROUNDS} rounds are too few to judge"));
    }
    noise(results).map(|noise| format!("the machine was too noisy to judge: {noise}"))
}

/// A machine that is evenly busy spreads little, but then a round trip waits for its turn on the CPU now and again.
fn noise(results: &Results) -> Option<String> {
    let direct = |figure| results.summary(Row::Direct, figure);
    let spread = JUDGED.iter().filter_map(|figure| Some(direct(*figure)?.spread())).fold(0.0, f64::max);
    if spread > MOST_SPREAD {
        return Some(format!("direct itself varied by {:.0} %", spread * 100.0));
    }
    let tail = direct(Figure::RoundTripP99)?.median / direct(Figure::RoundTripP50)?.median;
    (tail > LONGEST_TAIL)
        .then(|| format!("direct's p99 is {tail:.0} times its p50, so other programs held the CPUs"))
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shares = self.shares.iter().map(|(figure, share)| format!("{} {share:.3}", figure.key()));
        let shares = shares.collect::<Vec<_>>().join(", ");
        let met = if self.is_met() { "holds" } else { "does not hold" };
        write!(f, "passthrough keeps at least {LEAST_SHARE} of direct: {met} ({shares})")?;
        self.doubt.iter().try_for_each(|doubt| write!(f, "; {doubt}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::Sample;

    fn verdict(direct: &[f64], passthrough: f64) -> Verdict {
        let mut results = Results::default();
        let sample = |value| Sample::from(JUDGED.map(|figure| (figure, value)));
        for value in direct {
            results.add(Row::Direct, sample(*value));
        }
        results.add(Row::Passthrough, sample(passthrough));
        Verdict::of(&results)
    }

    #[test]
    fn a_share_of_direct_below_the_least_does_not_hold() {
        assert!(verdict(&[10.0; 3], 9.6).holds());
        assert!(!verdict(&[10.0; 3], 9.4).holds());
    }

    #[test]
    fn what_a_noisy_machine_shows_does_not_count() {
        let verdict = verdict(&[8.0, 10.0, 12.0], 12.0);
        assert!(!verdict.holds());
        assert!(verdict.to_string().contains("too noisy"));
    }

    #[test]
    fn an_evenly_busy_machine_is_noisy_too() {
        let mut results = Results::default();
        results.add(Row::Direct, Sample::from([(Figure::RoundTripP50, 40.0), (Figure::RoundTripP99, 60.0)]));
        assert_eq!(noise(&results), None);
        let mut results = Results::default();
        results
            .add(Row::Direct, Sample::from([(Figure::RoundTripP50, 40.0), (Figure::RoundTripP99, 2400.0)]));
        assert!(noise(&results).is_some());
    }

    #[test]
    fn one_round_judges_nothing() {
        assert!(!verdict(&[10.0], 10.0).holds());
    }
}
