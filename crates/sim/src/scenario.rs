//! What follows from a seed before anything runs: how many hosts, how they are set, what goes wrong.

mod copies;
mod restores;

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use crate::dice::Dice;
use crate::fault_kind::{FaultKind, KINDS};

/// Bytes that each channel may hold.
pub(crate) const CAPACITY_BYTES: u64 = 2 << 20;

/// Bytes of a channel's segment.
pub(crate) const SEGMENT_BYTES: u64 = 64 << 10;

/// What follows from a seed before anything runs.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// What each edge reads.
    pub(crate) edges: Vec<Input>,
    /// Number of agents between the edges and the collectors.
    pub(crate) relays: usize,
    /// Number of collectors.
    pub(crate) collectors: usize,
    /// Agents have two channels, and a selector that chooses.
    pub(crate) forks: bool,
    /// Whoever sends looks up whom it sends to.
    pub(crate) discovers: bool,
    /// The first edge gets a copy, with events of its own.
    pub(crate) clones: bool,
    /// What is left of a ledger that was changed from outside is adopted, where it has no hole.
    pub(crate) adopts: bool,
    /// Milliseconds between two looks of the driver.
    pub(crate) tick_millis: u64,
    /// Bytes of each event's body.
    pub(crate) body_bytes: usize,
    /// Entries after which the ledger gets a checkpoint.
    pub(crate) compact_after: u64,
    /// What may go wrong, with the milliseconds from one such fault to the next.
    pub(crate) faults: Vec<(FaultKind, u64)>,
    /// Edges forget what a collector has on disk; then no disk is lost.
    retain: &'static str,
    group: String,
    compression: &'static str,
    window_batches: u64,
    roll_age_millis: u64,
    roll_events: u64,
    sweep_millis: u64,
    /// Calls of a thousand that are late while the store is late, at the least and at most.
    pub(crate) late: (u64, u64),
    /// Only the first collector takes others for dead early.
    only_first_sweeps: bool,
    /// Every other collector rolls this many times as slowly, and so is often taken for dead.
    slower: u64,
}

/// What most of a seed is about.
enum Theme {
    /// Anything.
    Any,
    /// Many that write to one ledger, over a store whose calls take from milliseconds to seconds.
    Ledger,
    /// Copies that nobody knows of, on collectors that come back when their epoch is forgotten.
    Strays,
    /// Two that run on copies of one disk.
    Clones,
    /// A ledger that is deleted, cut, or put back to an older copy.
    Changed,
    /// Who is stopped just before it changes the ledger, while others go on.
    Turns,
}

/// Where the events of an edge come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Files that an application writes and rotates.
    Files,
    /// Numbers that the edge makes.
    Numbers,
    /// A sender that sends each event once.
    Client,
}

/// What an edge reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input {
    /// Where the events come from.
    pub(crate) reads: Reads,
    /// Events in all.
    pub(crate) events: u64,
    /// Milliseconds between two writes of the application, or the sender, if there is one.
    pub(crate) pause_millis: u64,
}

