//! Charts of the last 24 hours: SVG that is made on the server, so that it needs no script. Each
//! has a time axis in UTC, and a title and a description for screen readers. Pure.

use std::fmt::Write as _;

use crate::gate::Level;
use crate::history::{STEP_MS, STEPS, Sample, Track};

/// Size of a chart, and the part of it that its curves use.
const WIDTH: u64 = 720;
const HEIGHT: u64 = 132;
const TOP: f32 = 14.0;
const BOTTOM: f32 = 112.0;

/// Steps in a bucket of a small chart, and its height.
const BUCKET: u64 = 6;
const SMALL_HEIGHT: f32 = 20.0;

/// Steps between two labels of the time axis: three hours.
const LABELLED: u64 = 3 * 3_600_000 / STEP_MS;

/// One curve of a chart.
pub(super) struct Curve {
    /// Its class in the style sheet.
    pub(super) class: &'static str,
    /// Its name, in lower case.
    pub(super) name: &'static str,
    /// Its values.
    pub(super) of: fn(&Sample) -> Option<f32>,
}

/// Accepted and delivered events per second.
pub(super) const RATES: [Curve; 2] = [
    Curve { class: "accepted", name: "accepted", of: |it| it.accepted },
    Curve { class: "delivered", name: "delivered", of: |it| it.delivered },
];

/// Events in the channels.
pub(super) const HELD: [Curve; 1] = [Curve { class: "held", name: "held", of: |it| Some(it.held) }];

/// Age of the oldest event in the channels, in seconds.
pub(super) const OLDEST: [Curve; 1] =
    [Curve { class: "oldest", name: "oldest", of: |it| it.oldest_seconds.map(|age| age as f32) }];

/// A number of events, short.
pub(super) fn events(count: f32) -> String {
    match count {
        ..10.0 => format!("{count:.1}").trim_end_matches(".0").to_owned(),
        ..10_000.0 => format!("{count:.0}"),
        ..1e7 => format!("{:.1}k", count / 1e3),
        _ => format!("{:.1}M", count / 1e6),
    }
}

/// A duration, short.
pub(super) fn seconds(age: f32) -> String {
    match age {
        ..120.0 => format!("{age:.0} s"),
        ..7_200.0 => format!("{:.0} min", age / 60.0),
        _ => format!("{:.1} h", age / 3_600.0),
    }
}

