//! Goal: Spark and Flink read committed data from a dataset, a Hive table and a Kafka topic, each
//! line once and nothing else, while agents write and are killed; and the examples of the
//! corresponding page run.
//!
//! Method: the examples come from `docs/engines.md`, with other addresses and shorter times. Two
//! pairs of collectors write: one Parquet into directories of two seconds, registered in a real
//! metastore, the other one text. Each collector is killed (-9) in turn. An agent sends lines to a
//! topic of a real broker, and is killed, too. Meanwhile a Spark session reads directory and table
//! repeatedly, compares each read with the previous one (`engines/spark.py`), and runs two streams;
//! a Flink job reads text and topic. Finally pyarrow reads the Parquet files, and each result is
//! compared with the written lines.
//!
//! ```text
//!   lines ─► edge ─► two collectors ─► Parquet in HDFS ─► Spark, the directory
//!                          └─────────► metastore ───────► Spark, the table
//!   lines ─► edge ─► two collectors ─► text in HDFS ────► Spark, a stream; Flink
//!   lines ─► agent, a kafka sink ────► topic ───────────► Spark, a stream; Flink
//! ```
//!
//! Lane: connector
//! Needs: hdfs javac python3
//! Weight: 0
//! Limit: 20m
//! Paths: crates/components-hdfs crates/components-parquet crates/components-kafka
//! Paths: docs/engines.md deploy/spark deploy/flink deploy/hive

mod own;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::{Agent, ROLL, wait_until_delivered};
use aqueduct_tests::docs::Page;
use aqueduct_tests::engines;
use aqueduct_tests::hdfs::Hdfs;
use aqueduct_tests::kafka::Kafka;
use aqueduct_tests::killed::collectors_are_killed_after;
use aqueduct_tests::metastore::Metastore;
use aqueduct_tests::process::{Process, tail};
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::{seed, wait};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Kills of collectors, in turn.
const KILLS: usize = 4;
/// Maximum pause between two logs, in milliseconds; five of them precede each kill.
const PAUSE_MAX: u64 = 1_500;
/// Kills of the agent that sends to the topic, and lines before each.
const SENDER_KILLS: usize = 5;
const SENDER_LINES: usize = 1_000;
/// Minimum number of reads of a dataset that found more than the previous one.
const GROWTHS: usize = 2;
/// Timeout for an engine to start, and to find all lines.
const PATIENCE: Duration = Duration::from_secs(120);
/// Timeout of a stop.
const STOP: Duration = Duration::from_secs(25);

/// The folder of the edge and the collectors of the Parquet dataset.
const ROWS: &str = "rows";

/// Addresses and folders.
struct Site {
    dir: PathBuf,
    /// The URL of the test's directory in HDFS.
    root: String,
    hdfs: &'static Hdfs,
    metastore: Metastore,
    kafka: Kafka,
    page: Page,
}

impl Site {
    /// Starts the servers in parallel, and creates the text directory, which the streams require.
    fn start(dir: &Path) -> Self {
        let hdfs = Hdfs::shared();
        let root = format!("{}/engines-{}", hdfs.url(), std::process::id());
        let (metastore, kafka) = thread::scope(|scope| {
            let metastore = scope.spawn(|| Metastore::start(dir));
            let made = scope.spawn(|| hdfs.fs(&["-mkdir", "-p", &format!("{root}/lines")]));
            let kafka = Kafka::start(dir);
            made.join().expect("the directory is made");
            (metastore.join().expect("the metastore starts"), kafka)
        });
        Self { dir: dir.to_owned(), root, hdfs, metastore, kafka, page: Page::read("engines.md") }
    }

    /// Returns the settings of the page's sink, with short times.
    fn sink_settings(&self) -> String {
        let others =
            [("5min", "1s"), ("1min", "1s"), ("thrift://metastore:9083", &*self.metastore.url())];
        let table = self.page.example("Settings of the sink", "toml", &others);
        let given = ["[sinks", "type ", "channel ", "url "];
        let own = table.lines().filter(|line| !given.iter().any(|it| line.starts_with(it)));
        own.chain(["round = \"2s\""]).collect::<Vec<_>>().join("\n")
    }

