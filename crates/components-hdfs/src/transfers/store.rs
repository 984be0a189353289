//! The steps in the store. Any collector may repeat them, and they may stop anywhere: a scan
//! removes leftovers.

use std::sync::Arc;

use bytes::Bytes;
use storage::{CreateOptions, FileSystem, FsError, split};
use support::hex::hex;
use support::mutant;

use super::Shared;
use super::config::TakenName;
use super::cover::Part;
use super::layout::{self, END, Record};
use super::piece::Piece;

/// Maximum number of names to try for a file.
const NAMES_MAX: u32 = 1_000;

/// The file named by the record of a transfer.
#[derive(Debug)]
pub(super) enum Claimed {
    /// The same bytes, in this or in another whole file.
    Same(Record),
    /// Other bytes.
    Other,
}

/// Result of publishing a whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Published {
    /// It has its final name.
    Visible,
    /// Another file has the name, and this one waits.
    Held,
}

/// The transfer files in a store.
pub(super) struct TransferStore {
    pub(super) fs: Arc<dyn FileSystem>,
    pub(super) shared: Arc<Shared>,
    /// This collector's part of whole file names.
    pub(super) collector: String,
}

impl TransferStore {
    /// Creates the directories.
    pub(super) async fn open(&self) -> Result<(), FsError> {
        for directory in self.shared.layout.directories() {
            self.fs.mkdirs(&directory).await?;
        }
        Ok(())
    }

    fn number(&self) -> String {
        hex(&self.shared.env.entropy.bytes16())
    }

    /// Returns a new name below `whole`.
    pub(super) fn new_whole(&self, transfer: &str) -> String {
        format!("{transfer}.{}.{}", self.collector, self.number())
    }

    /// Writes a file; it is closed on return.
    async fn write(&self, path: &str, content: Bytes) -> Result<(), FsError> {
        let mut file = self.fs.create(path, CreateOptions::default()).await?;
        file.write(content).await?;
        file.close().await
    }

    /// Creates a file atomically. Returns `false` if it already existed.
    pub(super) async fn put(&self, path: &str, content: Bytes) -> Result<bool, FsError> {
        let work = self.shared.layout.work(&self.number());
        let written = match self.write(&work, content).await {
            Ok(()) => self.fs.rename(&work, path).await,
            Err(error) => Err(error),
        };
        match written {
            Ok(()) => Ok(true),
            Err(error) => {
                // If that fails, too, a scan removes it.
                drop(self.fs.delete(&work).await);
                if error.is_already_exists() { Ok(false) } else { Err(error) }
            }
        }
    }