/// The time of day at which a step begins.
fn time(step: u64) -> String {
    let minutes = step * STEP_MS / 60_000 % 1_440;
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// Values with the numbers of their steps.
type Values = Vec<(u64, f32)>;

fn values(track: &Track, of: fn(&Sample) -> Option<f32>) -> Values {
    track.iter().filter_map(|(step, sample)| Some((*step, of(sample)?))).collect()
}

fn most(values: &Values) -> Option<(u64, f32)> {
    values.iter().copied().max_by(|(_, one), (_, other)| one.total_cmp(other))
}

/// The last value and the largest one, in words.
fn in_words(name: &str, values: &Values, show: fn(f32) -> String) -> String {
    let (Some((at, last)), Some((most_at, most))) = (values.last(), most(values)) else {
        return format!("{name}: no values");
    };
    format!("{name}: {} at {}, at most {} at {}", show(*last), time(*at), show(most), time(most_at))
}

/// A line through the values, interrupted where a step has none.
fn path(out: &mut String, class: &str, values: &Values, place: impl Fn(u64, f32) -> (f32, f32)) {
    if values.is_empty() {
        return;
    }
    let _infallible = write!(out, "<path class=\"{class}\" d=\"");
    let mut before = None;
    for (at, (step, value)) in values.iter().enumerate() {
        let (x, y) = place(*step, *value);
        let follows = before.is_some_and(|it: u64| it + 1 == *step);
        let _infallible = write!(out, "{}{x:.0} {y:.0}", if follows { 'L' } else { 'M' });
        // A value without neighbours is a dot.
        if !follows && values.get(at + 1).is_none_or(|(next, _)| *next != step + 1) {
            out.push_str("h0");
        }
        before = Some(*step);
    }
    out.push_str("\"/>");
}

/// The place of a step on the time axis of the 24 hours up to `now`.
fn x(step: u64, now: u64) -> f32 {
    let first = (now + 1).saturating_sub(STEPS);
    step.saturating_sub(first) as f32 * WIDTH as f32 / (STEPS - 1) as f32
}

/// Lines and labels of the time axis.
fn axis(out: &mut String, now: u64) {
    let first = (now + 1).saturating_sub(STEPS);
    let labelled = (first..=now).filter(|step| step.is_multiple_of(LABELLED));
    for step in labelled {
        let x = x(step, now);
        let _infallible = write!(
            out,
            "<path class=\"grid\" d=\"M{x:.0} {TOP}V{BOTTOM}\"/>\
             <text x=\"{:.0}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            x.clamp(16.0, WIDTH as f32 - 16.0),
            HEIGHT - 4,
            time(step)
        );
    }
}

/// The beginning of a picture with a title and a description, which nothing in it repeats.
fn begin(out: &mut String, class: &str, (width, height): (u64, u64), texts: [&str; 3]) {
    let [id, title, description] = texts;
    let _infallible = write!(
        out,
        "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-labelledby=\"{id}-title\" aria-describedby=\"{id}-desc\">\
         <title id=\"{id}-title\">{title}</title><desc id=\"{id}-desc\">{description}</desc>"
    );
}

/// A chart with its caption. `id` is unique on the page; all texts are without markup.
pub(super) fn chart(
    out: &mut String,
    (id, title): (&str, &str),
    (track, now): (&Track, u64),
    (curves, show): (&[Curve], fn(f32) -> String),
) {
    let curves: Vec<(&Curve, Values)> =
        curves.iter().map(|curve| (curve, values(track, curve.of))).collect();
    let words = curves.iter().map(|(curve, values)| in_words(curve.name, values, show));
    let words = words.collect::<Vec<_>>();
    let legend = curves.iter().zip(&words);
    let legend =
        legend.map(|((curve, _), text)| format!("<i class=\"{}\"></i>{text}", curve.class));
    let _infallible = write!(
        out,
        "<figure><figcaption><b>{title}</b> {} (UTC)</figcaption>",
        legend.collect::<Vec<_>>().join("; ")
    );
    let title = format!("{title}, last 24 hours");
    let words = format!("{}. Times are in UTC.", words.join("; "));
    begin(out, "chart", (WIDTH, HEIGHT), [id, &title, &words]);
    axis(out, now);
    let top = curves.iter().filter_map(|(_, values)| most(values)).map(|it| it.1);
    let top = top.fold(0.0, f32::max);
    let scale = if top > 0.0 { (BOTTOM - TOP) / top } else { 0.0 };
    for (curve, values) in &curves {
        path(out, curve.class, values, |step, it| (x(step, now), BOTTOM - it * scale));
    }
    let _infallible = writeln!(
        out,
        "<path class=\"grid\" d=\"M0 {BOTTOM}H{WIDTH}\"/><text x=\"0\" y=\"10\">{}</text>\
         </svg></figure>",
        show(top)
    );
}

/// The level of the worst finding as a strip: only warnings and errors are drawn.
pub(super) fn levels(out: &mut String, id: &str, (track, now): (&Track, u64)) {
    let minutes = |level| {
        let steps = track.iter().filter(|(_, it)| it.level == level).count() as u64;
        steps * STEP_MS / 60_000
    };
    let (warn, bad) = (minutes(Level::Warn), minutes(Level::Bad));
    let words = match (warn, bad, track.is_empty()) {
        (_, _, true) => "no values".to_owned(),
        (0, 0, false) => "no warnings and no errors".to_owned(),
        _ => format!("warnings for {warn} min, errors for {bad} min"),
    };
    let title = "Worst finding";
    let _infallible = write!(out, "<figure><figcaption><b>{title}</b> {words}</figcaption>");
    begin(out, "strip", (WIDTH, 10), [id, &format!("{title}, last 24 hours"), &words]);
    let width = WIDTH as f32 / (STEPS - 1) as f32;
    for (step, sample) in track {
        let class = match sample.level {
            Level::Good | Level::Note => continue,
            Level::Warn => "warn",
            Level::Bad => "bad",
        };
        let _infallible = write!(
            out,
            "<rect class=\"{class}\" x=\"{:.1}\" width=\"{width:.1}\" height=\"10\"/>",
            x(*step, now)
        );
    }
    out.push_str("</svg></figure>\n");
}

/// A small chart of accepted events for a row of the table; each point is the mean of half an hour.
pub(super) fn small(out: &mut String, (track, now): (&Track, u64)) {
    let all = values(track, |it| it.accepted);
    let Some((_, top)) = most(&all) else {
        out.push('–');
        return;
    };
    let _infallible = write!(
        out,
        "<svg class=\"small\" viewBox=\"0 0 {} {SMALL_HEIGHT}\" role=\"img\">\
         <title>{} (UTC)</title>",
        2 * STEPS / BUCKET,
        in_words("accepted events per second in 24 hours", &all, events)
    );
    let first = (now + 1).saturating_sub(STEPS);
    let mut buckets: Vec<(u64, f32, u16)> = Vec::new();
    for (step, value) in all {
        let bucket = step.saturating_sub(first) / BUCKET;
        match buckets.last_mut() {
            Some(last) if last.0 == bucket => (last.1, last.2) = (last.1 + value, last.2 + 1),
            _ => buckets.push((bucket, value, 1)),
        }
    }
    let means = buckets.into_iter().map(|(at, sum, count)| (at, sum / f32::from(count)));
    let scale = if top > 0.0 { (SMALL_HEIGHT - 2.0) / top } else { 0.0 };
    let place = |at: u64, it: f32| (2.0 * at as f32 + 1.0, SMALL_HEIGHT - 1.0 - it * scale);
    path(out, "accepted", &means.collect(), place);
    out.push_str("</svg>");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(accepted: f32) -> Sample {
        Sample { accepted: Some(accepted), ..Sample::default() }
    }

    #[test]
    fn curves_are_interrupted_where_an_agent_did_not_report() {
        // 2026-12-01 12:00 UTC.
        let now = 1_796_126_400_000 / STEP_MS;
        let track: Track = [280, 279, 200, 1, 0].map(|ago| (now - ago, sample(ago as f32))).into();
        let mut out = String::new();
        chart(&mut out, ("a", "Events"), (&track, now), (&RATES, events));
        let curve = out.split_once("<path class=\"accepted\" d=\"").unwrap().1;
        let curve = curve.split_once('"').unwrap().0;
        assert_eq!(curve.matches('M').count(), 3, "{curve}");
        assert_eq!(curve.matches("h0").count(), 1, "the value without neighbours: {curve}");
        assert!(curve.ends_with("L720 112"), "{curve}");
        assert!(out.contains("accepted: 0 at 12:00, at most 280 at 12:40"), "{out}");
        assert!(out.contains("delivered: no values"), "{out}");
        assert!(!out.contains("<path class=\"delivered\""), "{out}");
        // Every three hours, from 15:00 of the day before.
        for hour in ["15:00", "18:00", "21:00", "00:00", "03:00", "06:00", "09:00", "12:00"] {
            assert_eq!(out.matches(&format!(">{hour}</text>")).count(), 1, "{hour}: {out}");
        }
    }

    #[test]
    fn pictures_have_titles_and_descriptions_for_screen_readers() {
        let track: Track = (1_000..1_288).map(|step| (step, sample(7.5))).collect();
        let mut out = String::new();
        chart(&mut out, ("rates", "Events per second"), (&track, 1_287), (&RATES, events));
        for part in [
            "role=\"img\" aria-labelledby=\"rates-title\" aria-describedby=\"rates-desc\"",
            "<title id=\"rates-title\">Events per second, last 24 hours</title>",
            "<desc id=\"rates-desc\">accepted: 7.5 at ",
        ] {
            assert!(out.contains(part), "{part}: {out}");
        }
        let mut out = String::new();
        let mut track = track;
        track[5].1.level = Level::Bad;
        track[6].1.level = Level::Warn;
        levels(&mut out, "levels", (&track, 1_287));
        assert!(out.contains("warnings for 5 min, errors for 5 min"), "{out}");
        assert_eq!(out.matches("<rect").count(), 2, "{out}");
        let mut out = String::new();
        small(&mut out, (&track, 1_287));
        assert!(out.contains("accepted events per second in 24 hours: 7.5 at"), "{out}");
        assert_eq!(out.matches('L').count(), 47, "{out}");
        assert!(out.len() < 800, "{}", out.len());
        out.clear();
        small(&mut out, (&Track::new(), 1_287));
        assert_eq!(out, "–");
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.25, 9.96, 250.4, 12_345.0, 2.5e7].map(events);
        assert_eq!(shown, ["0", "0.2", "10", "250", "12.3k", "25.0M"]);
        assert_eq!([59.0, 600.0, 86_400.0].map(seconds), ["59 s", "10 min", "24.0 h"]);
    }
}
