//! Goal: lines that a real web server writes are in HDFS, each once, whatever is killed on the way.
//!
//! Method: nginx logs real requests from wrk, at more than 1,000 per second, while logrotate
//! renames its log. An edge tails the logs and sends to one collector, which stores in a real HDFS.
//! Edge and collector are killed (-9) and restarted, as a printed seed decides. Before each kill,
//! the test waits until the victim holds unsettled events, because otherwise the kill would prove
//! nothing. At the end Hadoop's own shell reads everything back, which must be exactly the lines
//! that nginx wrote.
//!
//! To test the test, the same runs with the collector's deduplication disabled. The kills must then
//! leave duplicates, or the first test could not have detected any.
//!
//! Lane: core
//! Needs: hdfs logrotate nginx wrk
//! Weight: 0
//! Limit: 10m
//! Paths: @core

use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::{Agent, CollectorConfig, wait_until_delivered};
use aqueduct_tests::hdfs::Hdfs;
use aqueduct_tests::http;
use aqueduct_tests::nginx::WebServer;
use aqueduct_tests::process::tail;
use aqueduct_tests::reconcile::{Differences, compare, prove};
use aqueduct_tests::seed;
use aqueduct_tests::wait;
use rand::prelude::*;
use rustix::process::Signal;
use tempfile::TempDir;

const CONNECTIONS: u32 = 24;
const LINES_MIN: usize = 200_000;
const ROTATIONS_MIN: u32 = 5;
const RATE_MIN: f64 = 1_000.0;

#[test]
#[ignore = "needs the programs, nginx, wrk, logrotate and HDFS: tests/run"]
fn each_nginx_line_is_stored_once_although_both_agents_are_killed() {
    let mut rng = seed::rng("nginx");
    let mut scene = Scene::start("dedupe-on", true);
    let mut victims = [[Victim::Edge; 10], [Victim::Collector; 10]].concat();
    victims.shuffle(&mut rng);

    let mut wrk = scene.web.load(CONNECTIONS, "0");
    scene.storm(&victims, &mut rng);
    wait::until("nginx to have logged enough", Duration::from_secs(180), || {
        thread::sleep(Duration::from_millis(200));
        (count_lines(&scene.web.logged()) >= LINES_MIN).then_some(())
    });
    wrk.signal(Signal::INT);
    wrk.wait(Duration::from_secs(10));
    let rate = requests_per_second(&wrk.output());
    let rotations = scene.web.rotations();
    let found = scene.finish();

    eprintln!("nginx: {rate} requests/s, {rotations} rotations, {found}");
    assert!(rate >= RATE_MIN, "too few requests:\n{}", wrk.output());
    assert!(rotations >= ROTATIONS_MIN, "{rotations} rotations");
    assert!(found.written >= LINES_MIN, "{found}");
    assert!(found.is_none(), "{found}");
}

#[test]
#[ignore = "needs the programs, nginx, wrk, logrotate and HDFS: tests/run"]
fn without_dedupe_the_same_kills_leave_repeated_lines() {
    let mut rng = seed::rng("nginx without dedupe");
    let mut scene = Scene::start("dedupe-off", false);
    let mut wrk = scene.web.load(CONNECTIONS, "0");
    scene.storm(&[Victim::Collector; 5], &mut rng);
    wrk.signal(Signal::INT);
    wrk.wait(Duration::from_secs(10));
    let found = scene.finish();

    eprintln!("nginx without dedupe: {found}");
    assert!(found.repeated > 0, "the kills repeated nothing, so they test nothing: {found}");
    assert_eq!((found.missing, found.foreign), (0, 0), "{found}");
}

#[derive(Debug, Clone, Copy)]
enum Victim {
    Edge,
    Collector,
}

/// nginx → edge → collector → HDFS, all running.
struct Scene {
    web: WebServer,
    edge: Agent,
    collector: Agent,
    /// The prefix of the collector's files in HDFS.
    prefix: String,
    started: Instant,
    dedupe: bool,
    /// Last, so that it is dropped after the processes that write into it.
    dir: TempDir,
}

impl Scene {
    fn start(name: &str, dedupe: bool) -> Self {
        let hdfs = Hdfs::shared();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = folder.path();
        let web = WebServer::start(dir);
        let listen = http::free_address().to_string();
        let prefix = format!("/system/nginx-{name}-{}", std::process::id());
        let store = format!("{}{prefix}/%Y-%m-%d", hdfs.url());

        let mut config = CollectorConfig::new(&listen, &store, &dir.join("collector"));
        if !dedupe {
            config = config.without_dedupe();
        }
        let mut collector = config.agent(dir).with_conf_dir(hdfs.conf_dir());
        collector.start();

        let data = dir.join("edge").display().to_string();
        let arguments = ["--tail", &web.glob(), "--to", &listen, "--data-dir", &data];
        let mut edge = Agent::new("aqueduct-edge", &arguments, &dir.join("edge.out"));
        edge.start();
        Self { web, edge, collector, prefix, started: Instant::now(), dedupe, dir: folder }
    }

    /// Kills and restarts each of `victims` in turn while it holds unsettled events, with rotations
    /// in between.
    fn storm(&mut self, victims: &[Victim], rng: &mut StdRng) {
        for (number, &victim) in victims.iter().enumerate() {
            thread::sleep(Duration::from_millis(rng.random_range(300..2_000)));
            if number % 3 == 1 {
                self.web.rotate();
            }
            let agent = match victim {
                Victim::Edge => &mut self.edge,
                Victim::Collector => &mut self.collector,
            };
            let held = wait::until("events in flight", Duration::from_secs(60), || {
                let held = agent.metrics()?.sum("aqueduct_channel_in_flight_events")?;
                (held > 0.0).then_some(held)
            });
            agent.kill();
            agent.start();
            eprintln!(
                "{:?}: killed {victim:?} with {held} events in flight",
                self.started.elapsed()
            );
        }
    }

    /// Lets everything arrive, shuts everything down, and compares the written lines with what
    /// Hadoop's shell reads.
    fn finish(mut self) -> Differences {
        let written = self.web.stop();
        let stored = || Hdfs::shared().read(&format!("{}/20*/*.log", self.prefix));
        wait_until_delivered(&self.edge, Duration::from_secs(120));
        // The edge may not have seen the newest file yet, even if it is idle, so check the store.
        let patience = Instant::now() + Duration::from_secs(60);
        while count_lines(&stored()) < count_lines(&written) && Instant::now() < patience {
            thread::sleep(Duration::from_secs(1));
        }
        self.edge.stop(Duration::from_secs(30));
        self.collector.stop(Duration::from_secs(30));
        if self.dedupe {
            let store = format!("{}{}/%Y-%m-%d", Hdfs::shared().url(), self.prefix);
            let channel = self.dir.path().join("edge/channels/main");
            prove(&store, Some(&Hdfs::shared().conf_dir()), &[channel]);
        }
        let found = compare(&written, &stored());
        if !found.is_none() {
            eprintln!("edge:\n{}", tail(&self.edge.output()));
            eprintln!("collector:\n{}", tail(&self.collector.output()));
        }
        found
    }
}

fn count_lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}

/// Parses wrk's own summary.
fn requests_per_second(summary: &str) -> f64 {
    let value = summary.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    let value = value.unwrap_or_else(|| panic!("no rate in wrk's summary:\n{summary}"));
    value.trim().parse().expect("wrk prints the rate as a number")
}
