//! Why a benchmark could not be measured, or why its figures must not be believed.

use std::io;
use std::path::Path;

/// The one error of this program; each variant says what to look at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The operating system refused something.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, with the path or address.
        doing: String,
        /// The refusal.
        source: io::Error,
    },
    /// A program that a benchmark needs ended badly.
    #[error("{program} failed ({status}); its last words:\n{output}")]
    Program {
        /// The program and what it was asked for.
        program: String,
        /// Exit status, or that it ended too early.
        status: String,
        /// The end of what it wrote.
        output: String,
    },
    /// Something did not happen in its time.
    #[error("gave up after {seconds} s waiting for {what}")]
    Timeout {
        /// What was awaited, and how far it had come.
        what: String,
        /// The limit.
        seconds: u64,
    },
    /// What came out is not what went in, so the speed means nothing.
    #[error("{path_name}: wrong content: {detail}")]
    Content {
        /// Whose output it is.
        path_name: String,
        /// Missing, repeated and altered lines.
        detail: String,
    },
    /// This user may not have as many connections as are to be measured.
    #[error(
        "{needed} open files are needed and {allowed} are allowed: raise the hard limit (ulimit \
         -Hn as root, LimitNOFILE in a systemd unit), or measure fewer edges"
    )]
    OpenFiles {
        /// Connections and what else a program has open.
        needed: u64,
        /// The hard limit.
        allowed: u64,
    },
    /// What is to run apart has nowhere to go.
    #[error(
        "to keep two parts on cores of their own takes two cores, and this program may use one"
    )]
    OneCore,
    /// A page or message that could not be understood.
    #[error("unexpected answer from {from}: {detail}")]
    Answer {
        /// The peer that answered.
        from: String,
        /// What was wrong with it.
        detail: String,
    },
}

/// Result of everything here.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Adds to an I/O error what was being done.
pub(crate) trait Doing<T> {
    /// Wraps the error with a description that is only built on failure.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;

    /// The same for the usual case of a verb and a path.
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
