//! What became of the options of a call.

use std::fmt;

/// What became of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It cannot be done as it is.
    Refused,
    /// It is done, and not quite in the same way.
    Differs,
    /// It does nothing.
    Ignored,
}

/// A line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What became of it.
    pub outcome: Outcome,
    /// The option as it was written, or what the line is about.
    pub option: String,
    /// The reason, and what helps.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self.outcome {
            Outcome::Refused => "refused",
            Outcome::Differs => "differs",
            Outcome::Ignored => "ignored",
        };
        write!(f, "{outcome}: {}: {}", self.option, self.text)
    }
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes(pub Vec<Note>);

impl Notes {
    /// Adds one.
    pub(crate) fn add(&mut self, outcome: Outcome, option: &str, text: impl Into<String>) {
        let note = Note { outcome, option: option.to_owned(), text: text.into() };
        if !self.0.contains(&note) {
            self.0.push(note);
        }
    }

    /// Something cannot be done.
    pub(crate) fn refuse(&mut self, option: &str, text: impl Into<String>) {
        self.add(Outcome::Refused, option, text);
    }

    /// Whether something cannot be done as it is.
    pub fn is_refused(&self) -> bool {
        self.of(Outcome::Refused).next().is_some()
    }

    /// Those of one outcome.
    pub fn of(&self, outcome: Outcome) -> impl Iterator<Item = &Note> {
        self.0.iter().filter(move |note| note.outcome == outcome)
    }
}
