//! Goal: three Flume tiers are replaced by ours agent by agent, under load, and every line that
//! nginx logs is in HDFS. Each step can be reverted. Lines are duplicated only while a Flume agent
//! is on their path, and not at all when both sides are ours.
//!
//! Method: the steps of `docs/migrate-from-flume.md`, with the commands of that page, all of which
//! must run. Two real nginx log requests from wrk, each with a unique number and the phase in its
//! path. Four real Flume 1.11 agents move the lines into HDFS. Then collectors and edges are
//! stopped, one of them with -9, and each is replaced by ours, with the same file, on the same
//! port, with the content of the file channel and the positions of the log files; one collector and
//! one edge are reverted to Flume and replaced again. At the end both of our collectors are killed
//! with -9, and the logs are rotated. Hadoop's shell reads everything back; lines are compared
//! phase by phase.
//!
//! ```text
//!   nginx ◄─ wrk
//!     │ access.log
//!   e1, e2: taildir ─► file channel ─► avro, failover ─► c1, c2: avro ─► file channel ─► HDFS
//! ```
//!
//! Lane: flume
//! Needs: hdfs logrotate nginx wrk
//! Weight: 0
//! Limit: 15m
//! Paths: crates/flume crates/components crates/components-files crates/formats
//! Paths: crates/kit docs/migrate-from-flume.md

mod host;

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::wait_until_delivered;
use aqueduct_tests::hdfs::Hdfs;
use aqueduct_tests::http;
use aqueduct_tests::nginx::WebServer;
use aqueduct_tests::process::Process;
use aqueduct_tests::reconcile::{Differences, compare};
use aqueduct_tests::wait;
use host::{Host, collector, commands_not_run, edge};
use rustix::process::Signal;

/// Long enough for a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);
/// wrk connections per nginx: about 300 requests per second.
const CONNECTIONS: u32 = 2;
/// Minimum number of events in a collector's channel when it is stopped, so that there is something
/// to import.
const HELD_MIN: u64 = 50;
/// Minimum number of events in flight through our collector when it is killed.
const IN_FLIGHT_MIN: f64 = 200.0;

/// Two web servers under load, two edges, two collectors, and the phases so far.
struct Scene {
    webs: [WebServer; 2],
    wrk: Vec<Process>,
    edges: [Host; 2],
    collectors: [Host; 2],
    /// Addresses of our collectors for our edges.
    grpc: [SocketAddr; 2],
    /// The prefix of all stored files in HDFS.
    prefix: String,
    phases: Vec<&'static str>,
    started: Instant,
}

impl Scene {
    /// Starts all of Flume, without load.
    fn start(dir: &Path) -> Self {
        let webs = ["w1", "w2"].map(|name| WebServer::start(&dir.join(name)));
        let prefix = format!("/system/rehearsal-{}", std::process::id());
        let store = format!("{}{prefix}", Hdfs::shared().url());
        let avro = [http::free_address(), http::free_address()];
        let unused = format!("edges.port = {}", http::free_address().port());
        let mut collectors = [("c1", avro[0]), ("c2", avro[1])]
            .map(|(name, listen)| Host::new(name, dir, &collector(listen, &store), &unused));
        // Each edge prefers another collector, so that both are in use.
        let to = [[("c1", avro[0]), ("c2", avro[1])], [("c2", avro[1]), ("c1", avro[0])]];
        let none = format!("logs.filegroups.access = {}/none", dir.display());
        let mut edges = [("e1", 0), ("e2", 1)]
            .map(|(name, at)| Host::new(name, dir, &edge(&webs[at], to[at]), &none));
        thread::scope(|scope| {
            for host in collectors.iter_mut().chain(&mut edges) {
                scope.spawn(|| host.start_flume());
            }
        });
        let grpc = [http::free_address(), http::free_address()];
        let (wrk, phases, started) = (Vec::new(), Vec::new(), Instant::now());
        Self { webs, wrk, edges, collectors, grpc, prefix, phases, started }
    }

    /// From now on, requests have the number of this phase.
    fn begin(&mut self, phase: &'static str) {
        self.say(phase);
        self.end_load();
        let number = self.phases.len();
        self.phases.push(phase);
        self.wrk.extend(
            self.webs
                .iter()
                .enumerate()
                .map(|(at, web)| web.load(CONNECTIONS, &format!("{number}-{at}"))),
        );
    }

