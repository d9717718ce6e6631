//! The results for a person.

use super::{
    figure::Figure,
    results::{Results, Summary},
    row::Row,
};

/// A line per figure: medians, the range over the rounds, and the share of direct.
pub(super) fn table(results: &Results) -> String {
    let names = results.rows.iter().map(|row| row.name().to_owned());
    let mut lines = vec![line("median (least..most) % of direct", names)];
    lines.extend(
        results
            .figures
            .iter()
            .map(|&figure| line(figure.name(), results.rows.iter().map(|&row| cell(results, row, figure)))),
    );
    lines.push("Compare within this table only: another run is another machine.".to_owned());
    lines.join("\n")
}

const NAME: usize = 34;
const WIDTH: usize = 34;

fn line(name: &str, cells: impl Iterator<Item = String>) -> String {
    cells.fold(format!("{name:<NAME$}"), |line, cell| format!("{line}{cell:>WIDTH$}"))
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
