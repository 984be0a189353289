//! Draws a curve as a picture and as a table, for the documentation.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::{Axis, Curve};
use crate::docs::put;
use crate::error::{Doing, Result};
use crate::report::{Series, human_spread};

/// Size of the picture, and of its frame.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 45.0;
/// Range that counts as flat, relative to the first point's rate.
const FLAT: [f64; 2] = [0.9, 1.1];

impl Axis {
    fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Buckets => "buckets",
            Self::Sink => "sink",
            Self::Backlog => "backlog",
            Self::Size => "size",
        }
    }
}

/// Writes `growth-<axis>.svg`, and the table between its marks in `growth.md`.
pub(super) fn into_docs(curve: &Curve, docs: &Path) -> Result<()> {
    let name = curve.axis.name();
    let picture = docs.join(format!("growth-{name}.svg"));
    fs::write(&picture, svg(curve)).at("write", &picture)?;
    put(&docs.join("growth.md"), (&start(name), END), &between(curve))
}

const END: &str = "<!-- growth end -->";

fn start(name: &str) -> String {
    format!("<!-- growth {name} -->")
}

/// Returns the text between the marks.
fn between(curve: &Curve) -> String {
    format!("\n\n{}\n", markdown(curve))
}

fn markdown(curve: &Curve) -> String {
    let first = rate_of(curve, 0);
    let started = curve.points.iter().any(|point| point.start_s.spread().is_some());
    let (head, rule) = if started { (" start, s |", "---:|") } else { ("", "") };
    let mut text = format!(
        "| {} | MB/s | ratio to the first | events/s | memory, MiB \
         |{head}\n|---:|---:|---:|---:|---:|{rule}\n",
        curve.unit
    );
    let cell = |series: &Series| series.spread().map_or_else(|| "–".to_owned(), human_spread);
    for (index, point) in curve.points.iter().enumerate() {
        let share = rate_of(curve, index) / first;
        let (rate, events, memory) = (cell(&point.rate), cell(&point.events), cell(&point.memory));
        let start = if started { format!(" {} |", cell(&point.start_s)) } else { String::new() };
        let _ =
            writeln!(text, "| {} | {rate} | {share:.2} | {events} | {memory} |{start}", point.x);
    }
    let name = curve.axis.name();
    let _ = write!(text, "\n![Megabytes a second by {}](growth-{name}.svg)\n\n", curve.unit);
    let mut note = curve.note.chars();
    let capital = note.next().map(|first| first.to_uppercase().collect::<String>());
    let _ = writeln!(text, "{}{}.", capital.unwrap_or_default(), note.as_str());
    text
}

fn rate_of(curve: &Curve, index: usize) -> f64 {
    let spread = curve.points.get(index).and_then(|point| point.rate.spread());
    spread.map_or(f64::NAN, |spread| spread.median)
}

/// Draws the medians as a line with their extremes, over the band that counts as flat. The points
/// have equal distances, each with its value, because they grow by factors.
fn svg(curve: &Curve) -> String {
    let spreads: Vec<_> =
        curve.points.iter().filter_map(|p| Some((p.x, p.rate.spread()?))).collect();
    let most = spreads.iter().map(|(_, spread)| spread.max).fold(1.0, f64::max) * 1.15;
    let step = (WIDTH - LEFT - RIGHT) / spreads.len().max(1) as f64;
    let x = |index: usize| LEFT + step * (index as f64 + 0.5);
    let y = |rate: f64| TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - rate / most);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#333\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    if let Some((_, first)) = spreads.first() {
        let [low, high] = FLAT.map(|share| y(first.median * share));
        let (width, height) = (WIDTH - LEFT - RIGHT, low - high);
        let _ = writeln!(
            out,
            "<rect x=\"{LEFT}\" y=\"{high:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             fill=\"#e4eef8\"/>"
        );
    }
    let (right, floor) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for tick in 0..=4 {
        let value = most * f64::from(tick) / 4.0;
        let at = y(value);
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value:.0}</text>",
            LEFT - 6.0,
            at + 4.0
        );
    }
    let line: Vec<String> = spreads
        .iter()
        .enumerate()
        .map(|(index, (_, spread))| format!("{:.1},{:.1}", x(index), y(spread.median)))
        .collect();
    let _ = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#1f6fb2\" stroke-width=\"2\"/>",
        line.join(" ")
    );
    for (index, (value, spread)) in spreads.iter().enumerate() {
        let (at, top, low, middle) = (x(index), y(spread.max), y(spread.min), y(spread.median));
        let _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top:.1}\" y2=\"{low:.1}\" \
             stroke=\"#1f6fb2\"/><circle cx=\"{at:.1}\" cy=\"{middle:.1}\" r=\"4\" \
             fill=\"#1f6fb2\"/><text x=\"{at:.1}\" y=\"{:.1}\" \
             text-anchor=\"middle\">{value}</text>",
            floor + 16.0
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n\
         <text x=\"4\" y=\"13\">MB/s</text>\n</svg>",
        f64::midpoint(LEFT, right),
        HEIGHT - 8.0,
        curve.unit
    );
    out
}

#[cfg(test)]
mod tests {
    use super::super::Point;
    use super::*;
    use crate::docs::replaced;

    fn curve() -> Curve {
        let mut points = [1, 10].map(Point::at);
        points[0].add(100, 200_000_000, 1.0);
        points[0].add(100, 100_000_000, 1.0);
        points[1].add(100, 75_000_000, 1.0);
        let note = "as measured".to_owned();
        Curve { axis: Axis::Files, unit: "files", points: points.into(), note }
    }

    #[test]
    fn the_table_stands_between_its_marks_and_can_be_put_there_again() {
        let page = "# Page\n\n<!-- growth size -->\nother\n<!-- growth end -->\n\n\
                    <!-- growth files -->\nold\n<!-- growth end -->\nbehind\n";
        let (start, table) = (start("files"), between(&curve()));
        let once = replaced(page, (&start, END), &table).unwrap();
        assert!(once.contains("| 10 | 75.0 | 0.50 | 100 | – |"), "{once}");
        assert!(once.contains("(growth-files.svg)\n\nAs measured.\n"), "{once}");
        assert!(
            once.starts_with("# Page\n\n<!-- growth size -->\nother\n") && !once.contains("old")
        );
        assert!(once.ends_with("<!-- growth end -->\nbehind\n"));
        assert_eq!(replaced(&once, (&start, END), &table), Some(once));
        assert_eq!(replaced("# Page", (&start, END), ""), None);
    }

    #[test]
    fn the_picture_has_every_point_between_its_frame() {
        let picture = svg(&curve());
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
        assert_eq!(picture.matches("<circle ").count(), 2);
        // The second median, 75 of a scale to 230, is at a third of the height.
        assert!(picture.contains("cy=\"164.9\""), "{picture}");
        assert!(picture.contains(">files</text>"));
    }
}
