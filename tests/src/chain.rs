//! A chain of two flows in one collector: the second flow receives the events of the first one,
//! while the connections of both are cut between a batch and its response, or the server has no
//! space.
//!
//! ```text
//!   lines ─► tail_dir ─► durable ─► sink ─► wire ─► server
//!                  `file://` ◄─ hdfs sink ◄─ durable ◄─ source ◄─ wire ◄─┘
//! ```
//!
//! The wires are [`Wire::losing_answers`]. The second flow may be missing, because the server also
//! shows what a sink has sent.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::agent::Agent;
use crate::store::{counted, repeats};
use crate::wait;
use crate::wire::{End, Losses, Wire};

/// Responses that each wire loses.
pub const CUTS: usize = 200;
/// Events in a batch.
pub const BATCH: usize = 10;
/// Minimum size of a batch, whatever is made of its lines; more than a protocol's greeting.
pub const BATCH_BYTES: usize = 1000;
/// Timeout for delivery of all lines.
const LIMIT: Duration = Duration::from_secs(60);
/// Timeout for losing the responses on a busy machine. A quiet one needs a minute, because a
/// disconnected source pauses for up to 100 ms.
const LOSING: Duration = Duration::from_secs(450);
/// Events waiting for the sink.
const SENT: &str = "aqueduct_channel_events{channel=\"sent\"}";
/// Interval between batches.
const PACE: Duration = Duration::from_millis(20);

/// Losses of responses to `asked_bytes` or more, on connections of any age.
#[must_use]
pub const fn losses(answers: End, asked_bytes: usize) -> Losses {
    Losses { answers, asked_bytes, count: CUTS, age_min: Duration::ZERO }
}

/// Losses for a source that reconnects after a restart: each connection outlasts the first pause of
/// a failing source, so that it counts as working.
#[must_use]
pub const fn losses_of_source(answers: End, asked_bytes: usize) -> Losses {
    Losses { age_min: Duration::from_millis(110), ..losses(answers, asked_bytes) }
}

/// A collector with both flows.
#[derive(Debug)]
pub struct Chain {
    agent: Agent,
    /// File that lines are written to.
    input: File,
    store: PathBuf,
    lines: usize,
}

impl Chain {
    /// Starts a collector with its files in the folder `name` of `dir`. `sink` and `source` are the
    /// settings of these, from `type` on; without `source` nothing is stored.
    ///
    /// # Panics
    /// When the folder exists, or the collector does not start.
    pub fn start(dir: &Path, name: &str, sink: &str, source: Option<&str>) -> Self {
        let dir = dir.join(name);
        let store = dir.join("store");
        fs::create_dir_all(&store).expect("the test's own folder");
        let (at, log) = (dir.display(), dir.join("lines.log"));
        let input = OpenOptions::new().create_new(true).append(true).open(&log);
        let mut text = format!(
            "[agent]\ndata_dir = \"{at}/data\"\n\
             [sources.lines]\ntype = \"tail_dir\"\npaths = [\"{at}/lines.log\"]\n\
             file_header = false\nbatch_events = {BATCH}\nchannels = [\"sent\"]\n\
             [channels.sent]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
             [groups.sent]\ntype = \"single\"\nchannel = \"sent\"\nsinks = [\"sent\"]\n\
             backoff_min = \"10ms\"\nbackoff_max = \"50ms\"\n[sinks.sent]\n{sink}\n"
        );
        if let Some(source) = source {
            text += &format!(
                "[sources.taken]\nchannels = [\"taken\"]\n{source}\n\
                 [channels.taken]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
                 [sinks.taken]\ntype = \"hdfs\"\nurl = \"file://{at}/store\"\nchannel = \"taken\"\n\
                 roll = {{ age_max = \"500ms\", idle_max = \"500ms\" }}\n"
            );
        }
        let mut agent = Agent::configured("aqueduct-collector", &dir, name, &text);
        agent.start();
        Self { agent, input: input.expect("the test's own folder"), store, lines: 0 }
    }

    /// Writes further lines.
    ///
    /// # Panics
    /// When the disk is full.
    pub fn write(&mut self, lines: usize) {
        let text: String =
            (self.lines..self.lines + lines).map(line).map(|line| line + "\n").collect();
        self.input.write_all(text.as_bytes()).expect("the test's own folder");
        self.lines += lines;
    }

