//! Why a benchmark could not be measured, or why its figures are invalid.

use std::io;
use std::path::Path;

/// The only error type of this program; each variant names the place to check.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The operating system returned an error.
    #[error("{doing}: {source}")]
    Io {
        /// The failed operation, with its path or address.
        doing: String,
        /// The error.
        source: io::Error,
    },
    /// A required program failed.
    #[error("{program} failed ({status}); the end of its output:\n{output}")]
    Program {
        /// The program and its arguments.
        program: String,
        /// Exit status, or that it exited too early.
        status: String,
        /// The end of its output.
        output: String,
    },
    /// A timeout.
    #[error("gave up after {seconds} s waiting for {what}")]
    Timeout {
        /// The awaited condition, and the progress so far.
        what: String,
        /// The limit.
        seconds: u64,
    },
    /// The output differs from the input, so the speed is meaningless.
    #[error("{path_name}: wrong content: {detail}")]
    Content {
        /// The producer of the output.
        path_name: String,
        /// Missing, duplicate and altered lines.
        detail: String,
    },
    /// This user may not open enough connections for the benchmark.
    #[error(
        "{needed} open files are needed, but only {allowed} are allowed: raise the hard limit \
         (ulimit -Hn as root, LimitNOFILE in a systemd unit), or measure fewer edges"
    )]
    OpenFiles {
        /// Connections and other open files of a program.
        needed: u64,
        /// The hard limit.
        allowed: u64,
    },
    /// Separate parts need separate cores, but there is only one.
    #[error("separate cores need two cores, but this program may use only one")]
    OneCore,
    /// A page or message that could not be parsed.
    #[error("unexpected answer from {from}: {detail}")]
    Answer {
        /// The peer that responded.
        from: String,
        /// The error in the response.
        detail: String,
    },
}

/// Result type of this program.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Adds the failed operation to an I/O error.
pub(crate) trait Doing<T> {
    /// Wraps the error with a description that is built only on failure.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;

    /// Same for the usual case of a verb and a path.
    fn at(self, verb: &str, path: &Path) -> Result<T>
    where
        Self: Sized,
    {
        self.doing(|| format!("{verb} {}", path.display()))
    }
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io { doing: what(), source })
    }
}
