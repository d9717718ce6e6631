//! What must hold, and whether the results say so.

use std::fmt;

use super::{
    figure::{Figure, Streams},
    noise,
    results::Results,
    row::Row,
};

/// Whether the machine could tell, and what it told.
#[derive(Debug)]
pub(super) struct Verdict {
    claims: Vec<Claim>,
    doubt: Option<String>,
    unsteady: Option<String>,
}

/// Something that must hold.
#[derive(Debug)]
struct Claim {
    text: String,
    found: Vec<(&'static str, f64)>,
    is_met: bool,
}

/// The share that is kept at least, where nothing should be lost.
const LEAST_SHARE: f64 = 0.95;
/// How many times longer a round trip may take beside a bulk flow.
const MOST_BESIDE_BULK: f64 = 3.0;

impl Verdict {
    /// Of the costs: letting a connection pass must cost as good as nothing.
    pub(super) fn of_cost(results: &Results) -> Self {
        let judged = [Figure::Throughput1, Figure::Throughput8, Figure::Requests].into_iter();
        let shares = judged.filter_map(|it| Some((it.key(), results.share(Row::Passthrough, it)?)));
        let text = format!("passthrough keeps at least {LEAST_SHARE} of direct");
        Self::new(results, vec![Claim::at_least(text, shares.collect(), LEAST_SHARE)])
    }

    /// Of many connections: more of them are not slower, and a bulk flow delays no other much.
    pub(super) fn of_scale(results: &Results) -> Self {
        let beside = results.summary(Row::Mtls, Figure::BesideBulkShare).map(|it| it.median);
        let found = Vec::from_iter(beside.map(|times| (Figure::BesideBulkShare.key(), times)));
        let claims = vec![
            kept(results, "throughput", Figure::Pushed),
            none(results, "no upload is left unfinished", Figure::Unfinished),
            kept(results, "requests/s", Figure::RequestsOver),
            Claim {
                text: format!("mtls: p99 beside a bulk flow is at most {MOST_BESIDE_BULK} times p99 alone"),
                is_met: found.iter().all(|(_, times)| *times <= MOST_BESIDE_BULK),
                found,
            },
        ];
        Self::new(results, claims)
    }

    fn new(results: &Results, claims: Vec<Claim>) -> Self {
        Self { claims, doubt: noise::doubt(results), unsteady: noise::unsteady(results) }
    }

    /// Whether it can be said, and is so.
    pub(super) fn holds(&self) -> bool {
        self.doubt.is_none() && self.claims.iter().all(|claim| claim.is_met)
    }
}

/// That many connections have as much as one.
fn kept(results: &Results, what: &str, figure: fn(Streams) -> Figure) -> Claim {
    let median = |streams| Some(results.summary(Row::Mtls, figure(streams))?.median);
    let shares = Streams::ALL
        .into_iter()
        .skip(1)
        .filter_map(|streams| Some((figure(streams).key(), median(streams)? / median(Streams::One)?)));
    let text = format!("mtls: {what} of many keeps at least {LEAST_SHARE} of one");
    Claim::at_least(text, shares.collect(), LEAST_SHARE)
}

/// That there was none in any round.
fn none(results: &Results, what: &str, figure: Figure) -> Claim {
    let most = results.summary(Row::Mtls, figure).map(|it| it.most);
    let found = Vec::from_iter(most.map(|most| (figure.key(), most)));
    Claim { text: format!("mtls: {what}"), is_met: found.iter().all(|(_, most)| *most < 1.0), found }
}

impl Claim {
    fn at_least(text: String, found: Vec<(&'static str, f64)>, least: f64) -> Self {
        let is_met = found.iter().all(|(_, share)| *share >= least);
        Self { text, found, is_met }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let claims = self.claims.iter().map(Claim::to_string);
        let rest = self.doubt.iter().chain(&self.unsteady).cloned();
        f.write_str(&claims.chain(rest).collect::<Vec<_>>().join("\n"))
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = self.found.iter().map(|(key, value)| format!("{key} {value:.3}"));
        let met = if self.is_met { "holds" } else { "does not hold" };
        write!(f, "{}: {met} ({})", self.text, found.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{cost, results::Sample, scale};

    fn of_cost(direct: &[f64], passthrough: f64) -> Verdict {
        let mut results = Results::new(cost::PLAN.rows, cost::PLAN.figures);
        for value in direct {
            results.add(Row::Direct, Sample::from([(Figure::Requests, *value)]));
        }
        results.add(Row::Passthrough, Sample::from([(Figure::Requests, passthrough)]));
        Verdict::of_cost(&results)
    }

    fn of_scale(eight: f64, unfinished: f64, beside: f64) -> Verdict {
        let mut results = Results::new(scale::PLAN.rows, scale::PLAN.figures);
        let sample = Sample::from([
            (Figure::Pushed(Streams::One), 10.0),
            (Figure::Pushed(Streams::Eight), eight),
            (Figure::Unfinished, unfinished),
            (Figure::BesideBulkShare, beside),
        ]);
        for _ in 0..3 {
            results.add(Row::Mtls, sample.clone());
        }
        Verdict::of_scale(&results)
    }

    #[test]
    fn a_share_of_direct_below_the_least_does_not_hold() {
        assert!(of_cost(&[10.0; 3], 9.6).holds());
        assert!(!of_cost(&[10.0; 3], 9.4).holds());
    }

    #[test]
    fn what_a_noisy_machine_shows_does_not_count() {
        let verdict = of_cost(&[8.0, 10.0, 12.0], 12.0);
        assert!(!verdict.holds());
        assert!(verdict.to_string().contains("too noisy"));
    }

    #[test]
    fn many_streams_may_not_be_slower_than_one_nor_held_up_by_it() {
        assert!(of_scale(9.6, 0.0, 2.9).holds());
        assert!(!of_scale(9.4, 0.0, 2.9).holds());
        assert!(!of_scale(9.6, 0.0, 3.1).holds());
    }

    #[test]
    fn an_upload_may_not_be_left_unfinished() {
        assert!(!of_scale(9.6, 1.0, 2.9).holds());
    }
}
