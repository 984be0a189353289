//! Runs one seed from beginning to end.
//!
//! ```text
//!   0 s ──── load and faults ──── 60 s ──── all is healed, no more faults ──────── ≤ 180 s
//!                                                                             every event once,
//!                                                                             channels empty
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::stream;
use serde::{Deserialize, Serialize};
use turmoil::Sim;

use crate::books::Books;
use crate::dice::Dice;
use crate::fault_kind::FaultKind;
use crate::faults::Faults;
use crate::input::Application;
use crate::letters;
use crate::machine::Machine;
use crate::observer::{self, Seen};
use crate::parts;
use crate::proof;
use crate::scenario::{CAPACITY_BYTES, Input, Reads, SEGMENT_BYTES, Scenario};
use crate::store::Store;
use crate::trace;
use crate::world::{World, lock};

/// Simulated time with load and faults.
const LOAD: Duration = Duration::from_secs(60);

/// Simulated time to finish after the last fault.
const FINISH: Duration = Duration::from_secs(120);

/// Size of a channel's files without events: one in its pool, the next segment, segments being
/// removed, and the small file that describes the channel.
const IDLE_BYTES: u64 = 4 * SEGMENT_BYTES + 4096;

/// Size of the two reserve files for starts on a full disk. They grow with the head of a segment,
/// which is always smaller than a segment.
const RESERVE_BYTES: u64 = 2 * SEGMENT_BYTES;

/// Directory of an agent's channels.
pub(crate) const CHANNELS: &str = "/data/channels";

/// Result of a seed, printed as one line by its process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    /// Hash of the trace.
    pub(crate) trace: String,
    /// Broken guarantees; empty if the seed passed.
    pub(crate) violations: Vec<String>,
    /// Accepted events that are visible.
    pub(crate) events: u64,
    /// Ledger entries.
    pub(crate) entries: u64,
    /// Ledger generations.
    pub(crate) generations: u64,
    /// Faults by kind. Kinds in brackets do not occur in every seed.
    pub(crate) faults: BTreeMap<String, u64>,
    pub(crate) simulated_ms: u64,
    /// Simulated milliseconds from the last fault until everything was done.
    pub(crate) healed_ms: u64,
}

impl Report {
    /// Compares with another run of the same seed. A difference is a violation.
    pub(crate) fn compared_with(mut self, again: &Self) -> Self {
        if self.trace != again.trace {
            let (one, other) = (&self.trace, &again.trace);
            self.violations.push(format!("two runs have the traces {one} and {other}"));
        }
        self
    }
}

/// Runs the agent on `machine` once, until it crashes or exits.
async fn live(machine: Arc<Machine>) -> turmoil::Result {
    if !machine.is_born() {
        return std::future::pending().await;
    }
    let mut signals = machine.begin_life();
    let signals = stream::poll_fn(move |cx| signals.poll_recv(cx));
    let path = Path::new("agent.toml");
    let plan = config::load(path, &machine.configuration, &machine.name)
        .unwrap_or_else(|errors| panic!("{errors}\n{}", machine.configuration));
    machine.world.note(&machine.name, format_args!("starts"));
    let ended = program::run_until(plan, parts::CATALOGUE, machine.env(), None, signals).await;
    machine.end_life(ended.map_or_else(|error| agent::chain(&error), |()| "stopped".into()));
    // The process is gone; the driver takes down the rest of the host.
    std::future::pending().await
}

/// Runs `seed`. With `show`, prints the trace as it happens.
pub(crate) fn run(seed: u64, show: bool) -> Report {
    let world = Arc::new(World::new(seed, show));
    trace::listen(&world);
    let panics = panics_of(&world);
    let scenario = Scenario::from_seed(seed);
    world.note("scenario", format_args!("{scenario:?}"));
    for (kind, is_so) in [
        ("(relays)", scenario.relays > 0),
        ("(two channels)", scenario.forks && !scenario.spreads),
        ("(two channels, by hash)", scenario.forks && scenario.spreads),
        ("(discovery)", scenario.discovers),
        ("(copy of an edge)", scenario.clones),
        ("(limits that differ)", scenario.has_limits()),
        ("(merges)", scenario.merges()),
        ("(object store)", scenario.objects.is_some()),
        ("(other form of files)", scenario.form.is_other()),
        ("(rejected events)", scenario.refuses),
    ] {
        if is_so {
            world.count_fault(kind);
        }
    }
    let mut cluster = Cluster::new(seed, &scenario, world.clone());
    let (mut done, mut healed) = (false, None);
    while !done && world.violations().is_empty() {
        cluster.step();
        let now = cluster.sim.elapsed();
        if now < LOAD {
            cluster.faults.advance(&mut cluster.sim, now);
        } else {
            if healed.is_none() {
                healed = Some(now);
                cluster.faults.heal(&mut cluster.sim, now);
            }
            cluster.faults.look_after(&mut cluster.sim, now);
            cluster.faults.mend_due(&mut cluster.sim, now);
            // The check costs more than a tick.
            done = now.as_millis().is_multiple_of(500) && cluster.is_done(now);
        }
        for message in lock(&panics).drain(..) {
            world.violation(format!("a panic: {message}"));
        }
    }
    cluster.report(seed, healed)
}

