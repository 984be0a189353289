//! Why nothing was counted, or why what was counted is too much.

use std::io;
use std::path::PathBuf;

/// The one error of this program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The operating system refused something.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// The refusal.
        source: io::Error,
    },
    /// Valgrind, or this program under it, failed.
    #[error("cannot count the instructions of the stage `{stage}`: {detail}")]
    Count {
        /// The stage.
        stage: &'static str,
        /// What went wrong, with the end of what was printed.
        detail: String,
    },
    /// A stage did not do its work.
    #[error("the stage `{stage}` failed: {detail}")]
    Stage {
        /// The stage.
        stage: &'static str,
        /// What failed.
        detail: String,
    },
    /// This machine is not one that the table holds for.
    #[error("the processor has no AVX2: counts without it are not comparable; use another machine")]
    Processor,
    /// There is no table in the file.
    #[error("{path} has no table of instructions: {detail}", path = path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What is missing or wrong.
        detail: String,
    },
    /// Stages have become dearer.
    #[error(
        "stages need over 5 % more instructions than {table} has recorded: {rows}; profile them \
         (valgrind --tool=callgrind with --stage), or record the new counts with aqueduct-count \
         --write {table} and give the reason in the commit",
        rows = rows.join(", "),
        table = table.display()
    )]
    Dearer {
        /// Their names.
        rows: Vec<String>,
        /// The file that they are compared with.
        table: PathBuf,
    },
}

/// Result of everything here.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Adds to an I/O error what was being done.
pub(crate) trait Doing<T> {
    /// Wraps the error with a description that is only built on failure.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io { doing: what(), source })
    }
}