impl Scenario {
    /// The scenario of `seed`.
    pub(crate) fn of(seed: u64) -> Self {
        let dice = Dice::new(seed, "scenario");
        let edges = (0..dice.between(2, 4)).map(|_| Input::draw(&dice)).collect();
        let group = match dice.below(4) {
            0 => "type = \"failover\"".to_owned(),
            1 => "type = \"load_balance\"\nsticky = false".to_owned(),
            2 => "type = \"load_balance\"\nsticky = false\npolicy = \"least_loaded\"".to_owned(),
            _ => "type = \"load_balance\"".to_owned(),
        };
        // Some kinds each time, so that what one of them hides is seen without it.
        let mut faults = Vec::new();
        for kind in KINDS {
            if dice.chance(450) {
                faults.push((*kind, dice.between(1_500, 20_000)));
            }
        }
        if dice.chance(30) {
            faults.clear();
        }
        let retain = *dice.pick(&["committed", "committed", "committed", "stored"]);
        if retain == "stored" {
            faults.retain(|(kind, _)| *kind != FaultKind::DiskLost);
        }
        let theme = match dice.below(10) {
            0 | 1 => Theme::Ledger,
            2 => Theme::Strays,
            3 => Theme::Turns,
            4 => Theme::Clones,
            5 => Theme::Changed,
            _ => Theme::Any,
        };
        let roll_age_millis = dice.between(300, 3_000);
        let relays = if dice.chance(250) { dice.between(2, 3) as usize } else { 0 };
        let drawn = Self {
            edges,
            relays,
            collectors: dice.between(2, 5) as usize,
            forks: dice.chance(250),
            // A tick costs the same however long it is: most of a simulation, where it is short.
            tick_millis: *dice.pick(&[5, 10, 20, 20, 20, 20]),
            body_bytes: dice.between(20, 120) as usize,
            compact_after: dice.between(3, 40),
            faults,
            retain,
            group,
            compression: *dice.pick(&["none", "none", "zstd"]),
            window_batches: dice.between(2, 16),
            roll_age_millis,
            // At the least, collectors that are alive are taken for dead all the time.
            sweep_millis: roll_age_millis + dice.below(3) / 2 * dice.between(0, 15_000),
            roll_events: dice.between(50, 1_000),
            late: (10, 300),
            only_first_sweeps: false,
            slower: 1,
            discovers: false,
            clones: false,
            adopts: Dice::new(seed, "adopts").chance(400),
        };
        // Dice of their own: the other seeds stay as they are.
        let restores = Dice::new(seed, "restores");
        match theme {
            Theme::Any if restores.chance(250) => drawn.about_restores(&restores),
            Theme::Any if dice.chance(150) => drawn.with_lookups(&dice),
            Theme::Any => drawn,
            Theme::Ledger => drawn.about_the_ledger(&dice),
            Theme::Strays => drawn.about_strays(&dice),
            Theme::Turns => drawn.about_turns(&dice),
            Theme::Clones => drawn.about_clones(&dice),
            Theme::Changed => drawn.about_changes(&dice),
        }
    }

    /// Commits, fences and generations every few hundred milliseconds, by all at once.
    fn about_the_ledger(self, dice: &Dice) -> Self {
        let faults = vec![
            (FaultKind::StoreLate, 1_000),
            (FaultKind::StoreSlow, 6_000),
            (FaultKind::StoreUnheard, 3_000),
            (FaultKind::StoreRefuses, 6_000),
            (FaultKind::OneWay, 2_000),
            (FaultKind::Reset, 2_000),
            (FaultKind::Kill, 3_000),
            (FaultKind::Freeze, 4_000),
        ];
        let hurried = self.hurried(dice, 2..=5, faults);
        Self { late: (100, 400), slower: dice.between(1, 4), ..hurried }
    }

    /// Two that are stopped where they are overtaken, while at least one more goes on. Only one
    /// clears away: another one would finish what it was stopped at.
    fn about_turns(self, dice: &Dice) -> Self {
        let faults = vec![(FaultKind::StopAtTurn, 4_000), (FaultKind::Kill, 20_000)];
        let hurried = self.hurried(dice, 3..=5, faults);
        Self { only_first_sweeps: true, slower: dice.between(1, 4), ..hurried }
    }

    /// The store's owner does to the ledger what it should not, and an operator mends it. No disk is
    /// lost or fails: then nothing may remember what the ledger said.
    fn about_changes(self, dice: &Dice) -> Self {
        let faults = vec![
            (FaultKind::LedgerChanged, 10_000),
            // Copies that come late: they are what a ledger begun anew would repeat.
            (FaultKind::StoreCut, 5_000),
            (FaultKind::Stray, 8_000),
            (FaultKind::Kill, 8_000),
            (FaultKind::Restart, 8_000),
            (FaultKind::Reset, 3_000),
            (FaultKind::OneWay, 4_000),
        ];
        let hurried = self.hurried(dice, 2..=3, faults);
        Self { compact_after: dice.between(2, 20), ..hurried }
    }

