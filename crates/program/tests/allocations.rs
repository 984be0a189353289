//! The path allocates for a batch, never for an event: from the tailed file through the edge's
//! channel, the wire, the collector's channel and the bucketing to the files of the store.
//!
//! Method: an edge and a collector run in this process, whose allocator counts. The same number of
//! bytes and batches passes once as few long lines and once as ten times as many short ones. The
//! additional allocations of the second pass are caused by events.

#![expect(clippy::disallowed_methods, reason = "the test stands outside the world that `Env` is")]
#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::alloc::System;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use catalogue::FULL;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::loopback::free_address;
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Time limit of one pass on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of one pass, in batches of one MiB.
const PASS_BYTES: usize = 16 << 20;
const BATCHES: usize = 16;
const LONG: usize = 1_024;
const SHORT: usize = 102;
/// Maximum number of allocations of a batch on its whole path through both agents.
const BATCH_MAX: usize = 1_000;

struct Place {
    directory: tempfile::TempDir,
    port: u16,
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts both agents; they live until the runtime is taken away.
    fn live(&self) -> Runtime {
        let at = |name: &str| self.path(name).display().to_string();
        let address = format!("127.0.0.1:{}", self.port);
        let edge = format!(
            "[agent]\nname = \"edge\"\ndata_dir = \"{}\"\n\
             [sources.tail]\ntype = \"tail_dir\"\npaths = [\"{}\"]\nchannels = [\"main\"]\n\
             interceptors = [{{ type = \"timestamp\" }}, {{ type = \"host\" }}]\n\
             [channels.main]\ntype = \"durable\"\n\
             [sinks.next]\ntype = \"grpc\"\nchannel = \"main\"\naddress = \"{address}\"\n",
            at("edge"),
            at("in/*.log"),
        );
        let collector = format!(
            "[agent]\nname = \"collector\"\ndata_dir = \"{}\"\n\
             [sources.intake]\ntype = \"grpc\"\nlisten = \"{address}\"\nchannels = [\"main\"]\n\
             [channels.main]\ntype = \"durable\"\n\
             [sinks.store]\ntype = \"hdfs\"\nchannel = \"main\"\n\
             url = \"file://{}/%Y-%m-%d/%{{host}}\"\nroll = {{ idle_max = \"300ms\" }}\n",
            at("collector"),
            at("store"),
        );
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        for text in [collector, edge] {
            let plan = config::load(Path::new("test.toml"), &text, "test").unwrap();
            runtime
                .spawn(async move { program::run(plan, FULL, env::real(), None).await.unwrap() });
        }
        runtime
    }

    /// Bytes in visible files.
    fn stored(&self) -> u64 {
        fn below(directory: &Path) -> u64 {
            let Ok(entries) = fs::read_dir(directory) else { return 0 };
            let bytes = entries.map(|entry| {
                let entry = entry.unwrap();
                match entry.file_type().unwrap() {
                    _ if entry.file_name() == "_aqueduct" => 0,
                    kind if kind.is_dir() => below(&entry.path()),
                    _ => entry.metadata().map_or(0, |file| file.len()),
                }
            });
            bytes.sum()
        }
        below(&self.path("store"))
    }

    /// Lets `PASS_BYTES` pass as lines of `length` bytes; the allocations that it took.
    fn pass(&self, length: usize) -> usize {
        let mut line = vec![b'x'; length];
        line[length - 1] = b'\n';
        let content = line.repeat(PASS_BYTES / length);
        let expected = self.stored() + content.len() as u64;
        // Complete from the beginning, so that both are read in the same number of batches.
        let aside = self.path("aside");
        fs::write(&aside, &content).unwrap();
        let began = Instant::now();
        let region = Region::new(ALLOCATOR);
        fs::rename(&aside, self.path(&format!("in/{length}-{expected}.log"))).unwrap();
        while self.stored() < expected {
            assert!(began.elapsed() < PATIENCE, "{} of {expected} bytes", self.stored());
            std::thread::sleep(Duration::from_millis(100));
        }
        let change = region.change();
        change.allocations + change.reallocations
    }
}

#[test]
fn events_are_not_allocated_for() {
    let port = free_address().port();
    let place = Place { directory: tempfile::tempdir().unwrap(), port };
    fs::create_dir(place.path("in")).unwrap();
    let runtime = place.live();
    place.pass(LONG);
    let (long, short) = (place.pass(LONG), place.pass(SHORT));
    runtime.shutdown_timeout(Duration::from_secs(10));

    let more_events = PASS_BYTES / SHORT - PASS_BYTES / LONG;
    let more = short.saturating_sub(long);
    let shown = format!("{long} for long lines, {short} for short ones, {more_events} more events");
    assert!(more * 50 < more_events, "{shown}");
    assert!(short.max(long) < BATCHES * BATCH_MAX, "{shown}");
}
