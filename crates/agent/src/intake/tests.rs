//! Goal: a resent event is in one channel, once, whatever selector spreads events over channels;
//! and failures are counted.
//!
//! Method: two durable channels on a disk. A batch reaches only one of them, as when the agent dies
//! between two commits. After a restart, the batches that a channel lacks are resent in other
//! batches, as by a source of files. The same is done with selectors that look at the batch instead
//! of the event: there the check has to find missing or repeated events.

mod choices;
mod names;
mod progress;
mod rest;
mod traced;

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use catalogue::FULL;
use config::Plan;
use pipeline::{Env, Events, Sequence, Settings, SourcePosition};
use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::built::BuiltSource;
use crate::topology::Topology;
use crate::{dead_letters, opening};

const ORIGIN: Origin = Origin([7; 16]);
const LINES: u64 = 1_000;

/// A selector that replaces the configured one.
type Other = fn() -> Box<dyn ChannelSelector>;

/// The channels and the intake of one life of an agent.
struct Life {
    topology: Topology,
    intake: Arc<AgentIntake>,
}

impl Life {
    async fn begin(dir: &Path, selector: Option<Other>) -> Self {
        Self::with_sinks(dir, selector, "type = \"discard\"").await
    }

    /// With sinks of these settings.
    async fn with_sinks(dir: &Path, selector: Option<Other>, sink: &str) -> Self {
        let at = dir.display();
        let text = format!(
            "[agent]\ndata_dir = \"{at}\"\n\
             [sources.in]\ntype = \"sequence\"\nchannels = [\"a\", \"b\"]\n\
             selector = {{ type = \"load_balancing\" }}\n\
             [channels.a]\ntype = \"durable\"\ncapacity = \"16MiB\"\n\
             [channels.b]\ntype = \"durable\"\ncapacity = \"16MiB\"\n\
             [sinks.one]\n{sink}\nchannel = \"a\"\n\
             [sinks.other]\n{sink}\nchannel = \"b\"\n"
        );
        let replace = |topology: &mut Topology| {
            if let Some(other) = selector {
                topology.sources[0].selector = other();
            }
        };
        Self::of(&text, dir, env::real(), replace).await
    }

    /// Of this configuration in `dir`, changed by `change` when its channels are open.
    async fn of(text: &str, dir: &Path, env: Env, change: impl FnOnce(&mut Topology)) -> Self {
        let metrics = Metrics::default();
        let plan: Plan = config::load(Path::new("agent.toml"), text, "host").unwrap();
        let mut topology = Topology::build(&plan, FULL, &env, &metrics).unwrap();
        opening::open_channels(&topology.channels).await.unwrap();
        change(&mut topology);
        let letters = dead_letters::Config::read(&Settings::empty()).unwrap();
        let letters = Arc::new(DeadLetters::new(letters, dir, &env, &metrics));
        let BuiltSource { name, interceptors, selector, required, optional, naming, .. } =
            topology.sources.remove(0);
        let fed = (topology.feeds(&required, &naming), topology.feeds(&optional, &naming));
        let route = (interceptors, selector);
        let intake = AgentIntake::new(name, route, letters, fed, None, metrics);
        Self { topology, intake: Arc::new(intake) }
    }

    /// Returns the position of each channel.
    fn standing(&self) -> Vec<u64> {
        let end = |positions: &Vec<(Bytes, Bytes)>| {
            let value = positions.first().map(|(_, value)| value[..].try_into().unwrap());
            value.map_or(0, u64::from_le_bytes)
        };
        self.intake.positions("in").iter().map(end).collect()
    }

    async fn end(self) {
        for built in &self.topology.channels {
            built.channel.close().await.unwrap();
        }
    }

    /// The bodies in each channel, sorted.
    async fn held(&self) -> Vec<Vec<String>> {
        let mut all = Vec::new();
        for built in &self.topology.channels {
            let mut bodies = Vec::new();
            let mut take = built.channel.begin_take(&built.consumers[0]);
            while bodies.len() as u64 != built.channel.status().events {
                let taken = take.take().await.unwrap();
                let text = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
                bodies.extend(taken.batch.iter().map(|event| text(event.body())));
            }
            bodies.sort();
            all.push(bodies);
        }
        all
    }
}

/// Returns these lines, with the position after them.
fn lines(range: Range<u64>) -> Batch {
    let mut batch = Batch::of(range.clone().map(|number| format!("line {number:04}")));
    batch.envelope.positions.push(SourcePosition {
        source: "in".into(),
        key: Bytes::from_static(b"file"),
        value: Some(Bytes::copy_from_slice(&range.end.to_le_bytes())),
        after: None,
    });
    batch
}

/// Resumes from the positions of the channels, with this many lines per batch.
async fn read_on(life: &Life, until: u64, size: u64) {
    loop {
        let standing = life.standing();
        let start = *standing.iter().min().unwrap();
        if start >= until {
            return;
        }
        let further = standing.iter().copied().filter(|at| *at > start).min();
        let end = further.unwrap_or(until).min(until).min(start + size);
        let lacking: Vec<usize> = (0..2).filter(|channel| standing[*channel] == start).collect();
        life.intake.accept_into(lines(start..end), &lacking).await.unwrap();
    }
}

