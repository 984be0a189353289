//! The durable channel: acknowledged batches survive `kill -9` and power loss.
//!
//! ```text
//!  put ─► encode, checksum ─► queue ─► leader: one group, one synchronous write ─► answer
//!                                        │                    │
//!                                        ▼                    ▼
//!                               log/<id>.seg (the truth)   tail in memory ─► take ─► commit
//!                                        │ sealed                              │      │
//!                                        ▼                                     │      ▼
//!                               meta/ (sled: index of the segment) ◄── far behind   ACK, with
//!                                                                                the next group
//! ```
//!
//! | module | contents |
//! |---|---|
//! | `channel` | the [`Channel`] that an agent uses |
//! | `core`, `state` | the shared parts: files, and a state behind one lock |
//! | `commit` | from a put to durable bytes: group commit |
//! | `log` | the segment files and their bytes |
//! | `read` | takes: the tail in memory, reading ahead, wake-ups |
//! | `index` | locations of batches: by ticket in memory, by segment in sled |
//! | `recovery` | opens a directory; handles damage; answers an operator's queries |
//! | `rotation` | adds and removes keys in their file |
//! | `space` | capacity and full disks |
//! | `background` | work on files that only closing waits for |
//!
//! A channel needs only its segments to open: every segment begins with a summary of all earlier
//! ones, so a segment can be deleted as soon as every consumer has committed it. sled holds the
//! index of each sealed segment, for late takes; you may delete it at any time.
//!
//! # Invariants
//!
//! 1. A put is answered only after its whole group is on the disk.
//! 2. Groups are written one after the other: a sound group proves that all earlier groups were
//!    durable. Damage and torn ends can therefore be distinguished.
//! 3. A segment begins, durably, before anything is written after its STATE. If a write fails, its
//!    segment is given up, and the next STATE records its end: data of the failed write cannot
//!    reappear, so its puts may be answered as failed. Until a next segment can begin, they are not
//!    answered.
//! 4. A file is reused or removed only after every consumer's commit of all its batches is on the
//!    disk. The oldest files are free immediately; files after one that stays are freed when a
//!    segment begins. Segments without batches therefore do not accumulate, however often the
//!    channel is opened or a write fails. `read/drain_throttle.rs` sets the pace of a backlog,
//!    `log/trimming.rs` the pace of removing free files, and `log/segment_pool.rs` how many of them
//!    stay.
//! 5. A sequence is used once: it increases only with a written group, and the epoch increases,
//!    durably, at every start.
//! 6. Memory does not grow with the backlog: a segment far from every consumer costs 48 bytes.
//! 7. Commits never compete with puts for room: while there is no next segment, puts leave some
//!    room of the open one to commits. `space/full_disk.rs` lists the effects of a full disk.
//! 8. After `close` returns, no work continues in the directory: another process may use it.
//!
//! # Layout
//!
//! ```text
//! <channel>/LOCK                pid of the process that uses it
//! <channel>/channel             format, uuid, origin, epoch
//! <channel>/log/<16 hex>.seg    segments; also files of old ones, for reuse
//! <channel>/log/<16 hex>.gone   an old one that is being removed, in parts
//! <channel>/log/reserve-<0|1>   room for starts and commits on a full disk
//! <channel>/quarantine/         damaged frames
//! <channel>/meta/               sled
//!
//! segment    header block (4 KiB) │ STATE group │ STATE group, once more │ group │ group │ …
//! group      frame │ frame │ … │ zeros up to a multiple of 4 KiB
//!
//! frame  0   u32  CRC32C of bytes 4.. of header and envelope, seeded: uuid, segment, offset
//!        4   u32  CRC32C of the body
//!        8   u32  bytes of the envelope
//!        12  u32  bytes of the body
//!        16  u64  ticket of its first batch with events, or the next one to be assigned
//!        24  u32  number of its tickets
//!        28  u8   kind: 1 PUT, 2 ACK, 3 CONSUMERS, 4 STATE, 5 FORGET
//!        29  u8   flags: 1 first of its group, 2 sealed
//!        30  u8   coding of the body as a whole: 0 = none (batches may be compressed one by one)
//!        31  u8   0
//!        32  envelope │ body │ zeros up to a multiple of 8
//! ```
//!
//! All numbers are little-endian. Bytes after an envelope's content have no meaning, nor does an
//! ACK without commits: both fill gaps, so that a large PUT begins at a block (see
//! `log/layout.rs`). See `log/segment.rs` for the header block and `log/records.rs` for the
//! envelopes. This is format 2. The channel also reads format 1, which has no sealed frames, no LZ4
//! and no keys in its STATE; the next start converts it.
//!
//! # Sealing
//!
//! With `encryption` set, envelope and body of every frame of a new segment are sealed (see
//! `log/seal.rs`): events, positions of sources, identities and commits. The checksums cover the
//! sealed bytes, so that damage is found without a key; quarantined frames stay sealed.
//!
//! | in clear text | location |
//! |---|---|
//! | kind, tickets and lengths of frames, the number and check of their key | headers of frames |
//! | uuid, origin and epoch of the channel | `channel`, the first block of each segment |
//! | offsets, lengths, numbers of events, times, identities | `meta/`, which contains no event |
//! | times and sizes of writes | the file system |
//!
//! A keyring has numbered keys ([`Encryption`]); the one with the highest number seals each new
//! segment. A channel does not open while a key is missing, or another key has its number. It does
//! not mistake this for damage, because every STATE names the keys of the live segments. Sealing
//! protects against readers of the disk. A writer cannot change a sealed frame without detection,
//! but can remove files or restore old ones.

