//! What one run of the bench measures, round by round.

use culvert_testbed::AgentOptions;

use super::{figure::Figure, measure::Measurement, results::Results, results::Sample, row::Row, site::Site};
use crate::step::Steps;

/// The rows that are measured in turns, and what of each.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    /// In the order in which a round measures them.
    pub(super) rows: &'static [Row],
    /// In the order of the table.
    pub(super) figures: &'static [Figure],
    /// One row of one round.
    pub(super) measure: fn(Measurement<'_>) -> anyhow::Result<Sample>,
}

impl Plan {
    /// Measures all rounds, `seconds` for each figure that takes time.
    pub(super) fn carry_out(
        self,
        steps: &Steps,
        site: &mut Site,
        rounds: u32,
        seconds: u32,
    ) -> anyhow::Result<Results> {
        let mut results = Results::new(self.rows, self.figures);
        for round in 1..=rounds {
            for &row in self.rows {
                let label = format!("{round}/{rounds} {}", row.name());
                site.prepare(row)?;
                results.add(row, self.measure_row(steps, site, &label, seconds)?);
            }
        }
        Ok(results)
    }

    fn measure_row(self, steps: &Steps, site: &Site, label: &str, seconds: u32) -> anyhow::Result<Sample> {
        let start = || site.proxies(&AgentOptions::default());
        let proxies = steps.work(&format!("{label}: start"), start)?;
        let measurement = Measurement::new(steps, site, proxies.as_ref(), label, seconds);
        let sample = (self.measure)(measurement)?;
        if let Some(proxies) = proxies {
            steps.work(&format!("{label}: verify and stop"), || site.leave(proxies))?;
        }
        Ok(sample)
    }
}
