//! Translates calls of Apache Sqoop into configurations of Aqueduct.
//!
//! ```text
//!   script ─► calls ─► given ─► Import ─┬─► to_toml ─► `aqueduct convert sqoop`
//!             words    values   Export  └─► learn(key, columns) ─► to_toml ─► `aqueduct import`,
//!                        │      plan                                          `aqueduct export`
//!                        └─► notes: what became of each option
//! ```
//!
//! Everything here is synchronous and without I/O: the input is texts; [`World`] provides variables
//! and files. The tables of [`options`] define the translation of each option; the reference in
//! `docs/migrate-from-sqoop.md` is generated from them.

mod export;
mod form;
mod given;
mod hive;
mod import;
mod jdbc;
mod notes;
pub mod options;
pub mod page;
mod place;
mod sequence;
mod text;
mod tools;
mod words;

pub use export::{Export, Packed};
pub use form::Column;
pub use hive::{Hive, METASTORE_PROPERTIES};
pub use import::{Import, Mode};
pub use notes::{Note, Notes, Outcome};
pub use place::{PASSWORD_VARIABLE, Password};
pub use text::{Layout, agent};
pub use tools::{About, AllTables, Job, JobCall, Question};
pub use words::{Call, calls};

use given::Given;

/// The services that a translation needs from its program.
pub trait World {
    /// Returns an environment variable; `None` if it is not set.
    fn variable(&self, name: &str) -> Option<String>;

    /// The text of a file of options.
    ///
    /// # Errors
    /// It cannot be read: why, for people.
    fn file(&self, path: &str) -> Result<String, String>;

    /// Returns `fs.defaultFS` of Hadoop's configuration.
    fn default_fs(&self) -> Option<String> {
        None
    }

    /// Returns the metastores in Hive's configuration: the first of [`METASTORE_PROPERTIES`].
    fn hive_metastore(&self) -> Option<String> {
        None
    }
}

/// The task of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// A table into files.
    Import(Box<Import>),
    /// Files into a table.
    Export(Box<Export>),
    /// Each table of a database into files.
    AllTables(Box<AllTables>),
    /// An answer of a database.
    Question(Box<Question>),
}

/// Translates a call. Parts that cannot be translated have a note with the outcome
/// [`Outcome::Refused`]; then the task has the other parts.
pub fn translate(call: &Call, world: &dyn World) -> (Option<Task>, Notes) {
    let mut notes = Notes::default();
    for shell in &call.shell {
        let text = format!("`{shell}` is expanded by the shell, but not here: write its value");
        notes.add(Outcome::Refused, "shell", text);
    }
    if call.tool == "job" {
        return match JobCall::read(&call.arguments, &mut notes) {
            Ok(JobCall::Create { job, .. }) => {
                let call = Call { tool: job.tool, arguments: job.options, ..call.clone() };
                let (task, further) = translate(&call, world);
                notes.0.extend(further.0);
                (task, notes)
            }
            Ok(_) => {
                let text = "only `job --create` has a call to translate";
                notes.refuse("job", text);
                (None, notes)
            }
            Err(problem) => {
                notes.refuse("job", problem);
                (None, notes)
            }
        };
    }
    let given = Given::read(&call.arguments, world, &mut notes);
    let task = match call.tool.as_str() {
        "import" => {
            given.answer_import(&mut notes);
            Some(Task::Import(Box::new(Import::of(&given, world, &mut notes))))
        }
        "export" => {
            given.answer_export(&mut notes);
            Some(Task::Export(Box::new(Export::of(&given, world, &mut notes))))
        }
        "import-all-tables" => {
            Some(Task::AllTables(Box::new(AllTables::of(&given, world, &mut notes))))
        }
        "eval" | "list-tables" | "list-databases" => {
            let question = Question::of(&call.tool, &given, world, &mut notes);
            Some(Task::Question(Box::new(question)))
        }
        tool => {
            let text = match tool {
                "merge" => "files are not merged: let queries select the latest row of each key",
                "metastore" => "not needed: data directories store the positions",
                "codegen" => "not needed: Aqueduct generates no code",
                "create-hive-table" => {
                    "the `hdfs` sink creates the table: set `create = true` in its table `hive`"
                }
                _ => {
                    "not a supported tool of Sqoop; known: import, import-all-tables, export, \
                     eval, list-tables, list-databases, job"
                }
            };
            notes.add(Outcome::Refused, tool, text);
            None
        }
    };
    (task, notes)
}
