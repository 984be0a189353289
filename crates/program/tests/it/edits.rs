//! The configuration is changed repeatedly while events flow: nothing is lost or repeated, and
//! unchanged parts are not touched.
//!
//! Method: one whole agent with real components. A flow `calm` stays as it is. A flow `wild` is
//! edited 100 times by a seed: settings of its sink, interceptors, a second group that is added and
//! removed, the name of its group, the settings of its durable channel, another flow through
//! memory; in between invalid files, and a source whose port is in use. Each number of each source
//! must be in the store once.

#![expect(clippy::print_stdout, reason = "the figures are read by people")]

mod held;
mod parts;
mod place;
mod renames;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use agent::status::ReloadResult;

use place::{Agent, Place, status};

/// Changes of the file.
const EDITS: u64 = 100;

/// Maximum time in which the untouched flow may store nothing. Generous, because the machine that
/// runs the test is busy.
const GAP_MAX: Duration = Duration::from_secs(5);

/// Numbers of the edited flow: more than it sends during the test.
const WILD: u64 = 60_000;

/// The next number of a SplitMix64 sequence.
fn dice(state: &mut u64, sides: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % sides
}

/// The edited part of the file.
#[derive(Clone, Default)]
struct Edited {
    age: u64,
    has_interceptor: bool,
    has_audit: bool,
    has_memory: bool,
    capacity: u64,
    name: u64,
    /// A source on this port.
    port: Option<u16>,
    /// The invalid part of the file.
    wrong: &'static str,
}

impl Edited {
    /// Writes the file.
    fn write(&self, place: &Place) {
        let at = place.dir.path().display();
        let sink = |name: &str, age: u64| {
            format!(
                "type = \"hdfs\"\nurl = \"file://{at}/{name}\"\n\
                 roll = {{ idle_max = \"40ms\", age_max = \"{}ms\" }}\n",
                80 + age
            )
        };
        let durable = |capacity: u64| format!("type = \"durable\"\ncapacity = \"{capacity}MiB\"\n");
        let source = |channel: &str, count: u64, rate: u64| {
            format!(
                "type = \"sequence\"\ncount = {count}\nrate = {rate}\nbatch_events = 10\n\
                 channels = [\"{channel}\"]\n"
            )
        };
        let mut text = format!(
            "{}\n[agent]\nname = \"a\"\ndata_dir = \"{at}/data\"\ngrace = \"10s\"\n\
             admin = \"127.0.0.1:{}\"\n\
             [sources.calm]\n{}[channels.calm]\n{}[sinks.calm]\nchannel = \"calm\"\n{}\
             [channels.wild]\n{}[sinks.wild]\n{}\
             [groups.wild-{}]\ntype = \"single\"\nchannel = \"wild\"\nsinks = [\"wild\"]\n\
             [sources.wild]\n{}",
            self.wrong,
            place.admin,
            source("calm", 10_000_000, 1_000),
            durable(64),
            sink("calm", 0),
            durable(64 + self.capacity),
            sink("wild", self.age),
            self.name,
            source("wild", WILD, 2_000),
        );
        if self.has_interceptor {
            text += "[[sources.wild.interceptors]]\ntype = \"timestamp\"\n";
        }
        if self.has_audit {
            text += "[sinks.audit]\ntype = \"discard\"\nchannel = \"wild\"\n";
        }
        if self.has_memory {
            text += &format!(
                "[sources.memory]\n{}[channels.memory]\ntype = \"memory\"\ncapacity = \"4MiB\"\n\
                 [sinks.memory]\nchannel = \"memory\"\n{}",
                source("memory", 10_000_000, 500),
                sink("memory", 0)
            );
        }
        if let Some(port) = self.port {
            text += &format!(
                "[sources.http]\ntype = \"http\"\nlisten = \"127.0.0.1:{port}\"\n\
                 channels = [\"wild\"]\n"
            );
        }
        fs::write(place.file(), text).unwrap();
    }
}

/// When the parts of the flow that is not touched were started.
fn calm_since(place: &Place) -> [f64; 3] {
    let status = place.status();
    let source = status.sources.iter().find(|it| it.name == "calm").unwrap();
    let channel = status.channels.iter().find(|it| it.name == "calm").unwrap();
    let group = status.groups.iter().find(|it| it.name == "calm").unwrap();
    let ago = [source.started_seconds_ago, channel.started_seconds_ago, group.started_seconds_ago];
    ago.map(|ago| status.taken_at_unix_seconds - ago)
}