    /// Epochs that end soon, and collectors that are away with what others have delivered.
    fn about_strays(self, dice: &Dice) -> Self {
        let faults = vec![
            (FaultKind::Stray, 5_000),
            (FaultKind::Kill, 4_000),
            (FaultKind::Restart, 4_000),
            (FaultKind::Reset, 4_000),
        ];
        // Nobody takes for dead who only sleeps, or what it holds would be packed anew.
        Self { roll_events: 50, sweep_millis: 60_000, ..self.hurried(dice, 2..=3, faults) }
    }

    /// One ledger that all write to every few hundred milliseconds, and these faults, more or less
    /// often.
    fn hurried(
        self,
        dice: &Dice,
        collectors: RangeInclusive<u64>,
        faults: Vec<(FaultKind, u64)>,
    ) -> Self {
        let roll_age_millis = dice.between(300, 600);
        let each = |(kind, gap): (FaultKind, u64)| (kind, dice.between(gap / 2, gap * 2));
        Self {
            relays: 0,
            collectors: dice.between(*collectors.start(), *collectors.end()) as usize,
            forks: false,
            group: "type = \"load_balance\"\nsticky = false".to_owned(),
            compact_after: dice.between(2, 5),
            faults: faults.into_iter().map(each).collect(),
            retain: "committed",
            roll_age_millis,
            sweep_millis: roll_age_millis,
            ..self
        }
    }

    /// Agents are found by their names, and at times are not, beside all that goes wrong anyhow.
    fn with_lookups(mut self, dice: &Dice) -> Self {
        self.faults.push((FaultKind::Names, dice.between(1_500, 10_000)));
        Self { discovers: true, ..self }
    }

    /// The configuration of an edge's agent.
    pub(crate) fn edge(&self, edge: usize) -> String {
        let input = &self.edges[edge];
        let mut text = agent(&format!("edge-{edge}"));
        let Input { reads, events: count, pause_millis } = *input;
        let (rate, size) = (count.div_ceil(50), self.body_bytes);
        let source = match reads {
            Reads::Files => "type = \"tail_dir\"\npaths = [\"/logs/*\"]\nfile_header = false\n\
                 batch_bytes = \"256KiB\"\n\
                 poll_min = \"20ms\"\npoll_max = \"200ms\"\nbatch_events = 10"
                .to_owned(),
            Reads::Numbers => format!(
                "type = \"sequence\"\ncount = {count}\nrate = {rate}\nbatch_events = 7\n\
                 size = \"{size}B\""
            ),
            Reads::Client => format!(
                "type = \"client\"\ncount = {count}\nsize = {size}\npause_millis = {pause_millis}"
            ),
        };
        let selector = self.selector("lane", "1");
        write!(
            text,
            "[sources.in]\n{source}\n{selector}interceptors = [{{ type = \"host\" }}]\n{}",
            self.ways()
        )
        .expect("a string takes every write");
        text
    }

    /// The configuration of a relay's agent.
    pub(crate) fn relay(&self, relay: usize) -> String {
        let hops = Self::hops("collector", self.collectors);
        format!(
            "{}[sources.in]\ntype = \"grpc\"\nlisten = \"0.0.0.0:4141\"\n{}{}",
            agent(&format!("relay-{relay}")),
            self.selector("host", "edge-1"),
            self.ways_to(&hops),
        )
    }

    fn hops(tier: &str, count: usize) -> Vec<String> {
        (0..count).map(|n| format!("{tier}-{n}")).collect()
    }

    /// The channels of an edge, and the groups that empty them.
    fn ways(&self) -> String {
        let hops = match self.relays {
            0 => Self::hops("collector", self.collectors),
            relays => Self::hops("relay", relays),
        };
        self.ways_to(&hops)
    }