    /// Starts Spark with the page's settings, which runs the page's examples.
    fn spark(&self) -> Process {
        let own = self.dir.join("spark");
        fs::create_dir(&own).expect("the test's own folder");
        let [kafka, hive] = engines::spark_jars();
        let settings = self.page.example(
            "Spark",
            "properties",
            &[
                ("/opt/spark-kafka", &kafka.display().to_string()),
                ("/opt/spark-hive", &hive.display().to_string()),
                ("thrift://metastore:9083", &self.metastore.url()),
            ],
        );
        // For one small machine: each partition of a shuffle is a task.
        let small = "spark.master local[2]\nspark.ui.enabled false\n\
                     spark.ui.showConsoleProgress false\nspark.driver.memory 1g\n\
                     spark.driver.extraJavaOptions -XX:TieredStopAtLevel=1\n\
                     spark.sql.shuffle.partitions 2\n";
        let local = format!("spark.local.dir {}/local\n", own.display());
        write(&own, "spark-defaults.conf", &(settings + small + local.as_str()));
        let logs = format!("{}/logs", self.root);
        let own_logs: &[_] = &[("hdfs://namenode:8020/logs", &*logs)];
        write(&own, "directory.py", &self.page.example("A directory", "python", own_logs));
        write(&own, "table.py", &self.page.example("A table of Hive", "python", &[]));
        let stream = [("hdfs://namenode:8020", &*self.root), ("1 minute", "5 seconds")];
        write(&own, "files.py", &self.page.example("A directory as a stream", "python", &stream));
        let broker = self.kafka.address();
        let topic = [stream[0], stream[1], ("broker:9092", &broker)];
        write(&own, "topic.py", &self.page.example("A topic of Kafka", "python", &topic));
        let mut spark = engines::spark();
        spark.arg(write(&own, "spark.py", include_str!("engines/spark.py"))).arg(&own);
        spark.env("SPARK_CONF_DIR", &own).env("HADOOP_CONF_DIR", self.hdfs.conf_dir());
        spark.env("SPARK_LOCAL_IP", "127.0.0.1");
        Process::start("Spark", spark, &own.join("out"))
    }

    /// Starts the page's Flink job.
    fn flink(&self) -> Process {
        let own = self.dir.join("flink");
        fs::create_dir(&own).expect("the test's own folder");
        let (root, broker) = (&*self.root, self.kafka.address());
        let others = [
            ("hdfs://namenode:8020", root),
            ("broker:9092", &broker),
            ("ofSeconds(60)", "ofSeconds(2)"),
        ];
        let mut flink = engines::flink(&own, "Lines", &self.page.example("Flink", "java", &others));
        flink.env("HADOOP_CONF_DIR", self.hdfs.conf_dir());
        Process::start("Flink", flink, &own.join("out"))
    }

    /// Returns the page's agent for the topic.
    fn sender(&self) -> Agent {
        let own = self.dir.join("sender");
        fs::create_dir(&own).expect("the test's own folder");
        let (data, logs) = (own.join("data"), own.display().to_string());
        let (data, broker) = (data.display().to_string(), self.kafka.address());
        let others =
            [("/var/lib/aqueduct", &*data), ("/var/log/app", &*logs), ("broker:9092", &*broker)];
        let text = self.page.example("A topic of Kafka", "toml", &others);
        Agent::configured("aqueduct-collector", &own, "sender", &text)
    }

    /// Kills the sending agent repeatedly. Returns the written lines, including the earlier log 0.
    fn lines_are_sent(&self, mut sender: Agent, mut rng: StdRng) -> Vec<u8> {
        let mut written = lines_of_log(0);
        for kill in 1..=SENDER_KILLS {
            written.extend(self.log(kill));
            thread::sleep(Duration::from_millis(rng.random_range(0..PAUSE_MAX)));
            sender.kill();
            sender.start();
        }
        wait_until_delivered(&sender, PATIENCE);
        sender.stop(STOP);
        written
    }

    /// Writes a log for the topic.
    fn log(&self, number: usize) -> Vec<u8> {
        let lines = lines_of_log(number);
        fs::write(self.dir.join(format!("sender/{number}.log")), &lines).expect("a log is written");
        lines
    }
}

fn lines_of_log(number: usize) -> Vec<u8> {
    let lines = (0..SENDER_LINES).map(|line| format!("{number}-0 {line}\n"));
    lines.collect::<String>().into_bytes()
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).expect("the test's own folder");
    path
}

/// Returns a number in the output about a dataset, as in `directory: 7 reads, 5 growths`.
fn count(said: &str, dataset: &str, what: &str) -> usize {
    let of_dataset = said.lines().find_map(|line| line.strip_prefix(dataset)?.strip_prefix(": "));
    let mut counts = of_dataset.into_iter().flat_map(|counts| counts.split(", "));
    let count = counts.find_map(|one| one.strip_suffix(what)?.trim().parse().ok());
    count.unwrap_or_else(|| panic!("no {what} of {dataset} in:\n{said}"))
}

/// The written lines: into the Parquet dataset, into the text dataset, and for the topic.
struct Written {
    rows: Vec<u8>,
    lines: Vec<u8>,
    messages: Vec<u8>,
}