/// The longest time for which the flow that is not touched stored nothing.
fn gaps(admin: u16, dir: &Path, stop: &Arc<AtomicBool>) -> JoinHandle<Duration> {
    let (stop, data) = (stop.clone(), dir.join("data/channels/calm"));
    std::thread::spawn(move || {
        let (mut longest, mut since, mut last) = (Duration::ZERO, Instant::now(), 0);
        while !stop.load(Ordering::Relaxed) {
            let status = status(admin);
            let calm = status.and_then(|it| it.channels.into_iter().find(|it| it.name == "calm"));
            let stored = calm.map_or(last, |calm| calm.stored.events_total);
            longest = longest.max(since.elapsed());
            if stored > last {
                (last, since) = (stored, Instant::now());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(data.exists() && last > 0);
        longest
    })
}

/// The next change, and how it has to end.
fn edit(edited: &mut Edited, seed: &mut u64, taken: u16) -> ReloadResult {
    (edited.wrong, edited.port) = ("", None);
    match dice(seed, 9) {
        0 => edited.age = (edited.age + 7) % 50,
        1 => edited.has_interceptor = !edited.has_interceptor,
        2 => edited.has_audit = !edited.has_audit,
        3 => edited.has_memory = !edited.has_memory,
        4 => edited.capacity = (edited.capacity + 1) % 4,
        5 => edited.name = 1 - edited.name,
        6 => {
            edited.wrong =
                ["[sinks.x]\ntype = \"hdfz\"\nchannel = \"wild\"", "= ="][dice(seed, 2) as usize];
            return ReloadResult::Refused;
        }
        7 => {
            edited.port = Some(taken);
            return ReloadResult::RolledBack;
        }
        _ => return ReloadResult::Unchanged,
    }
    ReloadResult::Applied
}

#[test]
fn a_hundred_changes_lose_and_repeat_nothing_and_touch_nothing_else() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut edited = Edited::default();
    edited.write(&place);
    let agent = Agent::start(&place);
    place.until_ready();
    let since = calm_since(&place);
    let stop = Arc::new(AtomicBool::new(false));
    let gaps = gaps(place.admin, place.dir.path(), &stop);
    let (mut seed, mut counts, mut slowest) = (0x5eed, BTreeMap::new(), 0.0_f64);
    for number in 0..EDITS {
        // An invalid or rejected file does not run: the next one is compared with the running
        // configuration.
        let mut next = edited.clone();
        let expected = edit(&mut next, &mut seed, taken.local_addr().unwrap().port());
        next.write(&place);
        let status = place.reload();
        assert_eq!(status.result, expected, "edit {number}: {status}");
        *counts.entry(format!("{expected:?}")).or_insert(0) += 1;
        slowest = slowest.max(status.took_seconds);
        match expected {
            ReloadResult::Applied => edited = next,
            ReloadResult::Unchanged => {}
            ReloadResult::Refused => {
                let error = status.error.unwrap();
                assert!(error.contains("agent.toml:"), "the place is named: {error}");
            }
            ReloadResult::RolledBack => {
                let error = status.error.unwrap();
                assert!(error.contains("source `http`"), "{error}");
            }
            ReloadResult::RollbackFailed => unreachable!("no edit takes what ran before"),
        }
        for (before, now) in since.iter().zip(calm_since(&place)) {
            assert!((before - now).abs() < 0.5, "edit {number} has touched what did not change");
        }
    }
    stop.store(true, Ordering::Relaxed);
    let longest = gaps.join().unwrap();
    println!("{counts:?}, slowest {slowest} s, longest gap of the other flow {longest:?}");
    assert!(longest < GAP_MAX, "the other flow stood still for {longest:?}");
    assert!(counts.len() == 4, "each way to end was met: {counts:?}");
    place.until("the last numbers", || place.stored("wild").len() as u64 >= WILD);
    agent.stop();
    for dataset in ["wild", "calm", "memory"] {
        let stored = place.stored(dataset);
        let repeated: Vec<_> = stored.iter().filter(|(_, times)| **times > 1).take(5).collect();
        assert!(repeated.is_empty(), "{dataset}: {repeated:?}");
        let (first, last) = (stored.keys().next().copied(), stored.keys().last().copied());
        let span = first.zip(last).map_or(0, |(first, last)| last - first + 1);
        assert_eq!(stored.len() as u64, span, "{dataset}: some are missing");
        assert_eq!(first, Some(0), "{dataset}: the first ones are missing");
    }
}