    fn ways_to(&self, hops: &[String]) -> String {
        let mut text = String::new();
        for channel in self.channels() {
            // The name of a tier is that of its first agent without the number.
            let tier = hops[0].trim_end_matches("-0");
            let hops: Vec<&str> = match self.discovers {
                true => vec![tier],
                false => hops.iter().map(String::as_str).collect(),
            };
            let sinks: Vec<String> =
                hops.iter().map(|hop| format!("\"{channel}-{hop}\"")).collect();
            write!(
                text,
                "{}[groups.{channel}]\n{}\nchannel = \"{channel}\"\nsinks = [{}]\n\
                 backoff_min = \"200ms\"\nbackoff_max = \"2s\"\n",
                self.channel(channel),
                self.group,
                sinks.join(", "),
            )
            .expect("a string takes every write");
            for hop in hops {
                let Self { window_batches: window, compression, retain, .. } = self;
                let way = match self.discovers {
                    true => format!(
                        "discover = \"srv:{hop}\"\ndiscover_every = \"1s\"\ndiscover_max = 4\n\
                         drain_max = \"8s\""
                    ),
                    false => format!("address = \"{hop}:4141\""),
                };
                write!(
                    text,
                    "[sinks.{channel}-{hop}]\ntype = \"grpc\"\n{way}\n\
                     window_batches = {window}\ncompression = \"{compression}\"\n\
                     retain = \"{retain}\"\nconnect_timeout = \"1s\"\nanswer_timeout = \"2s\"\n\
                     resend_after = \"5s\"\n"
                )
                .expect("a string takes every write");
            }
        }
        text
    }

    /// The channels of each agent.
    pub(crate) fn channels(&self) -> &'static [&'static str] {
        if self.forks { &["main", "side"] } else { &["main"] }
    }

    /// The channels of a source: events whose `header` has this value go to the other one.
    fn selector(&self, header: &str, value: &str) -> String {
        if !self.forks {
            return "channels = [\"main\"]\n".to_owned();
        }
        format!(
            "channels = [\"main\", \"side\"]\nselector = {{ type = \"multiplexing\", \
             header = \"{header}\", mapping = {{ {value} = [\"side\"] }}, default = [\"main\"] }}\n"
        )
    }

    /// The configuration of a collector's agent. Each channel has a sink, so a ledger, of its own.
    pub(crate) fn collector(&self, collector: usize) -> String {
        let slower = if collector % 2 == 1 { self.slower } else { 1 };
        let age = self.roll_age_millis * slower;
        let sweep = match self.only_first_sweeps && collector > 0 {
            true => 60_000,
            false => self.sweep_millis * slower,
        };
        let events = self.roll_events;
        let mut text = format!(
            "{}[sources.in]\ntype = \"grpc\"\nlisten = \"0.0.0.0:4141\"\n{}",
            agent(&format!("collector-{collector}")),
            self.selector("host", "edge-0"),
        );
        for channel in self.channels() {
            write!(
                text,
                "{}[sinks.{channel}]\ntype = \"hdfs\"\nchannel = \"{channel}\"\n\
                 url = \"hdfs://store/logs/%{{host}}\"\nsweep_after = \"{sweep}ms\"\n\
                 roll = {{ age_max = \"{age}ms\", idle_max = \"{}ms\", count_max = {events} }}\n",
                self.channel(channel),
                age / 2,
            )
            .expect("a string takes every write");
        }
        text
    }

    fn channel(&self, name: &str) -> String {
        format!(
            "[channels.{name}]\ntype = \"durable\"\ncapacity = \"{CAPACITY_BYTES}B\"\n\
             segment_bytes = \"{SEGMENT_BYTES}B\"\ntail_memory = \"32KiB\"\npool = 1\n\
             pool_idle_max = \"2s\"\nindex = \"none\"\n\
             compression = \"{}\"\n",
            self.compression,
        )
    }
}

impl Input {
    fn draw(dice: &Dice) -> Self {
        let events = dice.between(300, 2_500);
        // The last line is written before the faults end.
        let pause_millis = 45_000 / events.div_ceil(7);
        let reads = *dice.pick(&[Reads::Files, Reads::Files, Reads::Numbers, Reads::Client]);
        Self { reads, events, pause_millis }
    }
}

fn agent(name: &str) -> String {
    format!(
        "[agent]\nname = \"{name}\"\ndata_dir = \"/data\"\ngrace = \"2s\"\n\
         admin = \"0.0.0.0:9464\"\n"
    )
}