/// Returns the contents of the channels after a crash between the put into `first` and the other
/// one.
async fn read_through_a_crash(selector: Option<Other>, first: usize) -> Vec<Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let life = Life::begin(dir.path(), selector).await;
    read_on(&life, 500, 100).await;
    life.intake.accept_into(lines(500..600), &[first]).await.unwrap();
    life.end().await;
    let life = Life::begin(dir.path(), selector).await;
    assert_eq!(life.standing()[first], 600);
    read_on(&life, LINES, 37).await;
    life.held().await
}

/// Returns `true` if every line is in one channel, once.
fn is_whole(held: &[Vec<String>]) -> bool {
    let mut all: Vec<&String> = held.iter().flatten().collect();
    all.sort();
    let expected = lines(0..LINES);
    all.len() as u64 == LINES
        && all.iter().zip(expected.iter()).all(|(a, b)| a.as_bytes() == b.body())
}

/// Wrong: all events of a batch go to one channel, by a hash of the batch or in turn.
struct ByBatch(Option<AtomicUsize>);

impl ChannelSelector for ByBatch {
    fn select(&self, events: &Events) -> Vec<Option<Events>> {
        let hash = || {
            let bodies: Vec<u8> = events.iter().flat_map(|it| it.body().to_vec()).collect();
            usize::try_from(xxh3_64(&bodies) % 2).unwrap()
        };
        let turn = self.0.as_ref().map(|turn| turn.fetch_add(1, Ordering::Relaxed) % 2);
        let chosen = turn.unwrap_or_else(hash);
        (0..2).map(|channel| (channel == chosen).then(|| events.clone())).collect()
    }

    fn routing_header(&self) -> Option<&str> {
        None
    }

    fn routing_rule(&self, _channels: &[Vec<String>]) -> String {
        "wrong".to_owned()
    }
}

#[tokio::test]
async fn a_line_that_is_read_again_in_another_batch_is_in_one_channel_once() {
    for first in [0, 1] {
        let held = read_through_a_crash(None, first).await;
        assert!(is_whole(&held), "{held:?}");
        assert!(held.iter().all(|bodies| bodies.len() > 400), "both have their share");
    }
}

#[tokio::test]
async fn a_choice_by_the_batch_loses_and_repeats_lines_that_are_read_again() {
    let by_hash: Other = || Box::new(ByBatch(None));
    let in_turn: Other = || Box::new(ByBatch(Some(AtomicUsize::new(0))));
    for selector in [by_hash, in_turn] {
        let mut whole = 0;
        for first in [0, 1] {
            whole += usize::from(is_whole(&read_through_a_crash(Some(selector), first).await));
        }
        assert!(whole < 2, "the check sees a wrong selector");
    }
}

const NAME: Identity = Identity { origin: ORIGIN, epoch: Epoch(1 << 20), sequence: Sequence(0) };

/// A batch with a name.
fn of_another_agent() -> Batch {
    let mut batch = lines(0..LINES);
    batch.envelope.positions.clear();
    batch.envelope.identity = Some(NAME);
    batch
}

/// Sends a batch of another agent that reached only the first channel, resends it after a restart,
/// and once more after that.
async fn sent_three_times(selector: Option<Other>) -> Vec<Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let batch = of_another_agent();
    let life = Life::begin(dir.path(), selector).await;
    life.intake.accept_into(batch.clone(), &[0]).await.unwrap();
    life.end().await;
    let life = Life::begin(dir.path(), selector).await;
    for _ in 0..2 {
        life.intake.accept(batch.clone()).await.unwrap();
    }
    life.held().await
}

#[tokio::test]
async fn a_batch_that_is_sent_again_is_in_each_channel_as_the_first_time() {
    let held = sent_three_times(None).await;
    assert!(is_whole(&held), "{held:?}");
    // In turn: the first life chose one channel, the next life has to choose the same.
    static TURN: AtomicUsize = AtomicUsize::new(0);
    let in_turn: Other =
        || Box::new(ByBatch(Some(AtomicUsize::new(TURN.fetch_add(1, Ordering::Relaxed)))));
    assert!(!is_whole(&sent_three_times(Some(in_turn)).await), "the check sees a wrong selector");
}

#[tokio::test]
async fn a_batch_that_a_channel_refuses_counts_as_failed_and_not_as_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let life = Life::begin(dir.path(), None).await;
    life.intake.accept(lines(0..10)).await.unwrap();
    life.topology.channel("b").close().await.unwrap();
    life.intake.accept(lines(10..30)).await.unwrap_err();
    let flow = life.intake.flow();
    assert_eq!((flow.accepted.total().events, flow.batches), (10, 1));
    assert_eq!((flow.failed_events, flow.failed_batches), (20, 1));
    let failing = format!("{:?}", flow.failing(Instant::now()));
    assert!(failing.contains("cannot store the batch in its channel"), "{failing}");
    assert_eq!(life.topology.built("a").boards.inflow.failures(), 0);
    assert!(life.topology.built("b").boards.inflow.failures() > 0);
}
