//! Whether the machine was quiet enough for the results to say anything.

use super::{figure::Figure, results::Results, row::Row};

/// Beyond this spread of direct the machine does too much else.
const MOST_SPREAD: f64 = 0.3;
/// Some 1.3 times the median is the 99th percentile of a direct round trip on an idle machine, 60 times on a busy one.
const LONGEST_TAIL: f64 = 5.0;
/// Fewer rounds do not show how far they spread.
const LEAST_ROUNDS: usize = 3;

/// Why these results prove nothing, if they do not. What direct shows is the machine's doing alone.
pub(super) fn doubt(results: &Results) -> Option<String> {
    if results.rounds() < LEAST_ROUNDS {
        return Some(format!("fewer than {LEAST_ROUNDS} rounds are too few to judge"));
    }
    noise(results).map(|noise| format!("the machine was too noisy to judge: {noise}"))
}

/// A machine that is evenly busy spreads little, but then a round trip waits for its turn on the CPU now and again.
fn noise(results: &Results) -> Option<String> {
    let spread = spreads(results, Row::Direct).map(|(_, spread)| spread).fold(0.0, f64::max);
    if spread > MOST_SPREAD {
        return Some(format!("direct itself varied by {:.0} %", spread * 100.0));
    }
    let direct = |figure| Some(results.summary(Row::Direct, figure)?.median);
    let tail = direct(Figure::RoundTripP99)? / direct(Figure::RoundTripP50)?;
    (tail > LONGEST_TAIL)
        .then(|| format!("direct's p99 is {tail:.0} times its p50, so other programs held the CPUs"))
}

/// The rates of the other rows that varied too much for their medians to be worth much, for a person.
pub(super) fn unsteady(results: &Results) -> Option<String> {
    let others = results.rows.iter().filter(|row| **row != Row::Direct);
    let unsteady: Vec<_> = others
        .flat_map(|&row| spreads(results, row).map(move |(figure, spread)| (row, figure, spread)))
        .filter(|(.., spread)| *spread > MOST_SPREAD)
        .map(|(row, figure, spread)| format!("{} {} ({:.0} %)", row.name(), figure.key(), spread * 100.0))
        .collect();
    (!unsteady.is_empty()).then(|| format!("varied too much between the rounds: {}", unsteady.join(", ")))
}

fn spreads(results: &Results, row: Row) -> impl Iterator<Item = (Figure, f64)> {
    let rates = results.figures.iter().copied().filter(|figure| figure.is_rate());
    rates.filter_map(move |figure| Some((figure, results.summary(row, figure)?.spread())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::Sample;

    const ROWS: &[Row] = &[Row::Direct, Row::Envoy];

    fn results(row: Row, figure: Figure, values: &[f64]) -> Results {
        let mut results = Results::new(ROWS, &Figure::COST);
        for value in values {
            results.add(row, Sample::from([(figure, *value)]));
        }
        results
    }

    #[test]
    fn a_machine_on_which_direct_varies_is_noisy() {
        assert_eq!(noise(&results(Row::Direct, Figure::Requests, &[9.0, 10.0, 11.0])), None);
        let found = noise(&results(Row::Direct, Figure::Requests, &[8.0, 10.0, 12.0]));
        assert_eq!(found.as_deref(), Some("direct itself varied by 40 %"));
    }

    #[test]
    fn an_evenly_busy_machine_is_noisy_too() {
        let tail = |p99| {
            let mut results = Results::new(ROWS, &Figure::COST);
            let sample = [(Figure::RoundTripP50, 40.0), (Figure::RoundTripP99, p99)];
            results.add(Row::Direct, Sample::from(sample));
            noise(&results)
        };
        assert_eq!(tail(60.0), None);
        assert!(tail(2400.0).is_some());
    }

    #[test]
    fn another_row_that_varies_is_named_and_spoils_nothing_else() {
        let results = results(Row::Envoy, Figure::Throughput8, &[8.0, 10.0, 12.0]);
        assert_eq!(noise(&results), None);
        let named = "varied too much between the rounds: envoy throughput_8_gbps (40 %)";
        assert_eq!(unsteady(&results).as_deref(), Some(named));
    }

    #[test]
    fn one_round_judges_nothing() {
        assert!(doubt(&results(Row::Direct, Figure::Requests, &[10.0])).is_some());
    }
}
