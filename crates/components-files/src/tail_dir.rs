//! `tail_dir`: follows every file that its patterns match, now or later, line by line.
//!
//! A line is what ends with LF; it is an event, unless lines are joined (`multiline`). It goes on
//! as the bytes that were read, whatever they are: invalid UTF-8, NULs, carriage returns and empty
//! lines too. Each line goes into each required channel once, whatever happens to the file
//! (rename, copytruncate, truncation, deletion) or to the agent
//! (kill, power): the position travels with the lines in the channel's own atomic write, and is
//! asked for at the next start.
//!
//! | module | what it does |
//! |---|---|
//! | `config` | the settings |
//! | `agreed` | batches are cut to what the next agents take |
//! | `glob` | patterns, and the walk that finds what they match |
//! | `identity` | which file is which: prints of what it holds; the stored position |
//! | `multiline`, `open_events` | lines that are one event, and when that ends |
//! | `lines` | where lines end, and which is too long |
//! | `file` | one file and what each fact about it means |
//! | `tailer` | whose turn it is |
//! | `followed` | all files: by number, inode and place, and their lag |
//! | `schedule` | when the next survey is due |
//! | `survey`, `candidates`, `read` | surveys, deciding what is new, reading |
//! | `listener` | change notifications, coalesced |
//! | `renames` | files that were renamed before a survey found them |
//! | `changes` | what a reported change means |
//! | `handles` | which files are held open |
//! | `names` | what names tell, which are bytes |
//! | `named` | which files of an earlier run are followed |
//! | `report` | what is said of files and patterns |
//! | `pace` | when there is a turn |
//! | `buffers` | memory of large reads, used again |
//! | `bundle` | little of many files in one batch |
//! | `recover` | what the channels remember of an earlier run |
//! | `flume` | where a Flume agent stood before the first start |
//! | `notes` | what a survey has the channels know |
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
//! | `event_divided` | of several lines, and longer than `multiline` allows: the next line begins another |
//! | `line_cut` | longer than `line_max`: its beginning goes on with the header `truncated` |
//! | `late_line` | without LF, in a file that was renamed or deleted and is quiet: it is a line |
//! | `truncated` | what was read is gone from it: a copy is looked for, the file read anew |
//! | `copy_held_back` | holds what its namesake begins with, as copytruncate makes it: not read |
//! | `unreadable` | a file or directory: said once, tried until it works |
//! | `vanished_read` | it vanished while the agent was down, after it was read to its end |
//! | `vanished_unread` | it vanished before it was read to its end, or that is not known |
//! | `compressed_passed_over` | called as a compressed file, and no pattern names that ending |
//! | `link_leads_out` | a link leads out of the watched directories; it is followed |
//!
//! What cannot be promised: lines that were cut away before they were read and lie in no copy
//! next to the file; files that came and were renamed to a name that no pattern matches while the
//! agent was down, or where the system does not tell of moves, as on a network file system (a
//! pattern such as `access.log*` matches those too); of lines that are all alike,
//! without a time, those that only a rotated name was ever seen of, for a copy looks like that; a
//! file that is written anew with the content that it had, or a new one with the content of one
//! that was deleted: they are taken for what was read.
//!
//! # Which files
//!
//! What the patterns name today is read; what they named when an earlier run read it, and do not
//! name any more, is not (`named`). Compressed files are passed over unless a pattern names their
//! ending. Names are bytes; headers, labels and log lines show those that are no UTF-8 as `\xff`.
//! Symbolic links are followed unless `follow_symlinks` says otherwise, and reported where one
//! leads out of the directories that the patterns spell out.

mod agreed;
mod buffers;
mod bundle;
mod candidates;
mod changes;
mod config;
mod feed;
mod file;
mod flume;
mod followed;
mod glob;
mod handles;
mod identity;
mod lines;
mod listener;
mod multiline;
mod named;
mod names;
mod notes;
mod open_events;
mod pace;
mod read;
mod recover;
mod renames;
mod report;
mod schedule;
mod shown;
mod survey;
mod tailer;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metrics::Metrics;
use pipeline::env::Watch;
use pipeline::{
    BuildContext, BuildError, Component, Env, FileBoard, GivesAgain, Guarantee, Source,
    SourceContext, SourceError,
};
use tokio::time::Instant;

pub use config::Config;
use config::Options;
use feed::{Feed, Target};
use flume::FlumePositions;
use listener::ChangeListener;
use pace::Pace;
use tailer::{Chunk, Tailer};

/// How long the source waits at its end for what is on its way.
const FINISH_WITHIN: Duration = Duration::from_secs(2);

impl Component for Config {
    const KIND: &'static str = "tail_dir";
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        let options = self.options()?;
        let (env, metrics, board) = (cx.env.clone(), cx.metrics.clone(), cx.get());
        let name = cx.name.clone();
        Ok(Box::new(TailDir { name, options, env, metrics, board, opened: None }))
    }
}

struct TailDir {
    name: Arc<str>,
    options: Options,
    env: Env,
    metrics: Metrics,
    board: FileBoard,
    /// Between opening and running.
    opened: Option<Opened>,
}

/// A tailer whose patterns have been looked for once, and what that look has read.
struct Opened {
    pace: Pace,
    listener: ChangeListener,
    feed: Feed,
    first: Vec<Chunk>,
}

#[async_trait]
impl Source for TailDir {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn gives_again(&self) -> GivesAgain {
        GivesAgain::ByPosition
    }

    fn batch_bytes(&self) -> u64 {
        self.options.limits.batch_bytes as u64
    }

    async fn open(&mut self, cx: &SourceContext) -> Result<(), SourceError> {
        let known = cx.positions.positions(&self.name);
        let path = self.options.flume_positions.clone();
        let flume = FlumePositions::find(&self.name, &self.env, path, &known).await?;
        let files = recover::recover(&self.name, &known, flume.as_ref(), Instant::now());
        let (options, metrics) = (self.options.clone(), self.metrics.clone());
        let watch = self.watch();
        let listener = ChangeListener::new(watch.clone(), &options);
        let name = self.name.clone();
        let mut tailer = Tailer::new(name, options, self.env.clone(), metrics, files, watch);
        tailer.agree_with(cx.intake.clone());
        tailer.show_on(self.board.clone());
        tailer.begin_where_flume_stood(flume, &known);
        tailer.fit_open_max();
        tailer.say_relative();
        tailer.show_reasons();
        let feed = Feed::new(Target {
            source: self.name.clone(),
            intake: cx.positions.clone(),
            entropy: self.env.entropy.clone(),
            trouble: Arc::default(),
        });
        let mut pace = Pace::new(self.env.clone(), tailer);
        pace.start_turn(&mut Vec::new(), &mut BTreeSet::new(), feed.room());
        let first = pace.next().await;
        self.opened = Some(Opened { pace, listener, feed, first });
        Ok(())
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let Opened { mut pace, mut listener, mut feed, first } =
            self.opened.take().expect("a source is opened before it runs");
        listener.note(first.iter().map(Chunk::bytes).sum());
        feed.push(first);
        let (mut settled, mut changes) = (Vec::new(), BTreeSet::new());
        loop {
            pace.start_turn(&mut settled, &mut changes, feed.room());
            tokio::select! {
                biased;
                () = cx.stop.cancelled() => break,
                stored = feed.next() => settled.extend(stored?),
                heard = listener.changed() => changes.extend(heard),
                chunks = pace.next() => {
                    listener.note(chunks.iter().map(Chunk::bytes).sum());
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