impl Written {
    /// Writes while collectors and sender are killed, until all is delivered. The second half of
    /// the rows follows when Spark has read some of the first, so that Spark reads while more of
    /// them arrive, however slow it is.
    fn through_kills(site: &Site, sender: Agent, spark: &Process, rng: &mut StdRng) -> Self {
        let mut own_rng = || StdRng::seed_from_u64(rng.random());
        let [mut of_rows, mut of_lines, of_sender] = [own_rng(), own_rng(), own_rng()];
        let store = |url: &str, settings: &str, name: &str, rng: &mut StdRng| {
            let (own, url) = (site.dir.join(name), format!("{}/{url}", site.root));
            fs::create_dir(&own).expect("the test's own folder");
            let is_read = |kill| {
                if name == ROWS && kill + 1 == KILLS / 2 {
                    wait::until("Spark to read rows", PATIENCE, || {
                        let said = spark.output();
                        let grew = |dataset| said.contains(&format!("{dataset} has grown"));
                        (grew("directory") && grew("table")).then_some(())
                    });
                }
            };
            collectors_are_killed_after(&own, &url, settings, rng, (KILLS, PAUSE_MAX), is_read)
        };
        thread::scope(|scope| {
            let messages = scope.spawn(|| site.lines_are_sent(sender, of_sender));
            let lines = scope.spawn(|| store("lines/day=%Y-%m-%d", ROLL, "lines", &mut of_lines));
            let url = "logs/day=%Y%m%d-%H%M%S";
            let rows = store(url, &site.sink_settings(), ROWS, &mut of_rows);
            let lines = lines.join().expect("lines are stored");
            Self { rows, lines, messages: messages.join().expect("lines are sent") }
        })
    }

    /// Formats Flink's results and their expected line counts, for Spark.
    fn results(&self, root: &str) -> String {
        let result = |name: &str, written: &[u8]| {
            format!("{root}/results/{name} {}\n", compare(written, written).written)
        };
        result("flink-lines", &self.lines) + result("flink-messages", &self.messages).as_str()
    }

    /// Asserts that each engine has found each line once.
    fn is_found(&self, spark: &Path) {
        for (found, written) in [
            ("directory", &self.rows),
            ("table", &self.rows),
            ("arrow", &self.rows),
            ("files", &self.lines),
            ("topic", &self.messages),
            ("flink-lines", &self.lines),
            ("flink-messages", &self.messages),
        ] {
            let lines = fs::read(spark.join(format!("{found}.lines"))).expect("a result");
            let differences = compare(written, &lines);
            assert!(differences.is_none(), "{found}: {differences}");
            eprintln!("{found}: {differences}");
        }
    }
}

#[test]
#[ignore = "needs the programs, HDFS, a JDK, Maven and Python: tests/run"]
fn spark_and_flink_find_each_line_once_while_agents_are_killed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut rng, began) = (seed::rng("engines"), Instant::now());
    let site = Site::start(folder.path());
    let mut spark = site.spark();
    let mut sender = site.sender();
    sender.start();
    site.log(0);
    wait::until("the topic to be there", PATIENCE, || {
        (sender.metrics()?.sum("aqueduct_sink_sent_events_total")? > 0.0).then_some(())
    });
    let mut flink = site.flink();
    wait::until("Spark to be ready", PATIENCE, || {
        assert!(spark.is_alive(), "Spark ended:\n{}", tail(&spark.output()));
        spark.output().contains("ready").then_some(())
    });
    let ready = began.elapsed();
    let written = Written::through_kills(&site, sender, &spark, &mut rng);
    let delivered = began.elapsed();

    // Either collector registers what both have left.
    let own = site.dir.join(ROWS).join("one");
    let config = own.join("collector.toml").display().to_string();
    let mut collector =
        Agent::new("aqueduct-collector", &["--config", &config], &own.join("last.out"));
    collector.start();
    let own = site.dir.join("spark");
    let results = write(&site.dir, "written", &written.results(&site.root));
    fs::rename(results, own.join("written")).expect("the test's own folder");
    let ended = spark.wait(PATIENCE);
    let said = spark.output();
    let failed = said.lines().find(|line| line.starts_with("failed: "));
    assert!(ended.success(), "Spark ended with {ended}: {}", failed.unwrap_or(&tail(&said)));
    assert!(flink.is_alive(), "Flink ended:\n{}", tail(&flink.output()));
    collector.stop(STOP);
    written.is_found(&own);
    for dataset in ["directory", "table"] {
        let growths = count(&said, dataset, "growths");
        assert!(growths >= GROWTHS, "{dataset} was larger than before {growths} times");
        eprintln!("{dataset}: {} reads, {growths} growths", count(&said, dataset, "reads"));
    }
    for stream in ["files", "topic"] {
        assert_eq!(count(&said, stream, "runs"), 2, "{stream}");
    }
    eprintln!(
        "{} messages in the topic; ready after {ready:?}, delivered after {delivered:?}, {:?}",
        site.kafka.read("logs").len(),
        began.elapsed()
    );
}
