//! A bit that flips on a collector's disk costs nothing: the sender still has the batch.
//!
//! Method: an edge and a collector, whole agents with real files and sockets. The collector's store
//! cannot be reached in its first life, so all lines wait in its channel. It ends, one bit of a
//! line in its segment is flipped, and its second life has a store. Each line must be in it once.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pipeline::Catalogue;
use support::loopback::free_address;
use tokio::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(60);
const LINES: usize = 400;
/// Text in the line whose batch is damaged.
const VICTIM: &str = "line 123 ";

struct Site {
    directory: tempfile::TempDir,
    address: String,
}

fn line(number: usize) -> String {
    format!("line {number} {}", "b".repeat(60))
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::create_dir(directory.path().join("in")).unwrap();
        let address = free_address().to_string();
        Self { directory, address }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn live(&self, configuration: &str, catalogue: Catalogue) -> Runtime {
        let plan = config::load(Path::new("test.toml"), configuration, "test").unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap();
        runtime
            .spawn(async move { program::run(plan, catalogue, env::real(), None).await.unwrap() });
        runtime
    }

    fn edge(&self) -> Runtime {
        let (data, paths) = (self.path("edge"), self.path("in/*.log"));
        let configuration = format!(
            "[agent]\nname = \"edge\"\ndata_dir = \"{}\"\n[sources.tail]\ntype = \"tail_dir\"\n\
             paths = [\"{}\"]\nchannels = [\"main\"]\n[channels.main]\ntype = \"durable\"\n\
             capacity = \"64MiB\"\nsegment_bytes = \"1MiB\"\n[sinks.out]\ntype = \"grpc\"\n\
             address = \"{}\"\nchannel = \"main\"\n",
            data.display(),
            paths.display(),
            self.address
        );
        self.live(&configuration, components::EDGE)
    }

    fn collector(&self, store: &Path) -> Runtime {
        let configuration = format!(
            "[agent]\nname = \"collector\"\ndata_dir = \"{}\"\n[sources.edges]\ntype = \"grpc\"\n\
             listen = \"{}\"\nchannels = [\"main\"]\n[channels.main]\ntype = \"durable\"\n\
             capacity = \"64MiB\"\nsegment_bytes = \"1MiB\"\ntail_memory = \"0B\"\n\
             [sinks.store]\ntype = \"hdfs\"\nchannel = \"main\"\nurl = \"file://{}\"\n\
             roll = {{ idle_max = \"100ms\" }}\n",
            self.path("collector").display(),
            self.address,
            store.display()
        );
        self.live(&configuration, catalogue::FULL)
    }

    /// Returns the collector's segment with a text, and its offset.
    fn find(&self, text: &str) -> Option<(PathBuf, Vec<u8>, usize)> {
        let log = self.path("collector/channels/main/log");
        for entry in fs::read_dir(log).ok()? {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            let at = bytes.windows(text.len()).position(|window| window == text.as_bytes());
            if let Some(at) = at {
                return Some((path, bytes, at));
            }
        }
        None
    }

    fn stored(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path("store")) else { return Vec::new() };
        let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        let text: String = files.map(|path| fs::read_to_string(path).unwrap()).collect();
        text.lines().map(String::from).collect()
    }
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn flipped_bit_on_a_collector_loses_nothing_because_the_sender_resends() {
    let site = Site::new();
    let text = |numbers: std::ops::Range<usize>| -> String {
        numbers.map(|number| line(number) + "\n").collect()
    };
    fs::write(site.path("in/first.log"), text(0..LINES / 2)).unwrap();
    let edge = site.edge();
    // A file has the path of the store.
    fs::write(site.path("no-store"), "").unwrap();
    let first = site.collector(&site.path("no-store/below"));
    wait("the collector has the first lines on disk", || site.find(VICTIM).is_some());
    // With another group after it, the damage cannot be mistaken for a torn end.
    fs::write(site.path("in/second.log"), text(LINES / 2..LINES)).unwrap();
    wait("the collector has all lines on disk", || site.find(&line(LINES - 1)).is_some());
    first.shutdown_timeout(Duration::from_secs(10));

    let (path, mut bytes, at) = site.find(VICTIM).unwrap();
    bytes[at + 5] ^= 1;
    fs::write(path, bytes).unwrap();
    let second = site.collector(&site.path("store"));
    wait("every line is stored", || site.stored().len() >= LINES);
    second.shutdown_timeout(Duration::from_secs(10));
    edge.shutdown_timeout(Duration::from_secs(10));

    let mut stored = site.stored();
    let number = |line: &String| line.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok());
    stored.sort_by_key(number);
    assert!(stored == (0..LINES).map(line).collect::<Vec<_>>(), "each line once, as it was read");
    let aside = fs::read_dir(site.path("collector/channels/main/quarantine"));
    assert_eq!(aside.map_or(0, Iterator::count), 1, "the flip hit a batch that was still wanted");
}
