//! `files`: pieces of files become the same files again in a store, each once, and visible only
//! when it is whole.
//!
//! ```text
//!             ┌─ all of a file ───────────────────────────► whole/<T>.<n> ─┐
//!   pieces ───┤                                                  ▲         ├─► done/<T> ─► <name>
//!             └─ a part ─► parts/<T>/<from>-<to>, parts/<T>/end ─┘         │   names one
//!                          delivered as soon as it is there   put together │   of them
//! ```
//!
//! All of that is below `<url>/_aqueduct/files/`, which readers pass over, and is shared by all
//! collectors with this `url`. `<T>` is the name of a transfer, `<n>` a random number.
//!
//! # Invariants
//!
//! 1. A piece is delivered when its bytes are in the store, in a part or in a whole file that the
//!    record `done/<T>` names. A file needs no room in a channel.
//! 2. A whole file is closed, and its digest is that of the file at its source, before a record
//!    names it.
//! 3. `done/<T>` is made once, by a rename that replaces nothing, and stays for `keep_done` and
//!    for as long as the file that it names has not its own name yet. So of all whole files of a
//!    transfer one becomes visible, whichever collectors made them and whenever.
//! 4. A file becomes visible by a rename of the one that the record names. Where that is gone, it
//!    has been renamed. No other step is needed to know it.
//! 5. What is lost of collectors is found by the next look around of any of them (`around`).
//!
//! | module | what it does |
//! |---|---|
//! | `config` | the settings |
//! | `piece` | what an event says of its bytes, and names that may be used: pure |
//! | `cover` | which parts make a whole file: pure |
//! | `layout` | paths and records below the prefix: pure |
//! | `shelf` | the steps in the store, each of which may be done again |
//! | `whole` | putting a file together |
//! | `around` | when that is done, looking around, clearing away |

mod around;
mod config;
mod cover;
mod layout;
mod piece;
mod shelf;
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
use around::Around;
pub use config::Config;
use config::Options;
use layout::Layout;
use piece::{Piece, Refusal};
use shelf::{Claimed, Shelf};

/// Transfers that are known to have a directory for their parts, at most.
const KNOWN_MAX: usize = 10_000;

const METRICS: &[MetricSpec] = &[
    MetricSpec::counter("visible_files", "Complete files that this sink has made visible."),
    MetricSpec::counter(
        "visible_bytes",
        "Bytes of the complete files that this sink has made visible.",
    ),
    MetricSpec::counter(
        "taken_names",
        "Files whose name existed, and that got another name or replaced the existing file.",
    ),
    MetricSpec::gauge(
        "unfinished_transfers",
        "Transfers of all collectors that are incomplete in the store.",
    ),
    MetricSpec::gauge("stalled_transfers", "Incomplete transfers without a new piece for an hour."),
    MetricSpec::gauge(
        "damaged_transfers",
        "Transfers of all collectors whose pieces do not match the file that was read.",
    ),
    MetricSpec::gauge(
        "held_files",
        "Complete files that are not visible because the store rejects their name.",
    ),
];

/// Makes the store anew: a client that has lost its footing is not used again.
type Connect = Box<dyn Fn() -> Result<Arc<dyn FileSystem>, FsError> + Send + Sync>;

/// What the sink counts.
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
    fn of(scope: &Scope) -> Result<Self, BuildError> {
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

/// What the sink and its look around share.
struct Shared {
    /// Of the sink.
    name: Arc<str>,
    env: Env,
    options: Options,
    layout: Layout,
    /// Where this collector keeps its number.
    directory: PathBuf,
    measures: Measures,
    board: SinkBoard,
}

/// Why pieces could not be stored.
#[derive(Debug, Error)]
enum FilesError {
    /// The store failed.
    #[error("cannot write to the store")]
    Store(#[from] FsError),
    /// The number of this collector cannot be kept with its data.
    #[error(transparent)]
    Identity(#[from] HdfsSinkError),
    /// No opening went well, or not yet.
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

/// One opening.
struct Session {
    shelf: Arc<Shelf>,
    /// Transfers whose directory is there and that were not done when it was made.
    known: Mutex<BTreeSet<String>>,
    /// Transfers that may be whole now.
    arrived: mpsc::UnboundedSender<String>,
    _around: AbortOnDropHandle<()>,
}

/// Delivers pieces into a store.
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
        // Each change is one call.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores a piece, unless its file is there already.
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
        match self.shelf.store_whole(piece, digest).await? {
            Claimed::Same(record) => {
                // What cannot get its name now gets it later: the look around tries on.
                if let Err(error) = self.shelf.publish(&record, piece.transfer).await {
                    let file = piece.file;
                    tracing::warn!(file, %error, "a whole file waits for its name");
                }
                Ok(Ok(()))
            }
            Claimed::Other => Ok(Err(Refusal::of_another_file())),
        }
    }

    async fn store_part(&self, piece: &Piece<'_>) -> Result<Result<(), Refusal>, FsError> {
        if !self.known().contains(piece.transfer) {
            if let Some(record) = self.shelf.done(piece.transfer).await? {
                let is_same = piece.digest.is_none_or(|digest| digest == record.sha256);
                return Ok(if is_same { Ok(()) } else { Err(Refusal::of_another_file()) });
            }
            self.shelf.begin(piece.transfer).await?;
            let mut known = self.known();
            if known.len() >= KNOWN_MAX {
                known.clear();
            }
            known.insert(piece.transfer.to_owned());
        }
        if let Err(error) = self.shelf.store_part(piece).await {
            // Its directory goes when another collector has made the file.
            self.known().remove(piece.transfer);
            return Err(error);
        }
        // A look around that has ended is begun again by the next opening, and looks at all.
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
        let shelf = Arc::new(Shelf { fs, shared: self.shared.clone(), collector });
        shelf.open().await?;
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let around = Around::new(shelf.clone());
        let around = self.shared.env.blocking.behind().spawn(around.run(arrivals));
        let around = AbortOnDropHandle::new(around);
        let session = Session { shelf, known: Mutex::default(), arrived, _around: around };
        let mut current = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Some(Arc::new(session));
        Ok(())
    }

    async fn probe(&self) -> Result<Option<String>, FilesError> {
        let fs = (self.connect)()?;
        let number = self.shared.env.entropy.next_u64();
        let prefix = self.shared.layout.prefix();
        let place = probe::probe(&*fs, prefix, number, false).await?;
        Ok(Some(format!("{place} takes files")))
    }

    async fn deliver(&self, batch: &Batch) -> Result<Delivered, FilesError> {
        let session = self.session()?;
        let (mut refused, mut why) = (Vec::new(), None);
        for event in batch.iter() {
            let stored = match Piece::of(&event, self.shared.options.takes_colons) {
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