/// Collects panics of tasks, which tokio catches silently.
fn panics_of(world: &Arc<World>) -> Arc<Mutex<Vec<String>>> {
    let panics = Arc::new(Mutex::new(Vec::new()));
    let (told, world) = (panics.clone(), world.clone());
    std::panic::set_hook(Box::new(move |info| {
        lock(&told).push(info.to_string());
        if world.trace.is_shown() {
            let backtrace = std::backtrace::Backtrace::force_capture();
            drop(std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("{info}\n{backtrace}\n").as_bytes(),
            ));
        }
    }));
    panics
}

struct Cluster {
    sim: Sim<'static>,
    world: Arc<World>,
    machines: Vec<Arc<Machine>>,
    books: Arc<Books>,
    faults: Faults,
    seen: Arc<Seen>,
    /// Each edge with its expected events, and when its application writes next.
    inputs: Vec<(Arc<Machine>, Input)>,
    applications: Vec<(Application, Duration, Duration)>,
    channels: &'static [&'static str],
    checked: Duration,
    /// Maximum age of an event at an edge, if guaranteed.
    oldest_max: Option<Duration>,
    /// Whether collectors reject some events.
    refuses: bool,
}

impl Cluster {
    fn new(seed: u64, scenario: &Scenario, world: Arc<World>) -> Self {
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .tick_duration(Duration::from_millis(scenario.tick_millis))
            .simulation_duration(Duration::from_secs(3600))
            .enable_random_order()
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(20))
            .tcp_capacity(1024)
            .build();
        let edges = (0..scenario.edges.len()).map(|n| (format!("edge-{n}"), scenario.edge(n)));
        let relays = (0..scenario.relays).map(|n| (format!("relay-{n}"), scenario.relay(n)));
        let collectors =
            (0..scenario.collectors).map(|n| (format!("collector-{n}"), scenario.collector(n)));
        let copy = scenario.clones.then(|| ("copy-0".to_owned(), scenario.copy()));
        let machine = |(name, text): (String, String)| {
            Arc::new(Machine::new(&name, seed, text, world.clone()))
        };
        let machines: Vec<Arc<Machine>> =
            edges.chain(relays).chain(collectors).chain(copy).map(machine).collect();
        let copy = machines.last().filter(|_| scenario.clones);
        if let Some(copy) = copy {
            copy.wait_for_birth();
        }
        world.names.list(machines.iter().map(|machine| machine.name.clone()).collect());
        let books = Arc::new(Books::new(world.clone(), scenario));
        let (store, calls) = Store::new(world.clone(), books.clone(), scenario);
        let kept = (store.mood.clone(), books.clone());
        let faults = Faults::new(seed, scenario, machines.clone(), kept, world.clone());
        parts::place(store, machines.clone());
        for machine in &machines {
            let at = machine.clone();
            sim.host(&*machine.name, move || live(at.clone()));
        }
        let seen: Arc<Seen> = Arc::default();
        let names = machines.iter().map(|machine| machine.name.to_string()).collect();
        let watch = observer::watch(names, scenario.channels(), seen.clone());
        // One host for both, because each host adds cost to every tick and a link to every other
        // host.
        sim.client(observer::HOST, async move {
            tokio::join!(calls.serve(), watch);
            Ok(())
        });
        let inputs = machines.iter().cloned().zip(scenario.edges.iter().copied());
        let inputs = inputs.chain(copy.cloned().map(|copy| (copy, Scenario::of_the_copy())));
        let applications =
            machines.iter().zip(&scenario.edges).filter(|(_, edge)| edge.reads == Reads::Files);
        let applications = applications.map(|(machine, edge)| {
            let dice = Dice::new(seed, &format!("application on {}", machine.name));
            let pause = Duration::from_millis(edge.pause_millis);
            let work = Application::new(machine.clone(), dice, edge.events, scenario.body_bytes);
            (work, pause, pause)
        });
        let (inputs, applications) = (inputs.collect(), applications.collect());
        let (channels, checked) = (scenario.channels(), Duration::ZERO);
        let (oldest_max, refuses) = (scenario.oldest_max, scenario.refuses);
        Self {
            sim,
            world,
            machines,
            books,
            faults,
            seen,
            inputs,
            applications,
            channels,
            checked,
            oldest_max,
            refuses,
        }
    }

    /// Runs one tick of everything but the faults.
    fn step(&mut self) {
        if let Err(error) = self.sim.step() {
            self.world.violation(format!("the simulation broke: {error}"));
        }
        let now = self.sim.elapsed();
        self.world.advance(now);
        for (application, due, pause) in &mut self.applications {
            if now >= *due && !application.is_done() {
                *due = now + *pause;
                application.work();
            }
        }
        if now >= self.checked + Duration::from_secs(1) {
            self.checked = now;
            self.check_bounds();
            self.check_hops();
        }
    }

    /// Checks that no batch exceeds an announced limit, and no event waits longer than guaranteed.
    fn check_hops(&self) {
        for machine in &self.machines {
            let said = self.seen.of_host(&machine.name).unwrap_or_default();
            if said.too_large > 0 {
                let told =
                    format!("{} was sent a batch over the limit that it named", machine.name);
                self.world.violation(told);
            }
        }
        let Some(max) = self.oldest_max else { return };
        for (machine, _) in &self.inputs {
            let oldest = self.seen.of_host(&machine.name).unwrap_or_default().oldest;
            if oldest > max {
                let (name, waited) = (&machine.name, oldest.as_secs_f64());
                self.world.violation(format!(
                    "an event has waited {waited:.1} s at {name}, though another collector stores"
                ));
            }
        }
    }

    /// Checks that channels keep to their capacity and disks to little more, and that no agent
    /// reports a ledger as changed that is unchanged.
    fn check_bounds(&self) {
        let is_changed = self.world.faults().contains_key(FaultKind::LedgerChanged.name());
        for machine in &self.machines {
            let said = self.seen.of_host(&machine.name).unwrap_or_default();
            if said.ledger_changed && !is_changed {
                let told = format!("{} takes the ledger for another one", machine.name);
                self.world.violation(told);
            }
            if said.bytes > CAPACITY_BYTES {
                let bytes = said.bytes;
                self.world.violation(format!("the channel of {} has {bytes} bytes", machine.name));
            }
            let files = machine.disk().files();
            for channel in self.channels {
                let directory = Path::new(CHANNELS).join(channel);
                let (mut bytes, mut reserve_bytes) = (0, 0);
                for (path, len) in files.iter().filter(|(path, _)| path.starts_with(&directory)) {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    let sum = match name.starts_with("reserve-") {
                        true => &mut reserve_bytes,
                        false => &mut bytes,
                    };
                    *sum += len;
                }
                if bytes > CAPACITY_BYTES + IDLE_BYTES || reserve_bytes > RESERVE_BYTES {
                    let told = format!(
                        "{channel} of {} takes {bytes} bytes, and {reserve_bytes} for starts",
                        machine.name
                    );
                    self.world.violation(told);
                }
            }
        }
    }

    /// Returns whether everything is done. Reports a violation on a timeout.
    fn is_done(&self, now: Duration) -> bool {
        let missing = |(machine, input): &(Arc<Machine>, Input)| {
            let accepted = input.accepted(machine);
            let stored = accepted.iter().filter(|n| !Scenario::is_refused(self.refuses, *n));
            let (missing, first) = self.books.missing(&machine.name, stored);
            (missing > 0).then_some((machine.clone(), missing, first))
        };
        let born = self.inputs.iter().filter(|(machine, _)| machine.is_born());
        let missing: Vec<_> = born.filter_map(missing).collect();
        let offers = |(machine, input): &(Arc<Machine>, Input)| {
            input.reads == Reads::Client && machine.sent().0 < input.events
        };
        let quiet = |machine: &Arc<Machine>| {
            let said = self.seen.of_host(&machine.name);
            said.is_some_and(|said| said.at > LOAD && said.events == 0)
        };
        let born = self.machines.iter().filter(|machine| machine.is_born());
        let held: Vec<_> = born.filter(|machine| !quiet(machine)).collect();
        if missing.is_empty() && held.is_empty() && !self.inputs.iter().any(offers) {
            return true;
        }
        if now > LOAD + FINISH {
            for (machine, missing, first) in &missing {
                let (name, first) = (&machine.name, first.unwrap_or_default());
                let told = format!("{missing} events of {name} are not visible, first: {first}");
                self.world.violation(told);
            }
            for machine in held {
                let said = self.seen.of_host(&machine.name);
                self.world.violation(format!("{} is not empty: {said:?}", machine.name));
            }
        }
        false
    }

    fn report(self, seed: u64, healed: Option<Duration>) -> Report {
        let (now, world) = (self.sim.elapsed(), self.world);
        if world.violations().is_empty() {
            self.books.close();
            let born = self.machines.iter().filter(|machine| machine.is_born());
            let born: Vec<_> = born.cloned().collect();
            proof::check(&world, &self.books, &born, (self.channels, self.refuses));
            if self.refuses {
                letters::check(&world, &born, &self.inputs);
            }
        }
        for machine in &self.machines {
            let (disk, name) = (machine.disk(), &machine.name);
            let (changes, files) = (disk.changes(), disk.files());
            world.note(name, format_args!("{changes} changes of the disk, now {files:?}"));
        }
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Report {
            seed,
            trace: format!("{:016x}", world.trace.hash()),
            violations: world.violations(),
            events: self.books.visible_events(),
            entries: self.books.entries(),
            generations: self.books.generations(),
            faults: world.faults(),
            simulated_ms: millis(now),
            healed_ms: healed.map_or(0, |healed| millis(now.saturating_sub(healed))),
        }
    }
}
