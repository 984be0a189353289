//! `tail_dir`: follows every file that its patterns match, now or later, line by line.
//!
//! A line is what ends with LF; it goes on as the bytes that were read, whatever they are: invalid
//! UTF-8, NULs, carriage returns and empty lines too. Each line goes into each required channel
//! once, whatever happens to the file (rename, copytruncate, truncation, deletion) or to the agent
//! (kill, power): the position travels with the lines in the channel's own atomic write, and is
//! asked for at the next start.
//!
//! | module | what it does |
//! |---|---|
//! | `agreed` | batches are cut to what the next agents take |
//! | `glob` | patterns, and the walk that finds what they match |
//! | `identity` | which file is which: prints of what it holds; the stored position |
//! | `lines` | where lines end, and which is too long |
//! | `file` | one file and what each fact about it means |
//! | `tailer` | all files, and whose turn it is |
//! | `survey`, `strangers`, `read` | its activities: looking around, deciding who is new, reading |
//! | `ears` | how often changes are listened to |
//! | `unmet` | who was renamed before anybody looked |
//! | `heed` | what a change that the system tells means |
//! | `handles` | which files are held open |
//! | `names` | what names tell, which are bytes |
//! | `named` | which files of an earlier run are followed |
//! | `report` | what is said of files and patterns |
//! | `pace` | when there is a turn |
//! | `buffers` | memory of large reads, used again |
//! | `bundle` | little of many files in one batch |
//! | `recover` | what the channels remember of an earlier run |
//! | `feed` | chunks into the channels, each file in order |
//!
//! ```text
//!   run ──turn──► Tailer (on a thread that may block): survey? read, read, …
//!    ▲              │ chunks = lines + position
//!    │ settled      ▼
//!   Feed ◄───────────  chunks of a file in turn into all channels that lack them
//! ```
//!
//! What is treated in its own way, and counted in `source_anomalies`:
//!
//! | reason | what happens |
//! |---|---|
//! | `line_cut` | longer than `line_max`: its beginning goes on with the header `truncated` |
//! | `late_line` | without LF, in a file that was renamed or deleted and is quiet: it is a line |
//! | `truncated` | what was read is gone from it: a copy is looked for, the file read anew |
//! | `copy_held_back` | holds what its namesake begins with, as copytruncate makes it: not read |
//! | `unreadable` | a file or directory: said once, tried until it works |
//! | `vanished_unread` | it is gone, and what was behind its position, if anything, is not read |
//! | `compressed_passed_over` | called as a compressed file, and no pattern names that ending |
//! | `link_leads_out` | a link leads out of the watched directories; it is followed |
//!
//! What nobody can promise: lines that were cut away before they were read and lie in no copy
//! beside the file; files that came and were renamed to a name that no pattern matches while the
//! agent was down, or where the system does not tell of moves, as on a network file system (a
//! pattern such as `access.log*` matches those too); of lines that are all alike,
//! without a time, those that only a rotated name was ever seen of, for a copy looks like that; a
//! file that is written anew with the content that it had, or a new one with the content of one that
//! was deleted: they are taken for what was read.
//!
//! # Which files
//!
//! What the patterns name today is read; what they named when an earlier run read it, and do not name
//! any more, is not (`named`). Compressed files are passed over unless a pattern names their ending.
//! Names are bytes; headers, labels and log lines show those that are no UTF-8 as `\xff`. Symbolic
//! links are followed unless `follow_symlinks` says otherwise, and reported where one leads out of the
//! directories that the patterns spell out.

mod agreed;
mod buffers;
mod bundle;
mod ears;
mod feed;
mod file;
mod glob;
mod handles;
mod heed;
mod identity;
mod lines;
mod named;
mod names;
mod pace;
mod read;
mod recover;
mod report;
mod strangers;
mod survey;
mod tailer;
#[cfg(test)]
mod tests;
mod unmet;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pipeline::env::Watch;
use pipeline::units::{ByteSize, Period};
use pipeline::{
    BuildContext, BuildError, Component, Env, FlumeKey, Guarantee, Metrics, Source, SourceContext,
    SourceError, Unit,
};
use schemars::JsonSchema;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::time::Instant;

