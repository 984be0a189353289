//! `files`: reassembles files from pieces in a store, each once. A file becomes visible only when
//! it is complete.
//!
//! ```text
//!             ┌─ a whole file ────────────────────────────► whole/<T>.<n> ─┐
//!   pieces ───┤                                                  ▲         ├─► done/<T> ─► <name>
//!             └─ a part ─► parts/<T>/<from>-<to>, parts/<T>/end ─┘         │   names one
//!                          delivered when it is stored        concatenated │   of them
//! ```
//!
//! All of that is below `<url>/_aqueduct/files/`, which readers ignore, and is shared by all
//! collectors with this `url`. `<T>` is the name of a transfer, `<n>` a random number.
//!
//! # Invariants
//!
//! 1. A piece is delivered when the store has its bytes, in a part or in a whole file named by the
//!    record `done/<T>`. A file needs no space in a channel.
//! 2. Before a record names a whole file, it is closed, and its digest matches that of the source
//!    file.
//! 3. `done/<T>` is created once, by a rename that replaces nothing. It remains for `keep_done` and
//!    at least until its file has its final name. So exactly one whole file of a transfer becomes
//!    visible, whichever collectors created copies and when.
//! 4. A file becomes visible by a rename of the one that the record names. If that is gone, it was
//!    renamed. No other step is needed to know it.
//! 5. Any collector's next scan completes work that collectors left behind.
//!
//! | module | contents |
//! |---|---|
//! | `config` | the settings |
//! | `piece` | parses the description of a piece, and checks names: pure |
//! | `cover` | which parts make a whole file: pure |
//! | `layout` | paths and records below the prefix: pure |
//! | `store` | the idempotent steps in the store |
//! | `whole` | reassembles a file |
//! | `scan` | schedules reassembly, scans, cleans up |

mod config;
mod cover;
mod layout;
mod piece;
mod scan;
mod store;
#[cfg(test)]
mod tests;
mod whole;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use metrics::{Counter, FloatGauge, MetricSpec, Scope};
use pipeline::deliver::{Deliver, Delivered};
use pipeline::{Batch, BuildError, Classify, DedupeScope, Env, ErrorClass, Guarantee, SinkBoard};
use storage::{FileSystem, FsError};
use support::hex::hex;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::hdfs::{HdfsSinkError, identity, probe};
pub use config::Config;
use config::Options;
use layout::Layout;
use piece::{Piece, Refusal};
use scan::TransferScan;
use store::{Claimed, TransferStore};

/// Maximum number of remembered transfers with a directory for their parts.
const KNOWN_MAX: usize = 10_000;

const METRICS: &[MetricSpec] = &[
    MetricSpec::counter("visible_files", "Complete files that this sink has made visible."),
    MetricSpec::counter(
        "visible_bytes",
        "Bytes of the complete files that this sink has made visible.",
    ),
    MetricSpec::counter(
        "taken_names",
        "Files whose name was taken, so that they got another name or replaced the existing file.",
    ),
    MetricSpec::gauge(
        "unfinished_transfers",
        "Transfers of all collectors that are incomplete in the store.",
    ),
    MetricSpec::gauge(
        "stalled_transfers",
        "Incomplete transfers that received no new piece for an hour.",
    ),
    MetricSpec::gauge(
        "damaged_transfers",
        "Transfers of all collectors whose assembled pieces differ from the original file.",
    ),
    MetricSpec::gauge(
        "held_files",
        "Complete files that are not visible because their name is taken or rejected by the store.",
    ),
];

/// Creates a new client of the store after a failure.
type Connect = Box<dyn Fn() -> Result<Arc<dyn FileSystem>, FsError> + Send + Sync>;

/// Metrics of the sink.
struct Measures {
    visible_files: Counter,
    visible_bytes: Counter,
    taken_names: Counter,
    unfinished: FloatGauge,
    stalled: FloatGauge,
    damaged: FloatGauge,
    held: FloatGauge,
}

impl Measures {
    fn new(scope: &Scope) -> Result<Self, BuildError> {
        Ok(Self {
            visible_files: scope.counter("visible_files")?,
            visible_bytes: scope.counter("visible_bytes")?,
            taken_names: scope.counter("taken_names")?,
            unfinished: scope.gauge("unfinished_transfers")?,
            stalled: scope.gauge("stalled_transfers")?,
            damaged: scope.gauge("damaged_transfers")?,
            held: scope.gauge("held_files")?,
        })
    }
}

/// State shared by the sink and its scan.
struct Shared {
    /// Name of the sink.
    name: Arc<str>,
    env: Env,
    options: Options,
    layout: Layout,
    /// Where this collector stores its number.
    directory: PathBuf,
    measures: Measures,
    board: SinkBoard,
}

/// Why pieces could not be stored.
#[derive(Debug, Error)]
enum FilesError {
    /// The store failed.
    #[error("cannot write a file below `url`; no event is lost: its batches are written again")]
    Store(#[from] FsError),
    /// The number of this collector cannot be stored with its data.
    #[error(transparent)]
    Identity(#[from] HdfsSinkError),
    /// The sink is not open.
    #[error("the sink is not open")]
    NotOpen,
}

impl Classify for FilesError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Store(error) => error.class(),
            Self::Identity(error) => error.class(),
            Self::NotOpen => ErrorClass::Transient,
        }
    }
}

