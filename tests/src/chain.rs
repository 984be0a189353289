//! A chain of two flows in one collector: what the first one sends the second one takes, while the
//! connections of both are cut between a batch and its answer, or the server has no more room.
//!
//! ```text
//!   lines ─► tail_dir ─► durable ─► sink ─► wire ─► server
//!                  `file://` ◄─ hdfs sink ◄─ durable ◄─ source ◄─ wire ◄─┘
//! ```
//!
//! The wires are [`Wire::losing_answers`]. The second flow may be missing: what a sink has sent can
//! be read at the server.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::agent::Agent;
use crate::wait;
use crate::wire::{End, Losses, Wire};

/// Answers that each wire loses.
pub const CUTS: usize = 200;
/// Events of a batch.
pub const BATCH: usize = 10;
/// What a batch has at least, whatever is made of its lines, and no greeting of a protocol.
pub const BATCH_BYTES: usize = 1000;
/// How long the lines may take to be through.
const LIMIT: Duration = Duration::from_secs(60);
/// How long the answers may take to be lost on a busy machine; on a quiet one it is a minute, since
/// a source that is cut off pauses for up to 100 ms.
const LOSING: Duration = Duration::from_secs(450);
/// Events that wait in front of the sink.
const SENT: &str = "aqueduct_channel_events{channel=\"sent\"}";
/// How often a batch is written.
const PACE: Duration = Duration::from_millis(20);

/// Losses of answers to what has `asked_bytes` or more, on connections of any age.
#[must_use]
pub const fn losses(answers: End, asked_bytes: usize) -> Losses {
    Losses { answers, asked_bytes, count: CUTS, age_min: Duration::ZERO }
}

/// Losses of a source that connects again when it is started again: each connection lasts longer
/// than the first pause of a source that fails, so that it counts as one that has worked.
#[must_use]
pub const fn losses_of_source(answers: End, asked_bytes: usize) -> Losses {
    Losses { age_min: Duration::from_millis(110), ..losses(answers, asked_bytes) }
}

/// A collector with both flows.
#[derive(Debug)]
pub struct Chain {
    agent: Agent,
    /// Where lines are written.
    input: File,
    store: PathBuf,
    lines: usize,
}

impl Chain {
    /// One that runs, with its files in the folder `name` of `dir`. `sink` and `source` are the
    /// settings of these, from `type` on; without `source` nothing is stored.
    ///
    /// # Panics
    /// The folder is there, or the collector does not start.
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

    /// Writes so many lines more.
    ///
    /// # Panics
    /// There is no room for them.
    pub fn write(&mut self, lines: usize) {
        let text: String =
            (self.lines..self.lines + lines).map(line).map(|line| line + "\n").collect();
        self.input.write_all(text.as_bytes()).expect("the test's own folder");
        self.lines += lines;
    }

    /// Writes lines until the sink has failed and some wait in front of it: the server has no room
    /// for them.
    ///
    /// # Panics
    /// The server takes them all.
    pub fn until_refused(&mut self) {
        wait::until("the server to refuse lines", LIMIT, || {
            self.write(50 * BATCH);
            thread::sleep(10 * PACE);
            let metrics = self.agent.metrics()?;
            let failures = metrics.sum("aqueduct_sink_failures_total")?;
            (failures > 0.0 && metrics.value(SENT)? > 0.0).then_some(())
        });
    }

    /// Lines go through; then `restart` is asked for the server without room (`true`), and when the
    /// sink has failed and has logged `words`, for the same with room.
    ///
    /// # Panics
    /// The server takes all lines, or it is not said why not.
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
    /// That takes too long.
    pub fn until_delivered(&self) {
        wait::until("all lines to be delivered", LIMIT, || {
            let metrics = self.agent.metrics()?;
            let taken = metrics.value("aqueduct_source_events_total{source=\"lines\"}")?;
            (taken >= self.lines as f64 && metrics.value(SENT)? == 0.0).then_some(())
        });
    }

    /// Writes lines until each wire has lost its answers. How many lines there are.
    ///
    /// # Panics
    /// That takes too long.
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
            // What is sent in one batch is to be of few.
            if waiting.unwrap_or_default() < (4 * BATCH) as f64 {
                self.write(BATCH);
            }
            thread::sleep(PACE);
        }
        self.lines
    }

    /// How often each line is stored.
    ///
    /// # Panics
    /// A stored file is no text.
    pub fn stored(&self) -> BTreeMap<String, usize> {
        let files = fs::read_dir(&self.store).into_iter().flatten().flatten();
        let files = files.filter(|it| it.file_type().is_ok_and(|it| it.is_file()));
        // One that is not finished has another name when it is read.
        let texts = files.filter_map(|file| fs::read(file.path()).ok());
        let texts: Vec<String> = texts.map(|text| String::from_utf8(text).expect("text")).collect();
        counted(texts.iter().flat_map(|text| text.lines()))
    }

    /// Waits until all lines are in what `found` answers, nothing else is there, and nothing waits
    /// in a channel; ends the collector. How often lines are repeated.
    ///
    /// # Panics
    /// A line is missing, or another one is there.
    pub fn repeats(mut self, found: impl Fn(&Self) -> BTreeMap<String, usize>) -> usize {
        wait::until("all lines to be through", LIMIT, || {
            let left = self.agent.metrics()?.sum("aqueduct_channel_events")?;
            (left == 0.0 && found(&self).len() >= self.lines).then_some(())
        });
        // What is sent again would come now.
        thread::sleep(Duration::from_secs(1));
        let all = found(&self);
        self.agent.stop(LIMIT);
        let missing = (0..self.lines).filter(|number| !all.contains_key(&line(*number))).count();
        assert_eq!((missing, all.len()), (0, self.lines), "missing lines, and different ones");
        all.values().map(|times| times - 1).sum()
    }

    /// The collector.
    #[must_use]
    pub fn agent(&self) -> &Agent {
        &self.agent
    }
}

/// How often each line is there.
pub fn counted<'a>(lines: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    lines.into_iter().for_each(|line| *found.entry(line.to_owned()).or_default() += 1);
    found
}

/// A line with its number, long enough that a batch has more bytes than a greeting.
fn line(number: usize) -> String {
    format!("line {number:06} {}", "x".repeat(100))
}