    fn say(&self, what: &str) {
        eprintln!("{:5.1} s: {what}", self.started.elapsed().as_secs_f64());
    }

    fn end_load(&mut self) {
        for mut wrk in self.wrk.drain(..) {
            wrk.signal(Signal::INT);
            wrk.wait(LIMIT);
        }
    }

    /// Ends the load, and waits until Flume has moved all of it into HDFS.
    fn settle(&mut self) {
        self.end_load();
        for (host, web) in self.edges.iter().zip(&self.webs) {
            wait::until(&format!("{} to have read its logs", host.name), LIMIT, || {
                (host.position() == Some(web.logged_bytes())).then_some(())
            });
        }
        for host in self.edges.iter().chain(&self.collectors) {
            let count = |name| host.flume().counter("CHANNEL.file", name);
            wait::until(&format!("{} to be empty", host.name), LIMIT, || {
                let put = count("EventPutSuccessCount")?;
                (count("EventTakeSuccessCount")? == put).then_some(())
            });
        }
    }

    fn collector_to_ours(&mut self, at: usize, killed: bool) {
        let host = &mut self.collectors[at];
        match killed {
            true => {
                host.wait_until_writing();
                host.kill_flume();
            }
            false => {
                host.wait_until_connected();
                host.wait_until_held();
                host.stop_flume();
            }
        }
        host.start_ours();
        host.wait_until_in_use();
    }

    fn collector_to_flume(&mut self, at: usize) {
        let host = &mut self.collectors[at];
        host.drain();
        host.put_aside();
        host.start_flume();
        host.wait_until_in_use();
    }

    fn edge_to_ours(&mut self, at: usize) {
        let host = &mut self.edges[at];
        host.wait_until_held();
        host.stop_flume();
        host.start_ours();
        host.wait_until_in_use();
    }

    fn edge_to_flume(&mut self, at: usize) {
        let host = &mut self.edges[at];
        host.drain();
        host.export_positions();
        host.put_aside();
        host.start_flume();
        host.wait_until_in_use();
    }

    /// Collectors also accept `grpc`, and then the edges use it: from now on a batch has an
    /// identity on its whole path.
    fn turn_to_grpc(&mut self) {
        for (host, listen) in self.collectors.iter_mut().zip(self.grpc) {
            let source = format!(
                "\n[sources.ours]\ntype = \"grpc\"\nlisten = \"{listen}\"\nchannels = [\"file\"]\n"
            );
            host.start_translated("collector", |text| text.to_owned() + source.as_str());
        }
        for host in &mut self.edges {
            let [c1, c2] = self.grpc;
            host.start_translated("edge", |text| {
                let (sources, rest) = text.split_once("[sinks.c1]").expect("its first sink");
                let (_, groups) = rest.split_once("[groups.").expect("its group");
                format!(
                    "{sources}[sinks.c1]\ntype = \"grpc\"\naddress = \"{c1}\"\n\n\
                     [sinks.c2]\ntype = \"grpc\"\naddress = \"{c2}\"\n\n[groups.{groups}"
                )
            });
        }
        self.collectors.iter().chain(&self.edges).for_each(Host::wait_until_in_use);
    }

    /// Kills each of our collectors while batches are in flight through it.
    fn kill_collectors(&mut self) {
        for host in &mut self.collectors {
            let ours = host.ours();
            wait::until("a collector with batches in flight", LIMIT, || {
                let held = ours.metrics()?.sum("aqueduct_channel_in_flight_events")?;
                (held >= IN_FLIGHT_MIN).then_some(())
            });
            ours.kill();
            ours.start();
            host.wait_until_in_use();
        }
    }

    /// Waits until everything has arrived. Returns the result of each phase's lines.
    fn finish(mut self) -> Vec<(&'static str, Differences)> {
        self.end_load();
        self.say("the load is over");
        for host in &mut self.edges {
            wait_until_delivered(host.ours(), LIMIT);
        }
        self.say("the edges have delivered");
        self.edges.iter_mut().chain(&mut self.collectors).for_each(Host::stop_ours);
        let stored = Hdfs::shared().fs(&["-cat", &format!("{}/e*/20*/*", self.prefix)]);
        self.say("all is read back");
        let written: Vec<u8> = self.webs.into_iter().flat_map(WebServer::stop).collect();
        let found = |(number, phase): (usize, &&'static str)| {
            let (written, stored) = (of_phase(number, &written), of_phase(number, &stored));
            (*phase, compare(&written, &stored))
        };
        let found: Vec<_> = self.phases.iter().enumerate().map(found).collect();
        let compared: usize = found.iter().map(|(_, it)| it.stored).sum();
        assert_eq!(compared, stored.split(|&byte| byte == b'\n').count() - 1, "of no phase");
        for host in self.edges.iter().chain(&self.collectors) {
            eprintln!("{}: {} events taken over from Flume's channel", host.name, host.imported);
        }
        found
    }
}