    /// Writes lines until the sink has failed and some are waiting: the server has no space for
    /// them.
    ///
    /// # Panics
    /// When the server accepts all of them.
    pub fn until_refused(&mut self) {
        wait::until("the server to refuse lines", LIMIT, || {
            self.write(50 * BATCH);
            thread::sleep(10 * PACE);
            let metrics = self.agent.metrics()?;
            let failures = metrics.sum("aqueduct_sink_failures_total")?;
            (failures > 0.0 && metrics.value(SENT)? > 0.0).then_some(())
        });
    }

    /// Sends lines; calls `restart(true)`, which restarts the server without space; and when the
    /// sink has failed and has logged `words`, calls `restart(false)`.
    ///
    /// # Panics
    /// When the server accepts all lines, or the log lacks the reason.
    pub fn meet_full_server(&mut self, words: &str, mut restart: impl FnMut(bool)) {
        self.write(50 * BATCH);
        self.until_delivered();
        restart(true);
        self.until_refused();
        self.agent.until_logged(words, LIMIT);
        restart(false);
    }

    /// Waits until the sink has delivered all lines.
    ///
    /// # Panics
    /// After a timeout.
    pub fn until_delivered(&self) {
        wait::until("all lines to be delivered", LIMIT, || {
            let metrics = self.agent.metrics()?;
            let taken = metrics.value("aqueduct_source_events_total{source=\"lines\"}")?;
            (taken >= self.lines as f64 && metrics.value(SENT)? == 0.0).then_some(())
        });
    }

    /// Writes lines until each wire has lost its responses. Returns the number of lines.
    ///
    /// # Panics
    /// After a timeout.
    pub fn lose(&mut self, wires: &[&Wire]) -> usize {
        let began = Instant::now();
        let lost = || wires.iter().map(|wire| wire.lost()).collect::<Vec<_>>();
        while lost().iter().any(|lost| *lost < CUTS) {
            assert!(
                began.elapsed() < LOSING,
                "{:?} answers are lost\n{}",
                lost(),
                crate::process::tail(&self.agent.output())
            );
            let waiting = self.agent.metrics().and_then(|it| it.value(SENT));
            // Keep batches small.
            if waiting.unwrap_or_default() < (4 * BATCH) as f64 {
                self.write(BATCH);
            }
            thread::sleep(PACE);
        }
        self.lines
    }

    /// Returns how often each line is stored.
    ///
    /// # Panics
    /// When a stored file is not text.
    pub fn stored(&self) -> BTreeMap<String, usize> {
        let files = fs::read_dir(&self.store).into_iter().flatten().flatten();
        let files = files.filter(|it| it.file_type().is_ok_and(|it| it.is_file()));
        // An unfinished file may be renamed before it is read.
        let texts = files.filter_map(|file| fs::read(file.path()).ok());
        let texts: Vec<String> = texts.map(|text| String::from_utf8(text).expect("text")).collect();
        counted(texts.iter().flat_map(|text| text.lines()))
    }

    /// Waits until all lines are in the result of `found`, nothing else is, and the channels are
    /// empty; stops the collector. Returns the number of duplicates.
    ///
    /// # Panics
    /// When a line is missing, or there is a foreign one.
    pub fn repeats(mut self, found: impl Fn(&Self) -> BTreeMap<String, usize>) -> usize {
        wait::until("all lines to be through", LIMIT, || {
            let left = self.agent.metrics()?.sum("aqueduct_channel_events")?;
            (left == 0.0 && found(&self).len() >= self.lines).then_some(())
        });
        // Resent lines would arrive now.
        thread::sleep(Duration::from_secs(1));
        let all = found(&self);
        self.agent.stop(LIMIT);
        let missing = (0..self.lines).filter(|number| !all.contains_key(&line(*number))).count();
        assert_eq!((missing, all.len()), (0, self.lines), "missing lines, and different ones");
        repeats(&all)
    }

    /// The collector.
    #[must_use]
    pub fn agent(&self) -> &Agent {
        &self.agent
    }
}

/// Returns a numbered line, long enough that a batch is larger than a greeting.
fn line(number: usize) -> String {
    format!("line {number:06} {}", "x".repeat(100))
}