/// State of one opening.
struct Session {
    store: Arc<TransferStore>,
    /// Transfers with a directory that were not done at its creation.
    known: Mutex<BTreeSet<String>>,
    /// Transfers that may be complete now.
    arrived: mpsc::UnboundedSender<String>,
    _scan: AbortOnDropHandle<()>,
}

/// Stores pieces of files.
struct Files {
    shared: Arc<Shared>,
    connect: Connect,
    session: Mutex<Option<Arc<Session>>>,
}

impl Files {
    fn session(&self) -> Result<Arc<Session>, FilesError> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.clone().ok_or(FilesError::NotOpen)
    }
}

impl Session {
    fn known(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        // Poisoning is harmless: each change is one call.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores a piece, unless its file is already there.
    async fn store(&self, piece: &Piece<'_>) -> Result<Result<(), Refusal>, FsError> {
        match piece.digest {
            Some(digest) if piece.is_whole_file() => self.store_whole(piece, digest).await,
            _ => self.store_part(piece).await,
        }
    }

    async fn store_whole(
        &self,
        piece: &Piece<'_>,
        digest: &str,
    ) -> Result<Result<(), Refusal>, FsError> {
        let sha256 = crypto::digest::digest(&crypto::digest::SHA256, piece.body);
        if hex(sha256.as_ref()) != digest {
            return Ok(Err(Refusal::damaged()));
        }
        match self.store.store_whole(piece, digest).await? {
            Claimed::Same(record) => {
                // The scan retries the final name.
                if let Err(error) = self.store.publish(&record, piece.transfer).await {
                    let file = piece.file;
                    tracing::warn!(file, %error,
                        "cannot rename a complete file to its final name, so it stays invisible; \
                         retrying; fix the cause in `error`");
                }
                Ok(Ok(()))
            }
            Claimed::Other => Ok(Err(Refusal::of_another_file())),
        }
    }

    async fn store_part(&self, piece: &Piece<'_>) -> Result<Result<(), Refusal>, FsError> {
        if !self.known().contains(piece.transfer) {
            if let Some(record) = self.store.done(piece.transfer).await? {
                let is_same = piece.digest.is_none_or(|digest| digest == record.sha256);
                return Ok(if is_same { Ok(()) } else { Err(Refusal::of_another_file()) });
            }
            self.store.begin(piece.transfer).await?;
            let mut known = self.known();
            if known.len() >= KNOWN_MAX {
                known.clear();
            }
            known.insert(piece.transfer.to_owned());
        }
        if let Err(error) = self.store.store_part(piece).await {
            // The directory disappears when another collector has completed the file.
            self.known().remove(piece.transfer);
            return Err(error);
        }
        // If the scan has ended, the next opening starts it again, and it checks everything.
        drop(self.arrived.send(piece.transfer.to_owned()));
        Ok(Ok(()))
    }
}

#[async_trait]
impl Deliver for Files {
    type Error = FilesError;

    async fn open(&self) -> Result<(), FilesError> {
        let fs = (self.connect)()?;
        let collector = identity::collector(&self.shared.env, &self.shared.directory).await?;
        let collector = hex(&collector.0[..8]);
        let store = Arc::new(TransferStore { fs, shared: self.shared.clone(), collector });
        store.open().await?;
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let scan = TransferScan::new(store.clone());
        let scan = self.shared.env.blocking.behind().spawn(scan.run(arrivals));
        let scan = AbortOnDropHandle::new(scan);
        let session = Session { store, known: Mutex::default(), arrived, _scan: scan };
        let mut current = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Some(Arc::new(session));
        Ok(())
    }

    async fn probe(&self) -> Result<Option<String>, FilesError> {
        let fs = (self.connect)()?;
        let number = self.shared.env.entropy.next_u64();
        let prefix = self.shared.layout.prefix();
        let place = probe::probe(&*fs, prefix, number, false).await?;
        Ok(Some(format!("{place} accepts files")))
    }

    async fn deliver(&self, batch: &Batch) -> Result<Delivered, FilesError> {
        let session = self.session()?;
        let (mut refused, mut why) = (Vec::new(), None);
        for event in batch.iter() {
            let stored = match Piece::from_event(&event, self.shared.options.takes_colons) {
                Ok(piece) => session.store(&piece).await?,
                Err(refusal) => Err(refusal),
            };
            if let Err(refusal) = stored {
                refused.push(event.index());
                why.get_or_insert(refusal);
            }
        }
        Ok(match why {
            None => Delivered::All,
            Some(Refusal { reason, detail }) => {
                Delivered::Except { events: refused, reason, detail }
            }
        })
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn dedupe_scope(&self) -> DedupeScope {
        DedupeScope::Dataset(format!("files of {}", self.shared.options.shown))
    }

    fn status(&self) -> Option<&SinkBoard> {
        Some(&self.shared.board)
    }
}
