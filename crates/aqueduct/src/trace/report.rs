//! The report of `aqueduct trace`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use pipeline::Identity;
use serde::Serialize;

use super::SearchTarget;
use super::line::Line;

/// Maximum number of line numbers listed for a file.
const LINES_MAX: usize = 10;

/// All results.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    line: Option<Line>,
    /// How far sources have read the file.
    pub(super) reads: Vec<Read>,
    /// The batches to look for.
    #[serde(skip)]
    pub(super) batches: BTreeSet<Identity>,
    /// Batches with the text that channels still hold.
    #[serde(skip)]
    pub(super) with_text: BTreeSet<Identity>,
    /// Copies of the batches in channels.
    pub(super) held: Vec<Held>,
    /// Dead letters.
    pub(super) letters: Vec<LetterFound>,
    /// Ledger entries of the batches.
    pub(super) commits: Vec<Commit>,
    /// Files with the text.
    pub(super) files: Vec<FileFound>,
    /// Places that could not be searched, and information that no longer exists.
    notes: Vec<String>,
}

/// How far a source has read the file, according to a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Read {
    pub(super) channel: String,
    pub(super) source: String,
    /// Bytes read from the file.
    pub(super) at: u64,
    /// Whether the line was read.
    pub(super) is_read: bool,
}

/// A batch whose segment still exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Held {
    pub(super) batch: String,
    pub(super) channel: String,
    pub(super) at_ms: u64,
    pub(super) events: u64,
    pub(super) lines: Vec<String>,
    /// Consumers that have not committed the batch; empty if it is delivered.
    pub(super) waits_for: Vec<String>,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct LetterFound {
    pub(super) batch: Option<String>,
    pub(super) data_dir: String,
    pub(super) at_ms: u64,
    pub(super) reason: String,
    pub(super) detail: String,
}

/// A ledger entry of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Commit {
    pub(super) batch: String,
    pub(super) store: String,
    pub(super) sink: String,
    pub(super) is_committed: bool,
    /// Its epoch is closed: everything was delivered, and the ledger no longer lists its batches.
    pub(super) is_closed: bool,
    /// Files of the entry; empty if it belongs to an older generation.
    pub(super) files: Vec<String>,
}

/// A visible file that holds the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct FileFound {
    pub(super) path: String,
    /// Line numbers with the text.
    pub(super) lines: Vec<u64>,
}

impl Report {
    /// Creates a report on this line, if it is given by file and byte.
    pub(super) fn new(line: Option<&Line>) -> Self {
        Self { line: line.cloned(), ..Self::default() }
    }

    /// Notes a place that could not be searched. Ignores duplicates.
    pub(super) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Returns whether the line was found, or a record of its delivery.
    pub(super) fn is_found(&self) -> bool {
        let is_committed = self.commits.iter().any(|commit| commit.is_committed);
        is_committed
            || !self.held.is_empty()
            || !self.letters.is_empty()
            || !self.files.is_empty()
            || self.reads.iter().any(|read| !read.is_read)
    }

    /// Adds notes on what cannot be known, after the search.
    pub(super) fn conclude(&mut self, wanted: &SearchTarget, without_store: bool) {
        let is_read = self.reads.iter().any(|read| read.is_read);
        if wanted.line.is_some() && self.reads.is_empty() {
            self.note(
                "no searched channel knows the file: no source has read it yet, or it is read on \
                 another host"
                    .to_owned(),
            );
        }
        if is_read && self.batches.is_empty() {
            self.note(
                "the line was read and every consumer of the channel has committed its batch; \
                 the segment was released, so the name of the batch is unknown"
                    .to_owned(),
            );
        }
        let waits = |held: &&Held| !held.waits_for.is_empty();
        let is_held = self.held.iter().any(|held| waits(&held));
        if wanted.line.is_some() && is_held && self.with_text.is_empty() && self.letters.is_empty()
        {
            self.note(
                "the channel has the batch of the line, but without this event: an interceptor \
                 has changed or dropped it"
                    .to_owned(),
            );
        }
        let is_in_part = self.commits.iter().any(|it| it.is_committed && it.files.is_empty());
        if is_in_part {
            self.note(
                "a ledger lists a batch as delivered, but not its files: their commit records are \
                 older than the ledger, or the batch had no event"
                    .to_owned(),
            );
        }
        let is_committed = self.commits.iter().any(|it| it.is_committed);
        if is_committed && self.files.is_empty() && !wanted.text.is_empty() {
            self.note(
                "no searched file contains the text: an interceptor or the encoder has changed \
                 the event, or it was dropped, or its file was deleted"
                    .to_owned(),
            );
        }
        if without_store {
            self.note("no --store was given: delivered events were not searched".to_owned());
        }
    }

    /// Formats the report as one line of JSON.
    pub(super) fn json(&self) -> String {
        let text = serde_json::to_string(self).expect("numbers and names are always JSON");
        format!("{text}\n")
    }

    /// Formats the report for people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut put = |line: String| {
            writeln!(text, "{line}").expect("a string takes it");
        };
        if let Some(Line { file, inode, from, to, text, .. }) = &self.line {
            put(format!("line       {file} bytes {from} to {to}, inode {inode}"));
            put(format!("           {}", String::from_utf8_lossy(text).escape_debug()));
        }
        for Read { channel, source, at, is_read } in &self.reads {
            let state = if *is_read { "has read it" } else { "has NOT read it yet" };
            put(format!("source     {source} {state}: {channel} is at byte {at}"));
        }
        for held in &self.held {
            let Held { batch, channel, events, .. } = held;
            put(format!("batch      {batch}: {events} events, stored {}", time(held.at_ms)));
            held.lines.iter().for_each(|lines| put(format!("           of {lines}")));
            put(match held.waits_for.as_slice() {
                [] => format!("           delivered by {channel}"),
                waits => format!("           held by {channel}, to deliver: {}", waits.join(", ")),
            });
        }
        for LetterFound { batch, data_dir, at_ms, reason, detail } in &self.letters {
            let batch = batch.as_deref().unwrap_or("without a name");
            let (at, detail) = (time(*at_ms), detail.escape_debug());
            put(format!("letter     {data_dir}: {reason}, batch {batch}, {at}: {detail}"));
        }
        for commit in &self.commits {
            let Commit { batch, store, sink, is_committed, is_closed, files } = commit;
            let state = match (is_committed, is_closed) {
                (false, _) => "is not committed",
                (true, true) => "is delivered; its epoch is closed",
                (true, false) => "is committed",
            };
            put(format!("ledger     of {sink} at {store}: {batch} {state}"));
            files.iter().for_each(|file| put(format!("           in {file}")));
        }
        for FileFound { path, lines } in &self.files {
            let mut shown: Vec<String> = lines.iter().take(LINES_MAX).map(u64::to_string).collect();
            if lines.len() > LINES_MAX {
                shown.push(format!("and {} more", lines.len() - LINES_MAX));
            }
            put(format!("file       {path}, line {}", shown.join(", ")));
        }
        self.notes.iter().for_each(|note| put(format!("note       {note}")));
        if !self.is_found() {
            put("NOT FOUND".to_owned());
        }
        text
    }
}

fn time(at_ms: u64) -> String {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(at_ms);
    humantime::format_rfc3339_seconds(at).to_string()
}
