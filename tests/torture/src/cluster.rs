//! Two edges, three collectors, a store, and a proxy between each edge and each collector.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aqueduct_tests::agent::{Agent, wait_until_delivered};
use aqueduct_tests::http;
use aqueduct_tests::mounted::Mounted;
use aqueduct_tests::wait;
use rustix::process::getuid;

use crate::load::Writer;
use crate::proxy::Proxy;
use crate::store::{Form, Store};

const EDGES: usize = 2;
const COLLECTORS: usize = 3;
const LINES_PER_SECOND: u64 = 2_000;
const SMALL_DISK_BYTES: u64 = 192 << 20;
const SMALL_EDGE_DISK_BYTES: u64 = 96 << 20;
/// Timeout for delivery after the fault is repaired.
const RECOVERY_LIMIT: Duration = Duration::from_secs(180);

/// Everything that runs. Fields are dropped in this order: agents before the disks below them.
pub(crate) struct Cluster {
    pub(crate) writers: Vec<Writer>,
    pub(crate) edges: Vec<Agent>,
    pub(crate) collectors: Vec<Agent>,
    /// For each edge, one to each collector.
    proxies: Vec<Vec<Proxy>>,
    pub(crate) store: Store,
    small_disk: Option<Mounted>,
    small_disk_of_edge: Option<Mounted>,
    weaken: bool,
    folder: PathBuf,
}

impl Cluster {
    /// The collector with its data on the small disk.
    pub(crate) const ON_SMALL_DISK: usize = COLLECTORS - 1;
    /// The edge with its data on a small disk.
    pub(crate) const EDGE_ON_SMALL_DISK: usize = 0;

    /// Starts everything in `folder`; the writers are idle. With `weaken`, collectors neither
    /// deduplicate nor keep a ledger.
    ///
    /// # Panics
    ///
    /// When something does not start.
    pub(crate) fn start(folder: &Path, form: Form, weaken: bool) -> Self {
        let store = Store::start(form, folder);
        let small = |name, bytes| getuid().is_root().then(|| small_disk(folder, name, bytes));
        let small_disk = small("small-disk", SMALL_DISK_BYTES);
        let small_disk_of_edge = small("small-disk-of-edge", SMALL_EDGE_DISK_BYTES);
        let listen: Vec<SocketAddr> = (0..COLLECTORS).map(|_| http::free_address()).collect();
        let proxies: Vec<Vec<Proxy>> = (0..EDGES)
            .map(|_| listen.iter().map(|&address| Proxy::start(address)).collect())
            .collect();
        let mut cluster = Self {
            writers: Vec::new(),
            edges: Vec::new(),
            collectors: Vec::new(),
            proxies,
            store,
            small_disk,
            small_disk_of_edge,
            weaken,
            folder: folder.to_owned(),
        };
        for (number, address) in listen.iter().enumerate() {
            let text = cluster.collector_config(number, *address);
            let mut agent = cluster.agent("aqueduct-collector", number, &text);
            agent.start();
            cluster.collectors.push(agent);
        }
        for number in 0..EDGES {
            let text = cluster.edge_config(number);
            let mut agent = cluster.agent("aqueduct-edge", number, &text);
            agent.start();
            cluster.edges.push(agent);
            let (name, logs) = (format!("edge-{}", number + 1), cluster.logs(number));
            cluster.writers.push(Writer::new(&name, &logs, LINES_PER_SECOND));
        }
        cluster
    }

    fn agent(&self, program: &'static str, number: usize, config: &str) -> Agent {
        let path = self.folder.join(format!("{program}-{}.toml", number + 1));
        fs::write(&path, config).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
        let arguments = ["--config", path.to_str().expect("the folder's path is UTF-8")];
        let log = path.with_extension("out");
        self.store.known_to(Agent::new(program, &arguments, &log))
    }

    fn logs(&self, edge: usize) -> PathBuf {
        self.folder.join(format!("logs-{}", edge + 1))
    }

    /// One edge balances, the other one prefers, so that both processors are tested. All timeouts
    /// are short, to keep rounds short.
    fn edge_config(&self, number: usize) -> String {
        let name = format!("edge-{}", number + 1);
        let mut text = format!(
            r#"[agent]
name = "{name}"
data_dir = "{data}"

[sources.logs]
type = "tail_dir"
paths = ["{logs}/app.log*"]
channels = ["main"]
interceptors = [{{ type = "timestamp" }}]

[channels.main]
type = "durable"
capacity = "512MiB"
segment_bytes = "4MiB"

[groups.collectors]
type = "{processor}"
channel = "main"
sinks = ["collector-1", "collector-2", "collector-3"]
backoff_min = "200ms"
backoff_max = "2s"
"#,
            data = self.edge_data(number).display(),
            logs = self.logs(number).display(),
            processor = if number == 0 { "load_balance" } else { "failover" },
        );
        for (collector, proxy) in self.proxies[number].iter().enumerate() {
            text += &format!(
                r#"
[sinks.collector-{}]
type = "grpc"
address = "{}"
connect_timeout = "2s"
answer_timeout = "3s"
resend_after = "5s"
"#,
                collector + 1,
                proxy.address(),
            );
        }
        text
    }

