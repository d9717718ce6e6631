//! What the rounds brought.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{figure::Figure, row::Row};

/// What one round found for a row; a figure that makes no sense there is missing.
pub(super) type Sample = BTreeMap<Figure, f64>;

/// All rounds so far.
pub(super) struct Results {
    pub(super) rows: &'static [Row],
    pub(super) figures: &'static [Figure],
    values: BTreeMap<(Row, Figure), Vec<f64>>,
}

/// One figure of one row over all rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Summary {
    pub(super) least: f64,
    pub(super) median: f64,
    pub(super) most: f64,
}

impl Summary {
    /// None of nothing.
    fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let (below, above) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Some(Self { least, median: f64::midpoint(below, above), most })
    }

    /// How far the rounds are apart, as a share of the median.
    pub(super) fn spread(&self) -> f64 {
        (self.most - self.least) / self.median
    }
}

impl Results {
    /// Nothing yet of these rows and figures.
    pub(super) const fn new(rows: &'static [Row], figures: &'static [Figure]) -> Self {
        Self { rows, figures, values: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, row: Row, sample: Sample) {
        for (figure, value) in sample {
            self.values.entry((row, figure)).or_default().push(value);
        }
    }

    /// How many rounds there were.
    pub(super) fn rounds(&self) -> usize {
        self.values.values().map(Vec::len).max().unwrap_or(0)
    }

    pub(super) fn summary(&self, row: Row, figure: Figure) -> Option<Summary> {
        Summary::of(self.values.get(&(row, figure))?)
    }

    /// The median as a share of direct's; none of nothing.
    pub(super) fn share(&self, row: Row, figure: Figure) -> Option<f64> {
        let direct = self.summary(Row::Direct, figure)?.median;
        let of_direct = self.summary(row, figure)?.median / direct;
        (direct > 0.0).then_some(of_direct)
    }

    /// The medians: an object per row, with every key, null where a figure makes no sense.
    pub(super) fn to_json(&self) -> Value {
        let rows = self.rows.iter().map(|&row| (row.name().to_owned(), self.row_to_json(row)));
        Value::Object(rows.collect())
    }

    fn row_to_json(&self, row: Row) -> Value {
        let figures = self.figures.iter().map(|&figure| {
            let median = self.summary(row, figure).map(|summary| summary.median);
            (figure.key().to_owned(), json!(median))
        });
        Value::Object(figures.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_lies_between() {
        let summary = Summary::of(&[4.0, 1.0, 2.0, 100.0]).unwrap();
        assert_eq!(summary, Summary { least: 1.0, median: 3.0, most: 100.0 });
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn every_row_has_every_key_and_null_where_nothing_was_measured() {
        let rows = &[Row::Direct, Row::Mtls, Row::Envoy];
        let mut results = Results::new(rows, &Figure::COST);
        results.add(Row::Mtls, Sample::from([(Figure::RssIdle, 12.5)]));
        let json = results.to_json();
        assert_eq!(json["mtls"]["rss_idle_mb"], 12.5);
        assert!(json["direct"]["rss_idle_mb"].is_null());
        for row in rows {
            assert_eq!(json[row.name()].as_object().unwrap().len(), Figure::COST.len());
        }
    }
}