mod background;
mod channel;
pub(crate) mod commit;
mod core;
mod index;
pub(crate) mod log;
mod read;
mod recovery;
pub mod rotation;
mod space;
mod state;

pub use log::keys::Encryption;
#[cfg(feature = "testkit")]
pub(crate) use recovery::fuzzed;
pub use recovery::inspect;
pub(crate) use space::capacity::no_room;
pub use space::when_full::Overflow;

use std::ops::RangeInclusive;
use std::time::Duration;

use pipeline::units::{ByteSize, Period};
use pipeline::{BuildContext, BuildError, Channel, Component};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The durable channel keeps events on disk until every sink has committed them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Size limit of the channel; never more than 80 % of the space that the disk has for it. When
    /// it is full, puts wait.
    pub capacity: ByteSize,
    /// Limit of the number of events. Default: no limit.
    pub capacity_events: Option<u64>,
    /// Behaviour of puts when the channel is full.
    pub overflow: Overflow,
    /// Size of one segment file. It is smaller if the capacity is below eight segments, and up to
    /// eight times as large if thousands of files are followed.
    pub segment_bytes: ByteSize,
    /// Size of the newest events that stay in memory, for sinks that keep up.
    pub tail_memory: ByteSize,
    /// Number of empty segment files that are always kept for reuse.
    pub pool: u32,
    /// Time after which further empty segment files are deleted. Reused files accept writes faster
    /// than new ones. If less than a tenth of the disk is free, or with "0s", they are deleted
    /// immediately.
    pub pool_idle_max: Period,
    /// Location of the index of sealed segments.
    pub index: IndexKind,
    /// Compression of batches on disk. It costs CPU time if the disk is fast.
    pub compression: Compression,
    /// Encryption of the data on disk. Default: none.
    pub encryption: Option<Encryption>,
    /// Store each batch once, also if it is resent, and let sinks detect repeats. DANGEROUS to
    /// switch off: each resent batch, and each batch that a killed sink had delivered, becomes a
    /// duplicate. This setting exists for tests.
    pub dedupe: bool,
}

/// Location of the index of sealed segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IndexKind {
    /// In sled, in the directory of the channel.
    #[default]
    Sled,
    /// In memory only: the index is read from the segments when it is needed. For simulated disks.
    None,
}

/// How batches are compressed on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// No compression.
    #[default]
    None,
    /// zstd, at its fastest level. Batches that do not shrink are stored uncompressed.
    Zstd,
    /// LZ4 blocks: larger than zstd, and cheaper. Batches that do not shrink are stored
    /// uncompressed.
    Lz4,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            capacity: ByteSize(8 << 30),
            capacity_events: None,
            overflow: Overflow::Block,
            segment_bytes: ByteSize::mib(32),
            tail_memory: ByteSize::mib(8),
            pool: 2,
            pool_idle_max: Period(Duration::from_secs(300)),
            index: IndexKind::Sled,
            compression: Compression::None,
            encryption: None,
            dedupe: true,
        }
    }
}

impl Config {
    /// Room of a segment file: as configured, and up to eight times as much for a large beginning,
    /// but at most an eighth of the capacity.
    fn segment_rooms(&self) -> RangeInclusive<u64> {
        const LARGER: u64 = 8;
        let eighth = (self.capacity.0 / 8).next_multiple_of(log::segment::BLOCK as u64);
        let least = self.segment_bytes.0.next_multiple_of(log::segment::BLOCK as u64).min(eighth);
        least..=(least * LARGER).min(eighth)
    }
}

const CAPACITY_MIN: u64 = 1 << 20;
const SEGMENT_MIN: u64 = 64 << 10;
const SEGMENT_MAX: u64 = 1 << 30;

/// Anomalies of a channel on disk.
pub(crate) const ANOMALIES: &[&str] = &[
    "torn_tail_bytes",
    "damaged_place",
    "damaged_batch",
    "lost_batch",
    "duplicate_batch",
    "duplicate_event",
    "dropped_oldest_event",
    "dropped_newest_event",
    "disk_full",
    "segment_given_up",
    "keys_not_read",
    "mended_batch",
    "given_up_events",
    "renamed_life",
];

impl Component for Config {
    const KIND: &'static str = "durable";
    const ANOMALIES: &[&str] = ANOMALIES;
    type Role = dyn Channel;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Channel>, BuildError> {
        if self.capacity.0 < CAPACITY_MIN {
            return Err(BuildError::invalid("capacity", "must be at least 1MiB"));
        }
        if !(SEGMENT_MIN..=SEGMENT_MAX).contains(&self.segment_bytes.0) {
            let problem = "must be from 64KiB to 1GiB";
            return Err(BuildError::invalid("segment_bytes", problem));
        }
        if self.capacity_events == Some(0) {
            return Err(BuildError::invalid("capacity_events", "must be at least 1"));
        }
        if let Some(encryption) = &self.encryption {
            encryption.validate()?;
        }
        Ok(Box::new(channel::Durable::new(self, cx)))
    }
}