use ears::Ears;
use feed::{Feed, Target};
use glob::{Exclusion, Pattern};
use handles::OPEN_MIN;
use lines::Limits;
use pace::Pace;
use tailer::{Chunk, Options, Tailer};

/// How long the source waits at its end for what is on its way.
const FINISH_WITHIN: Duration = Duration::from_secs(2);

/// Settings of the `tail_dir` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Patterns of the files to follow: `*`, `?`, `[…]`, `{…,…}`, and `**` for any number of
    /// directories; or a single one. What does not exist yet may come later. Compressed files (`.gz`,
    /// `.bz2`, `.xz`, `.zst`, `.Z`, `.lz4`, `.lzma`, `.br`) are passed over unless a pattern names
    /// their ending.
    #[serde(deserialize_with = "texts")]
    #[schemars(with = "Texts")]
    paths: Vec<String>,
    /// Patterns of files to leave out: of their names, or of their paths where there is a `/`.
    /// Their positions are kept while the files exist.
    #[serde(default, deserialize_with = "texts")]
    #[schemars(with = "Texts")]
    exclude: Vec<String>,
    /// Where files begin that are there at the very first start. Later ones are read from their
    /// beginning.
    #[serde(default)]
    start_at: StartAt,
    /// Longest line that is kept whole. Longer ones are cut there, get the header `truncated`, and
    /// are counted.
    #[serde(default = "default_line_max")]
    line_max: ByteSize,
    /// Most bytes of lines in a batch.
    #[serde(default = "default_batch_bytes")]
    batch_bytes: ByteSize,
    /// Most lines in a batch.
    #[serde(default = "default_batch_events")]
    batch_events: u32,
    /// Whether events carry the path of their file.
    #[serde(default = "default_file_header")]
    file_header: bool,
    /// Header that carries the path.
    #[serde(default = "default_file_header_key")]
    file_header_key: String,
    /// Whether events carry the offset at which their line begins.
    #[serde(default)]
    offset_header: bool,
    /// Header that carries the offset.
    #[serde(default = "default_offset_header_key")]
    offset_header_key: String,
    /// How long after the last write a last line without LF counts as ended, in a file that was
    /// renamed or deleted.
    #[serde(default = "default_late_line_after")]
    late_line_after: Period,
    /// Pause between two looks at the files while they grow. Where the system tells of changes, a
    /// file that was quiet is read at once, and where more than a full batch comes in a pause it is
    /// shorter, down to 5 ms.
    #[serde(default = "default_poll_min")]
    poll_min: Period,
    /// Longest pause while they do not, and the system does not tell of changes (a network file
    /// system); where it does, the pause is 5 s or this, whichever is longer. With very many files
    /// pauses are longer, so that looking takes no more than a twentieth of the time.
    #[serde(default = "default_poll_max")]
    poll_max: Period,
    /// Whether symbolic links are followed, to files and to directories. Without, those are that a
    /// pattern spells out before its first wildcard, and no others.
    #[serde(default = "default_follow_symlinks")]
    follow_symlinks: bool,
    /// Most files held open at once; others are opened when they grow. Never more than half of the
    /// open files that the process may have.
    #[serde(default = "default_open_max")]
    open_max: u32,
    /// Whether `/metrics` shows the lag of each file too (`aqueduct_tail_lag_bytes`): one series for
    /// each file that is followed. The sum of all of them is always there.
    #[serde(default)]
    metrics_per_file: bool,
}

/// Where a file begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum StartAt {
    /// At its first line.
    #[default]
    Beginning,
    /// Behind what it holds already.
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

