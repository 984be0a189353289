//! What can be set of the source, and what of it cannot be.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use kit::multiline::{Joining, Multiline};
use pipeline::BuildError;
use pipeline::units::{ByteSize, Period};
use schemars::JsonSchema;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::glob::{Exclusion, Pattern};
use super::lines::Limits;
use super::open_handles::OPEN_MIN;

/// Settings of the `tail_dir` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Patterns of the files to follow: `*`, `?`, `[…]`, `{…,…}`, and `**` for any number of
    /// directories; a list or a single pattern. Files may be created later. Compressed files
    /// (`.gz`, `.bz2`, `.xz`, `.zst`, `.Z`, `.lz4`, `.lzma`, `.br`) are skipped unless a pattern
    /// contains their suffix.
    #[serde(deserialize_with = "texts")]
    #[schemars(with = "Texts")]
    paths: Vec<String>,
    /// Patterns of files to skip: of their names, or of their paths if the pattern contains a `/`.
    /// Their positions are kept while the files exist.
    #[serde(default, deserialize_with = "texts")]
    #[schemars(with = "Texts")]
    exclude: Vec<String>,
    /// Position in files that exist at the very first start. Later files are read from their
    /// beginning.
    #[serde(default)]
    start_at: StartAt,
    /// Position file of a Flume agent whose source `taildir` is replaced: at the very first start
    /// each file continues at Flume's position. Later the position file is not read.
    flume_positions: Option<PathBuf>,
    /// Length limit of a line. Longer lines are cut, get the header `truncated`, and are counted.
    #[serde(default = "default_line_max")]
    line_max: ByteSize,
    /// Whether the CR before the LF of a line is removed. Not with `multiline`, whose rules define
    /// the text of an event.
    #[serde(default)]
    strip_cr: bool,
    /// Rules that join lines to one event, such as a message and its stack trace. Without them each
    /// line is an event.
    #[serde(default)]
    multiline: Option<Multiline>,
    /// Size limit of the lines in a batch.
    #[serde(default = "default_batch_bytes")]
    batch_bytes: ByteSize,
    /// Limit of lines in a batch.
    #[serde(default = "default_batch_events")]
    batch_events: u32,
    /// Whether events have a header with the path of their file.
    #[serde(default = "default_file_header")]
    file_header: bool,
    /// Header for the path.
    #[serde(default = "default_file_header_key")]
    file_header_key: String,
    /// Whether events have a header with the offset at which their line begins.
    #[serde(default)]
    offset_header: bool,
    /// Header for the offset.
    #[serde(default = "default_offset_header_key")]
    offset_header_key: String,
    /// Time after the last write at which a last line without LF is complete, in a renamed or
    /// deleted file.
    #[serde(default = "default_late_line_after")]
    late_line_after: Period,
    /// Interval between scans of the files while they grow. If the system reports changes, a quiet
    /// file is read immediately; if more than a full batch arrives in an interval, the interval
    /// becomes shorter, down to 5 ms.
    #[serde(default = "default_poll_min")]
    poll_min: Period,
    /// Longest interval while files do not grow, if the system does not report changes (a network
    /// file system). If it does, the interval is this or 5 s, whichever is longer. With very many
    /// files it is longer, so that scans use at most a twentieth of the time.
    #[serde(default = "default_poll_max")]
    poll_max: Period,
    /// Whether symbolic links to files and directories are followed. Otherwise only links before
    /// the first wildcard of a pattern are.
    #[serde(default = "default_follow_symlinks")]
    follow_symlinks: bool,
    /// Limit of open files; other files are opened when they grow. At most half of the open files
    /// that the process may have.
    #[serde(default = "default_open_max")]
    open_max: u32,
    /// Whether `/metrics` also shows the lag of each file (`aqueduct_tail_lag_bytes`): one series
    /// per followed file. The total is always shown.
    #[serde(default)]
    metrics_per_file: bool,
}

/// Where a file begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum StartAt {
    /// The first line.
    #[default]
    Beginning,
    /// The end of the file.
    End,
}

fn default_line_max() -> ByteSize {
    ByteSize::mib(1)
}

fn default_batch_bytes() -> ByteSize {
    ByteSize::mib(1)
}

fn default_batch_events() -> u32 {
    100_000
}

fn default_file_header() -> bool {
    true
}

fn default_file_header_key() -> String {
    "file".to_owned()
}

fn default_offset_header_key() -> String {
    "offset".to_owned()
}

fn default_late_line_after() -> Period {
    Period(Duration::from_secs(5))
}

fn default_poll_min() -> Period {
    Period(Duration::from_millis(20))
}

