//! The encoding of one entry of the commit ledger.
//!
//! It has the frame of every file of the ledger: magic (`AQLEDGER`), version, length, body, CRC32C.
//! Unknown kinds of entries are rejected, because skipping one could repeat a batch.

use bytes::{Bytes, BytesMut};
use pipeline::{KeySet, Origin};
use prost::Message;

use super::dataset::{Token, WriterId, is_inside};
use super::frame::{self, EntryError};
use super::merge::{Merge, MergeBody};

const MAGIC: &[u8; 8] = b"AQLEDGER";

/// One entry of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its index; must equal the index of its file.
    pub index: u64,
    /// The writer that made it.
    pub author: WriterId,
    /// Identifies this attempt, so that its author recognises it when the answer was lost.
    pub attempt: Token,
    /// The kind of entry.
    pub kind: Kind,
}

/// The kinds of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// These batches are delivered: the files contain them and are published under their targets.
    Commit {
        /// The batches.
        keys: KeySet,
        /// The files, together one commit.
        files: Vec<StagedFile>,
    },
    /// This author must not commit anything more.
    Fence(WriterId),
    /// Closes the generation.
    Seal,
    /// These visible files become one.
    Merge(Merge),
}

/// One file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedFile {
    /// Path of the staged file, below the dataset's own directory.
    pub temp: String,
    /// Path of the published file, below the prefix.
    pub target: String,
    /// Bytes.
    pub len: u64,
    /// CRC32C of its content.
    pub crc: u32,
    /// Events in it.
    pub events: u64,
    /// Its events by origin, in order; empty if they were not counted.
    pub shares: Vec<Share>,
}

/// The events of one origin in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The origin of their batches.
    pub origin: Origin,
    /// The events.
    pub events: u64,
    /// The first of these batches, by epoch and number.
    pub first: (u64, u64),
    /// The last one.
    pub last: (u64, u64),
}

