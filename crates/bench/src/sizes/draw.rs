//! Draws the day as a table, and as bars: for each set of rules, the fraction of its files in each
//! class.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::{CLASSES, Row};
use crate::docs::put;
use crate::error::{Doing, Result};

const START: &str = "<!-- sizes -->\n";
const END: &str = "<!-- sizes end -->";
/// From small files, which are most expensive for a NameNode, to whole blocks.
const COLOURS: [&str; CLASSES.len()] = ["#b2182b", "#ef8a62", "#fddbc7", "#92c5de", "#2166ac"];
const WIDTH: f64 = 760.0;
const LEFT: f64 = 240.0;
const RIGHT: f64 = 100.0;
const TOP: f64 = 40.0;
const STEP: f64 = 30.0;
const BAR: f64 = 20.0;

/// Writes `file-sizes.svg`, and the table between its marks in `file-sizes.md`.
pub(super) fn into_docs(rows: &[Row], docs: &Path) -> Result<()> {
    let picture = docs.join("file-sizes.svg");
    fs::write(&picture, svg(rows)).at("write", &picture)?;
    put(&docs.join("file-sizes.md"), (START, END), &table(rows))
}

/// Returns the table, in Markdown.
pub(super) fn table(rows: &[Row]) -> String {
    let names: Vec<&str> = CLASSES.iter().map(|(_, name)| *name).collect();
    let mut text = format!("| files of a day | all | mean | {} |\n", names.join(" | "));
    let _ = writeln!(text, "|---|---:|---:|{}", "---:|".repeat(CLASSES.len()));
    for Row { name, histogram } in rows {
        let all = histogram.count();
        let mean = histogram.bytes as f64 / all.max(1) as f64;
        let _ = write!(text, "| {name} | {} | {} |", grouped(all), human(mean));
        for files in histogram.files {
            let _ = write!(text, " {} |", grouped(files));
        }
        text.push('\n');
    }
    text
}

/// Formats a number with a comma every three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn human(bytes: f64) -> String {
    if bytes < 1024.0 * 1024.0 {
        format!("{:.1} KiB", bytes / 1024.0)
    } else {
        format!("{:.1} MiB", bytes / (1024.0 * 1024.0))
    }
}

fn svg(rows: &[Row]) -> String {
    let height = TOP + STEP * rows.len() as f64 + 10.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#333\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (at, ((_, name), colour)) in CLASSES.iter().zip(COLOURS).enumerate() {
        let x = 10.0 + 148.0 * at as f64;
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"10\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"20\">{name}</text>",
            x + 18.0
        );
    }
    let whole = WIDTH - LEFT - RIGHT;
    for (at, Row { name, histogram }) in rows.iter().enumerate() {
        let y = TOP + STEP * at as f64;
        let (text_y, all) = (y + 15.0, histogram.count());
        let name = name.replace('`', "");
        let _ = write!(
            out,
            "<text x=\"{}\" y=\"{text_y}\" text-anchor=\"end\">{name}</text>",
            LEFT - 8.0
        );
        let mut x = LEFT;
        for (files, colour) in histogram.files.iter().zip(COLOURS) {
            let width = whole * *files as f64 / all.max(1) as f64;
            let _ = write!(
                out,
                "<rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\" \
                 fill=\"{colour}\"/>"
            );
            x += width;
        }
        let _ = writeln!(out, "<text x=\"{}\" y=\"{text_y}\">{}</text>", x + 8.0, grouped(all));
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::super::Histogram;
    use super::*;

    #[test]
    fn a_row_has_its_files_by_class_and_their_mean() {
        let mut histogram = Histogram::default();
        [10, 64 << 10, 1 << 20, 200 << 20].iter().for_each(|bytes| histogram.add(*bytes));
        let rows = [Row { name: "ours", histogram }];
        let table = table(&rows);
        assert!(table.contains("| ours | 4 | 50.3 MiB | 1 | 1 | 1 | 0 | 1 |"), "{table}");
        assert_eq!(grouped(1_234_567), "1,234,567");
        let picture = svg(&rows);
        // The frame, the legend and the bars; a quarter of 420 is 105.
        assert_eq!(picture.matches("<rect ").count(), 1 + 2 * CLASSES.len());
        assert_eq!(picture.matches("width=\"105.0\"").count(), 4, "{picture}");
    }
}
