//! The durable channel: what it has said yes to survives `kill -9` and power loss.
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
//! | where | what lives there |
//! |---|---|
//! | `channel` | the [`Channel`] that an agent sees |
//! | `core`, `state` | what the parts share: files, and a state behind one lock |
//! | `commit` | from a put to bytes that are durable: group commit |
//! | `log` | the segment files and their bytes |
//! | `read` | takes: the tail in memory, reading ahead, wake-ups |
//! | `index` | where batches lie: by ticket in memory, by segment in sled |
//! | `recovery` | opening a directory; damage; what an operator can ask |
//! | `rotation` | keys that come and go in their file |
//! | `space` | capacity and full disks |
//! | `background` | work on files that only closing waits for |
//!
//! Nothing but the segments is needed to open a channel: every segment begins with all that the
//! earlier ones said, so a segment can go as soon as every consumer is done with it. sled holds the
//! index of each sealed segment, for takes that come late; it may be deleted at any time.
//!
//! # Invariants
//!
//! 1. A put is answered after its whole group is on the disk, never before.
//! 2. Groups are written one after the other: a sound group proves that those before it were
//!    durable. So damage and torn ends can be distinguished.
//! 3. A segment is begun, durably, before anything is written behind its STATE. If a write fails
//!    its segment is given up, and the next STATE says where it ends: what the failed write left
//!    there cannot come back, so its puts may be answered that nothing is stored. Until a next
//!    segment can be begun they are not answered.
//! 4. A file is used again or removed only after every consumer's commit of all its batches is on
//!    the disk. The oldest ones are free at once, those behind one that stays when a segment is
//!    begun: so segments without batches do not add up, however often it is opened or writes fail.
//!    How fast a backlog may leave is said in `read/drain_throttle.rs`, how fast free files do in
//!    `log/trimming.rs`, and how many stay in `log/segment_pool.rs`.
//! 5. An own sequence is used once: it goes up only with a group that was written, and the epoch
//!    goes up, durably, at every start.
//! 6. Memory does not grow with the backlog: a segment far from every consumer is a line of 48
//!    bytes.
//! 7. Acknowledging needs no room that puts could take: while there is no next segment, puts leave
//!    some of the open one to it. What a full disk stops and what not is said in
//!    `space/full_disk.rs`.
//! 8. When `close` returns nothing goes on in the directory any more: it may be another one's then.
//!
//! # Layout
//!
//! ```text
//! <channel>/LOCK                pid of the process that uses it
//! <channel>/channel             format, uuid, origin, epoch
//! <channel>/log/<16 hex>.seg    segments; also files of old ones, to be used again
//! <channel>/log/<16 hex>.gone   an old one that is being given back to the disk, in parts
//! <channel>/log/reserve-<0|1>   room for starts and commits on a full disk
//! <channel>/quarantine/         frames that were found damaged
//! <channel>/meta/               sled
//!
//! segment    header block (4 KiB) │ STATE group │ STATE group, once more │ group │ group │ …
//! group      frame │ frame │ … │ zeros up to a multiple of 4 KiB
//!
//! frame  0   u32  CRC32C of bytes 4.. of header and envelope, seeded: uuid, segment, offset
//!        4   u32  CRC32C of the body
//!        8   u32  bytes of the envelope
//!        12  u32  bytes of the body
//!        16  u64  ticket of its first batch with events, or the next to be given
//!        24  u32  tickets that it takes
//!        28  u8   kind: 1 PUT, 2 ACK, 3 CONSUMERS, 4 STATE, 5 FORGET
//!        29  u8   flags: 1 first of its group, 2 sealed
//!        30  u8   coding of the body as a whole: 0 = none (batches may be compressed one by one)
//!        31  u8   0
//!        32  envelope │ body │ zeros up to a multiple of 8
//! ```
//!
//! All numbers are little-endian. What follows an envelope's content means nothing, and so does an
//! ACK without commits: both fill gaps, so that a large PUT begins at a block (see
//! `log/layout.rs`). The header block is drawn in `log/segment.rs`, the envelopes in
//! `log/records.rs`. This is format 2; format 1, which has no sealed frames, no LZ4 and no keys in
//! its STATE, is read, and ends with the next start.
//!
//! # Sealing
//!
//! With `encryption` set, envelope and body of every frame of a new segment are sealed
//! (`log/seal.rs` says how): events, positions of sources, identities and what is committed. The
//! checksums are of the sealed bytes, so that damage is found without a key; quarantined frames
//! stay sealed.
//!
//! | in clear text | where |
//! |---|---|
//! | kind, tickets and lengths of frames, the number and check of their key | headers of frames |
//! | uuid, origin and epoch of the channel | `channel`, the first block of each segment |
//! | offsets, lengths, numbers of events, times, identities | `meta/`, which holds no event |
//! | when something was written, and how much | the file system |
//!
//! A key is one of a list, by number ([`Encryption`]); the highest one seals each new segment.
//! A channel does not open while a key is missing, or another one has its number, and takes nothing
//! for damaged because of it: every STATE names the keys of the live segments. Sealing keeps a
//! reader of the disk out. A writer to it cannot change a sealed frame unseen, but can take files
//! away or put old ones back.

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
pub use space::overflow::Overflow;

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
    /// Room of a segment file: as configured, and up to eight times as much where it begins with
    /// much, but at most an eighth of the capacity.
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

impl Component for Config {
    const KIND: &'static str = "durable";
    const ANOMALIES: &[&str] = &[
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
    type Role = dyn Channel;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Channel>, BuildError> {
        if self.capacity.0 < CAPACITY_MIN {
            return Err(BuildError::invalid("capacity", "it must be at least \"1MiB\""));
        }
        if !(SEGMENT_MIN..=SEGMENT_MAX).contains(&self.segment_bytes.0) {
            let problem = "it must be between \"64KiB\" and \"1GiB\"";
            return Err(BuildError::invalid("segment_bytes", problem));
        }
        if self.capacity_events == Some(0) {
            return Err(BuildError::invalid("capacity_events", "it must be at least 1"));
        }
        if let Some(encryption) = &self.encryption {
            encryption.validate()?;
        }
        Ok(Box::new(channel::Durable::new(self, cx)))
    }
}
