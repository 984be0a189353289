//! The reference of options, as `docs/migrate-from-sqoop.md` has it.

use std::fmt::Write;

use crate::Outcome;
use crate::given::written;
use crate::options::{Answer, GROUPS};

/// The line before the generated part.
pub const BEGIN: &str = "<!-- begin: generated from crates/sqoop/src/options -->";

/// The line after it.
pub const END: &str = "<!-- end: generated -->";

/// A table of options for each purpose.
pub fn reference() -> String {
    let mut page = String::new();
    for group in GROUPS {
        write!(page, "\n### {}\n\n| option | effect |\n|---|---|\n", group.heading)
            .expect("a string takes it");
        for row in group.rows {
            let short = match row.short {
                "" => String::new(),
                short => format!(", `-{short}`"),
            };
            let (word, text) = match row.answer {
                Answer::Carried(text) => ("", text),
                Answer::Differs(text) => ("differs: ", text),
                Answer::Ignored(text) => ("ignored: ", text),
                Answer::Refused(text) => ("**refused**: ", text),
                Answer::Export(None | Some(Outcome::Differs), text) => ("`export`: ", text),
                Answer::Export(Some(Outcome::Ignored), text) => ("`export`: ignored: ", text),
                Answer::Export(Some(Outcome::Refused), text) => ("`export`: **refused**: ", text),
            };
            let text = text.replace('|', "\\|");
            writeln!(page, "| `{}`{short} | {word}{text} |", written(row))
                .expect("a string takes it");
        }
    }
    page
}