impl Share {
    /// Adds other events of the same origin.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

#[derive(Clone, PartialEq, Message)]
struct Body {
    #[prost(uint64, tag = "1")]
    index: u64,
    #[prost(bytes = "bytes", tag = "2")]
    collector: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    incarnation: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    attempt: Bytes,
    #[prost(oneof = "Operation", tags = "10, 11, 12, 13")]
    said: Option<Operation>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Operation {
    #[prost(message, tag = "10")]
    Commit(CommitBody),
    #[prost(message, tag = "11")]
    Fence(FenceBody),
    #[prost(message, tag = "12")]
    Seal(SealBody),
    #[prost(message, tag = "13")]
    Merge(MergeBody),
}

#[derive(Clone, PartialEq, Message)]
struct CommitBody {
    /// Encoding of [`KeySet`].
    #[prost(bytes = "bytes", tag = "1")]
    keys: Bytes,
    #[prost(message, repeated, tag = "2")]
    files: Vec<FileBody>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FileBody {
    #[prost(string, tag = "1")]
    temp: String,
    #[prost(string, tag = "2")]
    target: String,
    #[prost(uint64, tag = "3")]
    len: u64,
    #[prost(fixed32, tag = "4")]
    crc: u32,
    #[prost(uint64, tag = "5")]
    events: u64,
    #[prost(message, repeated, tag = "6")]
    shares: Vec<ShareBody>,
}

#[derive(Clone, PartialEq, Message)]
struct ShareBody {
    #[prost(bytes = "bytes", tag = "1")]
    origin: Bytes,
    #[prost(uint64, tag = "2")]
    events: u64,
    /// Epoch and number of the first batch, and of the last one.
    #[prost(uint64, repeated, tag = "3")]
    batches: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct FenceBody {
    #[prost(bytes = "bytes", tag = "1")]
    collector: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    incarnation: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct SealBody {}

impl Entry {
    /// The entry as bytes.
    pub fn encode(&self) -> Bytes {
        let said = match &self.kind {
            Kind::Commit { keys, files } => {
                let mut encoded = BytesMut::new();
                keys.encode(&mut encoded);
                let files = files.iter().map(FileBody::from_staged).collect();
                Operation::Commit(CommitBody { keys: encoded.freeze(), files })
            }
            Kind::Fence(author) => Operation::Fence(FenceBody {
                collector: bytes_of(author.collector),
                incarnation: bytes_of(author.incarnation),
            }),
            Kind::Seal => Operation::Seal(SealBody {}),
            Kind::Merge(merge) => Operation::Merge(MergeBody::from_merge(merge)),
        };
        let body = Body {
            index: self.index,
            collector: bytes_of(self.author.collector),
            incarnation: bytes_of(self.author.incarnation),
            attempt: bytes_of(self.attempt),
            said: Some(said),
        };
        frame::wrap(MAGIC, &body)
    }

    /// Decodes the entry of the file at `index`.
    ///
    /// # Errors
    /// The bytes are not a complete entry of a known version, or the entry has another index.
    pub fn decode(encoded: Bytes, index: u64) -> Result<Self, EntryError> {
        let body: Body = frame::unwrap(MAGIC, encoded)?;
        let damaged = |problem| EntryError::Damaged { problem };
        if body.index != index {
            return Err(EntryError::Misplaced { said: body.index, place: index });
        }
        let author = author_of(&body.collector, &body.incarnation)?;
        let kind = match body.said.ok_or(EntryError::Unknown)? {
            Operation::Commit(mut commit) => {
                let keys =
                    KeySet::decode(&mut commit.keys).map_err(|_| damaged("invalid batch keys"))?;
                let files = commit.files.into_iter().map(FileBody::into_file);
                Kind::Commit { keys, files: files.collect::<Result<_, _>>()? }
            }
            Operation::Fence(fence) => {
                Kind::Fence(author_of(&fence.collector, &fence.incarnation)?)
            }
            Operation::Seal(SealBody {}) => Kind::Seal,
            Operation::Merge(merge) => Kind::Merge(merge.into_merge()?),
        };
        Ok(Self { index, author, attempt: token_of(&body.attempt)?, kind })
    }
}

impl FileBody {
    pub(super) fn from_staged(file: &StagedFile) -> Self {
        Self {
            temp: file.temp.clone(),
            target: file.target.clone(),
            len: file.len,
            crc: file.crc,
            events: file.events,
            shares: file.shares.iter().map(ShareBody::from_share).collect(),
        }
    }

    /// Other collectors read the entry too, so its paths must not lead out of the dataset.
    pub(super) fn into_file(self) -> Result<StagedFile, EntryError> {
        if !is_inside(&self.temp) || !is_inside(&self.target) {
            return Err(EntryError::Damaged { problem: "invalid path" });
        }
        let Self { temp, target, len, crc, events, shares } = self;
        let shares = shares.into_iter().map(ShareBody::into_share).collect::<Result<_, _>>()?;
        Ok(StagedFile { temp, target, len, crc, events, shares })
    }
}

impl ShareBody {
    fn from_share(share: &Share) -> Self {
        let Share { origin, events, first, last } = *share;
        let batches = vec![first.0, first.1, last.0, last.1];
        Self { origin: Bytes::copy_from_slice(&origin.0), events, batches }
    }

    fn into_share(self) -> Result<Share, EntryError> {
        let damaged = EntryError::Damaged { problem: "invalid share of an origin" };
        let (Ok(origin), &[epoch, number, last_epoch, last_number]) =
            (self.origin.as_ref().try_into(), &self.batches[..])
        else {
            return Err(damaged);
        };
        let (first, last) = ((epoch, number), (last_epoch, last_number));
        Ok(Share { origin: Origin(origin), events: self.events, first, last })
    }
}

pub(super) fn bytes_of(token: Token) -> Bytes {
    Bytes::copy_from_slice(&token.0)
}

pub(super) fn token_of(bytes: &[u8]) -> Result<Token, EntryError> {
    let damaged = |_| EntryError::Damaged { problem: "invalid name" };
    bytes.try_into().map(Token).map_err(damaged)
}

pub(super) fn author_of(collector: &[u8], incarnation: &[u8]) -> Result<WriterId, EntryError> {
    Ok(WriterId { collector: token_of(collector)?, incarnation: token_of(incarnation)? })
}

#[cfg(test)]
mod tests;