    fn collector_config(&self, number: usize, listen: SocketAddr) -> String {
        format!(
            r#"[agent]
name = "collector-{}"
data_dir = "{}"

[sources.edges]
type = "grpc"
listen = "{listen}"
channels = ["main"]

[channels.main]
type = "durable"
capacity = "128MiB"
segment_bytes = "4MiB"
dedupe = {dedupe}

[sinks.store]
type = "hdfs"
channel = "main"
{}
guarantee = "{guarantee}"

[sinks.store.roll]
age_max = "1s"
idle_max = "500ms"
"#,
            number + 1,
            self.data(number).display(),
            self.store.settings(),
            dedupe = !self.weaken,
            guarantee = if self.weaken { "at_least_once" } else { "exactly_once" },
        )
    }

    /// Returns the folder of a collector's channel.
    fn data(&self, collector: usize) -> PathBuf {
        let folder = match &self.small_disk {
            Some(disk) if collector == Self::ON_SMALL_DISK => disk.directory(),
            _ => &self.folder,
        };
        folder.join(format!("collector-{}", collector + 1))
    }

    /// Returns the folder of an edge's channel.
    fn edge_data(&self, edge: usize) -> PathBuf {
        let folder = match &self.small_disk_of_edge {
            Some(disk) if edge == Self::EDGE_ON_SMALL_DISK => disk.directory(),
            _ => &self.folder,
        };
        folder.join(format!("edge-{}", edge + 1))
    }

    /// Returns the small disk of a collector, if it exists.
    pub(crate) fn small_disk(&self) -> Option<&Mounted> {
        self.small_disk.as_ref()
    }

    /// Returns the small disk of an edge, if it exists.
    pub(crate) fn small_disk_of_edge(&self) -> Option<&Mounted> {
        self.small_disk_of_edge.as_ref()
    }

    /// Deletes all data of a collector, which must not be running.
    pub(crate) fn wipe(&self, collector: usize) {
        fs::remove_dir_all(self.data(collector)).expect("a folder that is not in use");
    }

    /// Returns the proxies of all edges to a collector.
    pub(crate) fn proxies_of(&self, collector: usize) -> Vec<&Proxy> {
        self.proxies.iter().map(|of_edge| &of_edge[collector]).collect()
    }

    /// Returns how many files each collector has merged since its start.
    pub(crate) fn merged_files(&self) -> Vec<u64> {
        let counted = |agent: &Agent| agent.metrics()?.sum("aqueduct_hdfs_merged_files_total");
        self.collectors.iter().map(|agent| counted(agent).unwrap_or(0.0) as u64).collect()
    }

    /// Waits until every edge knows that everything it has read is committed. Returns how long that
    /// took.
    pub(crate) fn wait_until_delivered(&self) -> Duration {
        let started = Instant::now();
        for edge in &self.edges {
            wait_until_delivered(edge, RECOVERY_LIMIT);
        }
        started.elapsed()
    }

    /// Returns whether its sinks write the commit ledger, which a proof needs: weakened ones do
    /// not.
    pub(crate) fn keeps_ledger(&self) -> bool {
        !self.weaken
    }

    /// Makes `aqueduct verify` prove, from the edges' disks and the ledger, that everything
    /// accepted is visible. The edges are running, so it uses copies of their channels; it may take
    /// a while until these contain the last commits.
    ///
    /// # Panics
    ///
    /// When it is not proved within `limit`.
    pub(crate) fn prove(&self, limit: Duration) {
        let channels: Vec<PathBuf> =
            (0..EDGES).map(|edge| self.edge_data(edge).join("channels/main")).collect();
        let copies = self.folder.join("accounts");
        wait::until("the proof that all is stored", limit, || {
            // Files of the previous look must not mix with this one.
            let _nothing_there = fs::remove_dir_all(&copies);
            let copied: Vec<PathBuf> =
                (1..=EDGES).map(|edge| copies.join(format!("edge-{edge}"))).collect();
            for (from, to) in channels.iter().zip(&copied) {
                copy_folder(from, to).ok()?;
            }
            self.store.proof(&copied).ok()
        });
    }

    /// Checks that every agent has accounted for each event that came in since its start.
    ///
    /// # Panics
    ///
    /// When nothing moves and events are missing, or are counted twice.
    pub(crate) fn account_for_events(&self) {
        self.edges.iter().chain(&self.collectors).for_each(Agent::account_for_events);
    }

    /// The last words of every agent, for a round that failed.
    pub(crate) fn last_words(&self) -> String {
        let agents = self.edges.iter().chain(&self.collectors);
        let words = agents.map(|agent| aqueduct_tests::process::tail(&agent.output()));
        words.collect::<Vec<_>>().join("\n\n")
    }
}

/// Copies files that may be written concurrently; skips those deleted in the meantime.
fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&path, &copy)?;
        } else if let Err(error) = fs::copy(&path, &copy)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
    }
    Ok(())
}

fn small_disk(folder: &Path, name: &str, bytes: u64) -> Mounted {
    let image = folder.join(format!("{name}.img"));
    let file = fs::File::create(&image).expect("an image for the small disk");
    file.set_len(bytes).expect("room for the small disk");
    let mounted = Mounted::new(&image, &folder.join(name), true);
    mounted.unwrap_or_else(|error| panic!("the small disk: {error}"))
}