/// Renames files that a killed Flume collector has left under a hidden name, and never finishes.
/// Returns their number.
fn publish_unfinished(prefix: &str) -> usize {
    let hdfs = Hdfs::shared();
    let unfinished = hdfs.list(&format!("{prefix}/*/*/*.tmp"));
    for path in &unfinished {
        hdfs.recover_lease(path);
        hdfs.fs(&["-mv", path, path.trim_end_matches(".tmp")]);
    }
    unfinished.len()
}

/// Returns the lines whose path contains that phase.
fn of_phase(number: usize, lines: &[u8]) -> Vec<u8> {
    let path = format!("/item/{number}-");
    let path = path.as_bytes();
    let of_it = lines.split_inclusive(|&byte| byte == b'\n');
    of_it.filter(|line| line.windows(path.len()).any(|it| it == path)).flatten().copied().collect()
}

#[test]
#[ignore = "needs the programs, Flume, nginx, wrk, logrotate and HDFS: tests/run"]
fn three_tiers_of_flume_are_replaced_agent_by_agent_without_a_loss() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut scene = Scene::start(dir.path());

    scene.begin("all of Flume, a log rotated");
    let all = scene.collectors.iter().chain(&scene.edges);
    all.for_each(Host::wait_until_in_use);
    scene.webs[1].rotate();
    scene.begin("all of Flume");
    thread::sleep(Duration::from_secs(1));
    scene.settle();
    scene.begin("collector 1 stopped, ours");
    scene.collector_to_ours(0, false);
    scene.begin("collector 1 back to Flume");
    scene.collector_to_flume(0);
    scene.begin("collector 1 stopped, ours again");
    scene.collector_to_ours(0, false);
    scene.begin("collector 2 killed, ours");
    scene.collector_to_ours(1, true);
    let prefix = scene.prefix.clone();
    let publishing = thread::spawn(move || publish_unfinished(&prefix));
    scene.begin("edge 1 stopped, ours");
    scene.edge_to_ours(0);
    scene.begin("edge 1 back to Flume");
    scene.edge_to_flume(0);
    scene.begin("edge 1 stopped, ours again");
    scene.edge_to_ours(0);
    scene.begin("edge 2 stopped, ours");
    scene.edge_to_ours(1);
    scene.begin("grpc between ours");
    scene.turn_to_grpc();
    scene.begin("all of ours, both collectors killed, logs rotated");
    scene.webs.iter_mut().for_each(WebServer::rotate);
    scene.kill_collectors();
    scene.kill_collectors();

    let unfinished = publishing.join().expect("the files get their names");
    assert!(unfinished > 0, "a killed collector of Flume left no file open");
    let imported: u64 = scene.collectors.iter().chain(&scene.edges).map(|it| it.imported).sum();
    let found = scene.finish();
    for (phase, differences) in &found {
        eprintln!("{phase}: {differences}");
    }
    for (phase, differences) in &found {
        assert!(differences.written > 0, "{phase}: nothing was logged");
        assert_eq!((differences.missing, differences.foreign), (0, 0), "{phase}: {differences}");
    }
    assert!(imported > 0, "no channel of Flume held anything: nothing was taken over");
    let not_run = commands_not_run();
    assert!(
        not_run.is_empty(),
        "commands of docs/migrate-from-flume.md that were not run: {not_run:?}"
    );
    let repeated = |at: usize| found[at].1.repeated;
    // They were in HDFS before the first step: only a log that is read again could duplicate them.
    assert_eq!(repeated(1), 0, "a log was read again at one of the steps");
    assert!(repeated(0) > 0, "Flume reads a renamed log again, and no repeat is seen");
    assert_eq!(repeated(found.len() - 1), 0, "a line is repeated although all is ours");
}
