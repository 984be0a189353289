//! Figures: median, minimum and maximum of several runs, and their ratio to a reference.
//!
//! A ratio above 1 is always in our favour: for rates it is ours / reference, for costs (CPU time,
//! memory, time) it is reference / ours.

use std::io::{self, Write};

use serde::Serialize;

/// The values of one figure over several runs, in the order of the runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    /// Adds the value of another run.
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Converts the runs to another unit.
    pub(crate) fn map(&self, convert: impl Fn(f64) -> f64) -> Self {
        self.0.iter().map(|value| convert(*value)).collect()
    }

    /// Summarizes the runs; `None` without any.
    pub(crate) fn spread(&self) -> Option<Spread> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Spread { median, min, max, runs: sorted.len() })
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl Spread {
    /// A fixed value that is not measured.
    pub(crate) fn given(value: f64) -> Self {
        Self { median: value, min: value, max: value, runs: 1 }
    }
}

/// Median with its extremes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// Middle value, or the mean of the two middle ones.
    pub(crate) median: f64,
    /// Smallest value.
    pub(crate) min: f64,
    /// Largest value.
    pub(crate) max: f64,
    /// Number of runs.
    pub(crate) runs: usize,
}

/// Returns the value below which `share` of the sorted ones are; `None` if empty.
pub(crate) fn rank(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = ((sorted.len() as f64 * share).ceil() as usize).max(1) - 1;
    sorted.get(rank).copied()
}

/// The good direction of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    /// Rates.
    More,
    /// CPU time, memory, time.
    Less,
}

/// One line of a report: ours and a reference.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// The subcommand.
    pub(crate) bench: &'static str,
    /// The measured quantity and load.
    pub(crate) case: String,
    /// Unit of both sides.
    pub(crate) unit: &'static str,
    /// The good direction.
    pub(crate) better: Better,
    /// Our side, unless only peers were measured.
    pub(crate) ours: Option<Spread>,
    /// The other side, if any.
    pub(crate) reference: Option<(&'static str, Spread)>,
}

impl Figure {
    /// Returns the ratio of the medians, larger is better; `None` if a side is missing or zero.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let (ours, reference) = (self.ours?.median, self.reference?.1.median);
        let (above, below) = match self.better {
            Better::More => (ours, reference),
            Better::Less => (reference, ours),
        };
        (below != 0.0).then(|| above / below)
    }
}

/// The output of `--json` for each figure.
#[derive(Debug, Serialize)]
struct Record<'a> {
    bench: &'a str,
    case: &'a str,
    ours: Option<f64>,
    reference: Option<f64>,
    reference_name: Option<&'a str>,
    unit: &'a str,
    ratio: Option<f64>,
}

/// Collects figures: a table for people, or JSON for programs (the table then goes to stderr).
#[derive(Debug)]
pub(crate) struct Report {
    figures: Vec<Figure>,
    notes: Vec<String>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { figures: Vec::new(), notes: Vec::new() }
    }

    pub(crate) fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Adds a value that was measured once, and its target, if it has one.
    pub(crate) fn add_value(
        &mut self,
        (bench, case): (&'static str, &str),
        (value, unit): (f64, &'static str),
        better: Better,
        target: Option<f64>,
    ) {
        self.add(Figure {
            bench,
            case: case.to_owned(),
            unit,
            better,
            ours: Some(Spread::given(value)),
            reference: target.map(|target| ("target", Spread::given(target))),
        });
    }

    /// Adds a note to the figures, without duplicates.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// Prints everything: with `json` one object per line to stdout and the table to stderr.
    pub(crate) fn print(&self, json: bool) -> io::Result<()> {
        if !json {
            return self.write_table(&mut io::stdout().lock());
        }
        self.write_table(&mut io::stderr().lock())?;
        let mut out = io::stdout().lock();
        for figure in &self.figures {
            let record = Record {
                bench: figure.bench,
                case: &figure.case,
                ours: figure.ours.map(|ours| ours.median),
                reference: figure.reference.map(|(_, spread)| spread.median),
                reference_name: figure.reference.map(|(name, _)| name),
                unit: figure.unit,
                ratio: figure.ratio(),
            };
            serde_json::to_writer(&mut out, &record)?;
            writeln!(out)?;
        }
        out.flush()
    }

    fn write_table(&self, out: &mut impl Write) -> io::Result<()> {
        let header = ["case", "unit", "ours (min–max)", "reference (min–max)", "against", "ratio"];
        let mut rows = vec![header.map(str::to_owned)];
        rows.extend(self.figures.iter().map(row));
        let mut widths = [0; 6];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &rows {
            let cells: Vec<_> =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(out, "{}", cells.join("  ").trim_end())?;
        }
        for note in &self.notes {
            writeln!(out, "- {note}")?;
        }
        writeln!(out, "Ratios: larger is better (rates ours / reference, costs reference / ours).")
    }
}

fn row(figure: &Figure) -> [String; 6] {
    let show = |spread: Option<Spread>| spread.map_or_else(|| "–".to_owned(), human_spread);
    [
        format!("{}: {}", figure.bench, figure.case),
        figure.unit.to_owned(),
        show(figure.ours),
        show(figure.reference.map(|(_, spread)| spread)),
        figure.reference.map_or_else(|| "–".to_owned(), |(name, _)| name.to_owned()),
        figure.ratio().map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")),
    ]
}

/// Formats the median with its extremes, if there were several runs.
pub(crate) fn human_spread(spread: Spread) -> String {
    let Spread { median, min, max, runs } = spread;
    if runs == 1 {
        return human(median);
    }
    format!("{} ({}–{}, n={runs})", human(median), human(min), human(max))
}

/// Formats three significant digits below a thousand, grouped thousands above.
pub(crate) fn human(value: f64) -> String {
    if value.abs() < 1000.0 {
        let decimals = match value.abs() {
            v if v >= 100.0 => 0,
            v if v >= 10.0 => 1,
            v if v >= 1.0 => 2,
            _ => 3,
        };
        return format!("{value:.decimals$}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 && !grouped.ends_with('-') {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(median: f64) -> Spread {
        Spread { median, min: median, max: median, runs: 1 }
    }

    fn figure(better: Better, ours: f64, reference: f64) -> Figure {
        Figure {
            bench: "e2e",
            case: "rate".to_owned(),
            unit: "events/s",
            better,
            ours: Some(spread(ours)),
            reference: Some(("raw", spread(reference))),
        }
    }

    #[test]
    fn the_median_of_an_even_number_of_runs_is_between_the_middle_two() {
        let series: Series = [4.0, 1.0, 3.0, 10.0].into_iter().collect();
        assert_eq!(series.spread(), Some(Spread { median: 3.5, min: 1.0, max: 10.0, runs: 4 }));
        assert_eq!(Series::default().spread(), None);
    }

    #[test]
    fn a_ratio_above_one_is_in_our_favour_for_rates_and_for_costs() {
        assert_eq!(figure(Better::More, 20.0, 10.0).ratio(), Some(2.0));
        assert_eq!(figure(Better::Less, 5.0, 10.0).ratio(), Some(2.0));
        assert_eq!(figure(Better::Less, 0.0, 10.0).ratio(), None);
    }

    #[test]
    fn large_numbers_are_grouped_and_small_ones_keep_three_digits() {
        assert_eq!(human(1_234_567.4), "1 234 567");
        assert_eq!(human(999.4), "999");
        assert_eq!(human(1.234), "1.23");
        assert_eq!(human(0.5678), "0.568");
    }
}