impl Component for Config {
    const KIND: &'static str = "tail_dir";
    const FLUME: &'static [FlumeKey] = &[
        FlumeKey::new("batchSize", "batch_events", Unit::Count),
        FlumeKey::new("fileHeader", "file_header", Unit::Flag),
        FlumeKey::new("fileHeaderKey", "file_header_key", Unit::Text),
        FlumeKey::new("byteOffsetHeader", "offset_header", Unit::Flag),
    ];
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        let options = self.options()?;
        let (env, metrics) = (cx.env.clone(), cx.metrics.clone());
        Ok(Box::new(TailDir { name: cx.name.clone(), options, env, metrics }))
    }
}

impl Config {
    fn options(self) -> Result<Options, BuildError> {
        if self.paths.is_empty() {
            return Err(BuildError::invalid("paths", "name at least one file or pattern"));
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
            return Err(BuildError::invalid("batch_events", "a batch holds at least one line"));
        }
        if (self.open_max as usize) < OPEN_MIN {
            return Err(BuildError::invalid("open_max", "at least 8 files are held open"));
        }
        if self.poll_min.0.is_zero() || self.poll_max < self.poll_min {
            let problem = "it is more than nothing and at most `poll_max`";
            return Err(BuildError::invalid("poll_min", problem));
        }
        let limits = Limits {
            line_bytes: bytes("line_max", self.line_max)?,
            batch_bytes: bytes("batch_bytes", self.batch_bytes)?,
            batch_events: self.batch_events as usize,
        };
        Ok(Options {
            patterns: patterns.collect::<Result<_, _>>()?,
            exclusions: exclusions.collect::<Result<_, _>>()?,
            limits,
            file_header: self.file_header.then_some(self.file_header_key),
            offset_header: self.offset_header.then_some(self.offset_header_key),
            from_end: self.start_at == StartAt::End,
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
        return Err(BuildError::invalid(
            setting,
            format!("it is between 1B and {MAX}, not {size}"),
        ));
    }
    Ok(size.0 as usize)
}

struct TailDir {
    name: Arc<str>,
    options: Options,
    env: Env,
    metrics: Metrics,
}

#[async_trait]
impl Source for TailDir {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn batch_bytes(&self) -> u64 {
        self.options.limits.batch_bytes as u64
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let known = cx.intake.positions(&self.name);
        let files = recover::recover(&self.name, &known, Instant::now());
        let (options, metrics) = (self.options.clone(), self.metrics.clone());
        let watch = self.watch();
        let mut ears = Ears::new(watch.clone(), &options);
        let name = self.name.clone();
        let mut tailer = Tailer::new(name, options, self.env.clone(), metrics, files, watch);
        tailer.agree_with(cx.intake.clone());
        tailer.fit_open_max();
        tailer.say_relative();
        tailer.show_reasons();
        let mut feed = Feed::new(Target {
            source: self.name.clone(),
            intake: cx.intake.clone(),
            entropy: self.env.entropy.clone(),
            trouble: Arc::default(),
        });
        let mut pace = Pace::new(self.env.clone(), tailer);
        let (mut settled, mut changes) = (Vec::new(), BTreeSet::new());
        let mut is_open = false;
        loop {
            pace.start_turn(&mut settled, &mut changes, feed.room());
            tokio::select! {
                biased;
                () = cx.stop.cancelled() => break,
                stored = feed.next() => settled.extend(stored?),
                heard = ears.changed() => changes.extend(heard),
                chunks = pace.next() => {
                    // The patterns have been looked for, whatever they match.
                    if !std::mem::replace(&mut is_open, true) {
                        cx.intake.opened();
                    }
                    ears.note(chunks.iter().map(Chunk::bytes).sum());
                    feed.push(chunks);
                }
            }
        }
        if tokio::time::timeout(FINISH_WITHIN, feed.finish()).await.is_err() {
            tracing::debug!(source = %self.name, "stopped while a batch waited for its channels");
        }
        Ok(())
    }
}

impl TailDir {
    /// What tells of changes, where there is such a thing.
    fn watch(&self) -> Option<Arc<dyn Watch>> {
        let watch = self.env.disk.watch();
        let said = |error: &io::Error| {
            tracing::info!(source = %self.name, %error, "changes are not told here");
        };
        watch.inspect_err(said).ok()
    }
}