fn default_poll_max() -> Period {
    Period(Duration::from_millis(250))
}

fn default_open_max() -> u32 {
    512
}

fn default_follow_symlinks() -> bool {
    true
}

/// How a list of texts is written.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Texts {
    Many(Vec<String>),
    One(String),
}

/// A list of texts, or one text alone.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Texts;

    impl<'de> Visitor<'de> for Texts {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text or a list of texts")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(vec![text.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(list))
        }
    }

    deserializer.deserialize_any(Texts)
}

/// Settings as the tailer uses them.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) patterns: Vec<Pattern>,
    pub(super) exclusions: Vec<Exclusion>,
    pub(super) limits: Limits,
    /// Whether lines lose their CR.
    pub(super) strip_cr: bool,
    /// Which lines are one event.
    pub(super) joining: Option<Joining>,
    /// Header that gets the path.
    pub(super) file_header: Option<String>,
    /// Header that gets the offset of each line.
    pub(super) offset_header: Option<String>,
    /// Whether files that are there at the very first start are read from their end on.
    pub(super) from_end: bool,
    /// Flume's position file.
    pub(super) flume_positions: Option<PathBuf>,
    pub(super) late_line_after: Duration,
    /// Least and most time between two surveys.
    pub(super) poll_min: Duration,
    pub(super) poll_max: Duration,
    /// Files that are held open at once.
    pub(super) open_max: usize,
    /// Whether each file's lag is shown by itself too.
    pub(super) metrics_per_file: bool,
    /// Whether symbolic links are followed.
    pub(super) follow_symlinks: bool,
}

impl Config {
    /// The settings as the tailer uses them.
    ///
    /// # Errors
    /// What cannot be set.
    pub(super) fn options(self) -> Result<Options, BuildError> {
        if self.paths.is_empty() {
            return Err(BuildError::invalid("paths", "must have at least one file or pattern"));
        }
        let patterns = self.paths.iter().enumerate().map(|(at, text)| {
            Pattern::new(text)
                .map_err(|problem| BuildError::invalid(format!("paths.{at}"), problem))
        });
        let exclusions = self.exclude.iter().enumerate().map(|(at, text)| {
            Exclusion::new(text)
                .map_err(|problem| BuildError::invalid(format!("exclude.{at}"), problem))
        });
        if self.batch_events == 0 {
            return Err(BuildError::invalid("batch_events", "must be at least 1"));
        }
        if self.flume_positions.as_ref().is_some_and(|path| !path.is_absolute()) {
            let problem = "must be an absolute path; for `~`, write `${HOME}`";
            return Err(BuildError::invalid("flume_positions", problem));
        }
        if (self.open_max as usize) < OPEN_MIN {
            return Err(BuildError::invalid("open_max", "must be at least 8"));
        }
        if self.poll_min.0.is_zero() || self.poll_max < self.poll_min {
            let problem = "must be greater than 0 and at most `poll_max`";
            return Err(BuildError::invalid("poll_min", problem));
        }
        if self.strip_cr && self.multiline.is_some() {
            return Err(BuildError::invalid(
                "strip_cr",
                "must not be set with `multiline`: remove it",
            ));
        }
        let limits = Limits {
            line_bytes: bytes("line_max", self.line_max)?,
            batch_bytes: bytes("batch_bytes", self.batch_bytes)?,
            batch_events: self.batch_events as usize,
        };
        let joining = self.multiline.map(|it| it.joining(self.batch_bytes)).transpose()?;
        Ok(Options {
            patterns: patterns.collect::<Result<_, _>>()?,
            exclusions: exclusions.collect::<Result<_, _>>()?,
            limits,
            strip_cr: self.strip_cr,
            joining,
            file_header: self.file_header.then_some(self.file_header_key),
            offset_header: self.offset_header.then_some(self.offset_header_key),
            from_end: self.start_at == StartAt::End,
            flume_positions: self.flume_positions,
            late_line_after: self.late_line_after.0,
            poll_min: self.poll_min.0,
            poll_max: self.poll_max.0,
            open_max: self.open_max as usize,
            metrics_per_file: self.metrics_per_file,
            follow_symlinks: self.follow_symlinks,
        })
    }
}

/// A size that one buffer can have.
fn bytes(setting: &str, size: ByteSize) -> Result<usize, BuildError> {
    const MAX: ByteSize = ByteSize::mib(64);
    if size.0 == 0 || size > MAX {
        return Err(BuildError::invalid(setting, format!("must be from 1B to {MAX}, not {size}")));
    }
    Ok(size.0 as usize)
}
