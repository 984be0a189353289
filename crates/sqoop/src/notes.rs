//! The results for the options of a call.

use std::fmt;

/// The result for an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It is not supported in this form.
    Refused,
    /// It is translated with a slightly different effect.
    Differs,
    /// It has no effect.
    Ignored,
}

/// A line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The result.
    pub outcome: Outcome,
    /// The option as it was written, or the subject of the note.
    pub option: String,
    /// The reason and the remedy.
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

    /// Adds that a tool has no configuration, because an agent runs permanently.
    pub fn note_on(&mut self, tool: &str) {
        let text = match tool {
            "import-all-tables" => {
                "the conversion does not query the database: write one call of `import` for each \
                 table, or run `aqueduct sqoop import-all-tables` with the same options"
            }
            _ => "no configuration does this: run the same call with `aqueduct sqoop`",
        };
        self.refuse(tool, text);
    }

    /// Returns `true` if something is not supported.
    pub fn is_refused(&self) -> bool {
        self.of(Outcome::Refused).next().is_some()
    }

    /// Returns the notes with one outcome.
    pub fn of(&self, outcome: Outcome) -> impl Iterator<Item = &Note> {
        self.0.iter().filter(move |note| note.outcome == outcome)
    }
}
