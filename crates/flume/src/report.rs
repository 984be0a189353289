//! The result for each key of Flume's file.

use std::fmt;

use pipeline::settings::Place;
use serde::Serialize;

use crate::File;

/// The result for a key or a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It needs a decision to be translated, or a requirement is missing.
    Decision,
    /// A key that Flume does not have; Flume ignores it silently.
    Unknown,
    /// It is translated with a slightly different effect.
    Differs,
    /// It is translated unchanged, and another value would be better.
    Advice,
    /// It has no counterpart and needs none.
    Ignored,
    /// It is translated.
    Carried,
}

impl Outcome {
    /// All of them, the urgent ones first.
    pub const ALL: [Self; 6] =
        [Self::Decision, Self::Unknown, Self::Differs, Self::Advice, Self::Ignored, Self::Carried];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decision => "needs a decision",
            Self::Unknown => "unknown key",
            Self::Differs => "differs",
            Self::Advice => "advised against",
            Self::Ignored => "ignored",
            Self::Carried => "carried over",
        }
    }
}

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The result.
    pub outcome: Outcome,
    /// Its place in Flume's file.
    pub place: Place,
    /// The key, from the agent's name on.
    pub key: String,
    /// The translation, the difference, the reason to ignore it, or the decision to make.
    pub text: String,
}

/// `file:line: key: text`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.key, self.text)
    }
}

/// The results for all keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report(pub Vec<Finding>);

/// A finding in JSON.
#[derive(Serialize)]
struct Line<'a> {
    outcome: Outcome,
    file: &'a str,
    line: u32,
    key: &'a str,
    text: &'a str,
}

impl<'a> Line<'a> {
    fn of(finding: &'a Finding) -> Self {
        let Finding { outcome, place, key, text } = finding;
        Self { outcome: *outcome, file: &place.file, line: place.line, key, text }
    }
}

impl Report {
    /// Adds a finding.
    pub fn add(&mut self, outcome: Outcome, place: &Place, key: &str, text: impl Into<String>) {
        let finding = Finding { outcome, place: place.clone(), key: key.into(), text: text.into() };
        if !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }

    /// Returns `true` if there is a finding with this outcome.
    pub fn has(&self, outcome: Outcome) -> bool {
        self.0.iter().any(|it| it.outcome == outcome)
    }

    /// The findings of one outcome.
    pub fn of(&self, outcome: Outcome) -> impl Iterator<Item = &Finding> {
        self.0.iter().filter(move |it| it.outcome == outcome)
    }

    /// In the order of the files and their lines.
    pub(crate) fn sort(&mut self, files: &[File]) {
        let rank = |place: &Place| files.iter().position(|it| it.name == place.file);
        self.0.sort_by_key(|it| (rank(&it.place), it.place.line));
    }

    /// The findings as lines for JSON: `outcome`, `file`, `line`, `key`, `text`.
    pub fn lines(&self) -> impl Serialize + '_ {
        self.0.iter().map(Line::of).collect::<Vec<_>>()
    }
}

/// The findings by outcome, the urgent ones first.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for outcome in Outcome::ALL {
            let count = self.of(outcome).count();
            if count > 0 {
                writeln!(f, "{} ({count})", outcome.name())?;
            }
            for finding in self.of(outcome) {
                writeln!(f, "  {finding}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_the_urgent_findings_first_each_with_file_and_line() {
        let place = |line| Place { file: "a.conf".into(), line, column: 0 };
        let mut report = Report::default();
        report.add(Outcome::Carried, &place(2), "a1.sources.r1.port", "sources.r1.listen");
        report.add(Outcome::Decision, &place(7), "a1.sinks.k1.type", "choose a sink");
        let expected = "needs a decision (1)\n  a.conf:7: a1.sinks.k1.type: choose a sink\n\
                        carried over (1)\n  a.conf:2: a1.sources.r1.port: sources.r1.listen\n";
        assert_eq!(report.to_string(), expected);
        let json = serde_json::to_value(report.lines()).unwrap();
        assert_eq!(json[1]["outcome"], "decision");
        assert_eq!((&json[0]["file"], &json[0]["line"]), (&"a.conf".into(), &2.into()));
    }
}
