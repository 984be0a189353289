//! Values derived from files, and updated when the files change: a configuration of rustls, tokens.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use pipeline::env::{Disk, Env};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::problem::TlsError;
use crate::validity::OwnCertificate;

/// Minimum time between checks of files.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Makes the value from the files, in a thread that may block.
type Make<T, E> = Arc<dyn Fn(&dyn Disk, SystemTime) -> Result<T, E> + Send + Sync>;

/// Distinguishes states of a file.
pub(crate) type Stamp = Option<(SystemTime, u64, u64)>;

/// A value derived from certificates.
pub(crate) struct Made<C> {
    /// The configuration of rustls.
    pub(crate) config: Arc<C>,
    /// The certificate that this side shows.
    pub(crate) own: Option<Arc<OwnCertificate>>,
}

/// The current value derived from files.
pub(crate) struct Watched<T, E = TlsError> {
    env: Env,
    /// The contents of the files, for log lines.
    what: &'static str,
    files: Vec<PathBuf>,
    make: Make<T, E>,
    state: Mutex<State<T>>,
}

struct State<T> {
    made: Option<Arc<T>>,
    stamps: Vec<Stamp>,
    looked: Option<Instant>,
    /// The last problem of the files, which is logged once.
    problem: Option<String>,
}

impl<T: Send + Sync + 'static, E: std::error::Error + Send + 'static> Watched<T, E> {
    /// Creates it for these files, which contain `what` and are not read yet.
    pub(crate) fn new(
        env: &Env,
        (what, files): (&'static str, Vec<PathBuf>),
        make: Make<T, E>,
    ) -> Self {
        let state = State { made: None, stamps: Vec::new(), looked: None, problem: None };
        Self { env: env.clone(), what, files, make, state: Mutex::new(state) }
    }

    /// Returns the value derived from the files; reads changed files first. If they cannot be used,
    /// the previous value stays in force.
    ///
    /// # Errors
    /// There is no value yet, and the files cannot be used.
    pub(crate) async fn current(&self) -> Result<Arc<T>, E> {
        let now = Instant::now();
        let (known, stamps) = {
            let mut state = self.state();
            let is_due = state.looked.is_none_or(|looked| now >= looked + CHECK_INTERVAL);
            if let Some(made) = &state.made
                && !is_due
            {
                return Ok(made.clone());
            }
            // Concurrent handshakes use the current value.
            state.looked = Some(now);
            (state.made.clone(), state.stamps.clone())
        };
        let read = {
            let (env, make, files) = (self.env.clone(), self.make.clone(), self.files.clone());
            let is_known = known.is_some();
            let look = move || {
                // Before reading: a concurrent change is detected the next time.
                let seen = files.iter().map(|file| stamp(&*env.disk, file)).collect();
                let is_same = is_known && seen == stamps;
                (!is_same).then(|| (seen, make(&*env.disk, env.clock.now())))
            };
            self.env.offload(look).await
        };
        let mut state = self.state();
        match (read, known) {
            (None, Some(known)) => Ok(known),
            (Some((seen, Ok(made))), known) => {
                if known.is_some() {
                    info!(files = ?self.files, "{} were reloaded", self.what);
                }
                let made = Arc::new(made);
                (state.made, state.stamps, state.problem) = (Some(made.clone()), seen, None);
                Ok(made)
            }
            (Some((_, Err(error))), Some(known)) => {
                // Its stamps stay unknown, so the next check retries: of two files, the second one
                // may not be written yet.
                let problem = error.to_string();
                if state.problem.as_ref() != Some(&problem) {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot use the changed {}; the previous ones stay in use; retrying; fix \
                         the cause in `error`",
                        self.what
                    );
                    state.problem = Some(problem);
                }
                Ok(known)
            }
            (Some((_, Err(error))), None) => Err(error),
            (None, None) => unreachable!("files are read where there is nothing yet"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // Whole between two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state of a file.
pub(crate) fn stamp(disk: &dyn Disk, file: &std::path::Path) -> Stamp {
    let stat = disk.stat(file).ok()?;
    Some((stat.modified, stat.len, stat.inode))
}

/// The time of [`Env`] for rustls.
#[derive(Clone)]
pub(crate) struct Time(pub(crate) Env);

impl std::fmt::Debug for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Time")
    }
}

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let since = self.0.clock.now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some(UnixTime::since_unix_epoch(since))
    }
}

/// Converts it to an error of a connection, with its cause in the text, because only one line may
/// be shown.
pub(crate) fn as_io(error: &TlsError) -> io::Error {
    let text = match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    io::Error::other(text)
}