    /// Reads the record at `path`, if it exists.
    pub(super) async fn record(&self, path: &str) -> Result<Option<Record>, FsError> {
        let bytes = match self.fs.read(path).await {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let record = serde_json::from_slice(&bytes);
        record.map(Some).map_err(|error| FsError::Failed {
            call: "read",
            path: path.to_owned(),
            source: error.into(),
        })
    }

    async fn put_record(&self, path: &str, record: &Record) -> Result<bool, FsError> {
        let bytes = serde_json::to_vec(record).expect("a record of text and numbers is JSON");
        self.put(path, bytes.into()).await
    }

    /// Reads the record of a finished transfer.
    pub(super) async fn done(&self, transfer: &str) -> Result<Option<Record>, FsError> {
        self.record(&self.shared.layout.done(transfer)).await
    }

    /// Returns whether the record of the transfer names a whole file.
    pub(super) async fn is_done(&self, transfer: &str) -> Result<bool, FsError> {
        self.is_there(&self.shared.layout.done(transfer)).await
    }

    async fn is_there(&self, path: &str) -> Result<bool, FsError> {
        match self.fs.stat(path).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Creates the directory for the parts of a transfer.
    pub(super) async fn begin(&self, transfer: &str) -> Result<(), FsError> {
        self.fs.mkdirs(&self.shared.layout.parts(transfer)).await
    }

    /// Stores a piece as a part. An existing part has the same bytes.
    pub(super) async fn store_part(&self, piece: &Piece<'_>) -> Result<(), FsError> {
        let layout = &self.shared.layout;
        let name = layout::part_name(Part { from: piece.offset, to: piece.end() });
        let path = layout.among_parts(piece.transfer, &name);
        self.put(&path, Bytes::copy_from_slice(piece.body)).await?;
        if let Some(digest) = piece.digest {
            let record = record_of(piece, digest, String::new());
            self.put_record(&layout.among_parts(piece.transfer, END), &record).await?;
        }
        Ok(())
    }

    /// Stores a file that is a single piece, and names it in the record of its transfer.
    pub(super) async fn store_whole(
        &self,
        piece: &Piece<'_>,
        digest: &str,
    ) -> Result<Claimed, FsError> {
        let whole = self.new_whole(piece.transfer);
        let path = self.shared.layout.whole(&whole);
        self.write(&path, Bytes::copy_from_slice(piece.body)).await?;
        self.claim(piece.transfer, record_of(piece, digest, whole)).await
    }

    /// Names this whole file in the record of the transfer. If the record already names another
    /// one, deletes this one.
    pub(super) async fn claim(&self, transfer: &str, mine: Record) -> Result<Claimed, FsError> {
        let path = self.shared.layout.done(transfer);
        if mutant!("file_without_record") || self.put_record(&path, &mine).await? {
            return Ok(Claimed::Same(mine));
        }
        let theirs = self.record(&path).await?;
        let gone = || FsError::NotFound { path };
        let theirs = theirs.ok_or_else(gone)?;
        if theirs.whole != mine.whole {
            self.fs.delete(&self.shared.layout.whole(&mine.whole)).await?;
        }
        let is_same = (theirs.size, &theirs.sha256) == (mine.size, &mine.sha256);
        Ok(if is_same { Claimed::Same(theirs) } else { Claimed::Other })
    }

    /// Gives the file that a record names its final name.
    pub(super) async fn publish(
        &self,
        record: &Record,
        transfer: &str,
    ) -> Result<Published, FsError> {
        let Shared { layout, options, measures, .. } = &*self.shared;
        let whole = layout.whole(&record.whole);
        let (mut number, mut is_made) = (1, false);
        while number <= NAMES_MAX {
            let visible = layout.visible(&record.file, number);
            let error = match self.fs.rename(&whole, &visible).await {
                Ok(()) => {
                    self.became_visible(record, transfer, &visible);
                    return Ok(Published::Visible);
                }
                Err(error) => error,
            };
            if !error.is_not_found() && !error.is_already_exists() {
                return Err(error);
            }
            if !self.is_there(&whole).await? {
                // This or another collector has already renamed it.
                return Ok(Published::Visible);
            }
            if error.is_not_found() {
                // If the directory disappears repeatedly, leave it to the next scan.
                if is_made {
                    return Err(error);
                }
                self.fs.mkdirs(split(&visible).0).await?;
                is_made = true;
                continue;
            }
            match options.taken_name {
                TakenName::Number => number += 1,
                TakenName::Hold => return Ok(Published::Held),
                TakenName::Replace => {
                    measures.taken_names.inc();
                    match self.fs.replace(&whole, &visible).await {
                        Err(error) if !error.is_not_found() => return Err(error),
                        Ok(()) => self.became_visible(record, transfer, &visible),
                        Err(_) => {}
                    }
                    return Ok(Published::Visible);
                }
            }
            if number == 2 {
                measures.taken_names.inc();
                let (sink, file) = (&self.shared.name, &record.file);
                tracing::warn!(%sink, file,
                    "another file has the name of a complete file; adding a number to the name of \
                     the complete file; no action needed");
            }
        }
        Ok(Published::Held)
    }

    fn became_visible(&self, record: &Record, transfer: &str, path: &str) {
        let Shared { name, measures, board, .. } = &*self.shared;
        measures.visible_files.inc();
        measures.visible_bytes.inc_by(record.size);
        board.set_last_commit(format!("{path}, {} bytes", record.size));
        tracing::info!(sink = %name, path, bytes = record.size, transfer, "file is visible");
    }
}

/// Builds the record for the file of this piece.
fn record_of(piece: &Piece<'_>, digest: &str, whole: String) -> Record {
    let (file, sha256) = (piece.file.to_owned(), digest.to_owned());
    Record { file, size: piece.size, sha256, whole }
}
