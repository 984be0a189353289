//! Everything that a seed determines before the start: the number of hosts, their settings, and
//! their faults.

mod configuration;
mod copies;
mod hops;
mod input;
mod refusing;
mod restores;
mod stored;

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::dice::Dice;
use crate::fault_kind::{FaultKind, KINDS};
use crate::form::Form;

pub(crate) use input::{Input, Reads};
use storage_objects::testkit::ServerTraits;

/// Capacity of each channel, in bytes.
pub(crate) const CAPACITY_BYTES: u64 = 2 << 20;

/// Size of a channel segment.
pub(crate) const SEGMENT_BYTES: u64 = 64 << 10;

/// Everything that a seed determines before the start.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// Input of each edge.
    pub(crate) edges: Vec<Input>,
    /// Number of agents between the edges and the collectors.
    pub(crate) relays: usize,
    /// Number of collectors.
    pub(crate) collectors: usize,
    /// Whether agents have two channels and a selector.
    pub(crate) forks: bool,
    /// Whether collectors reject some events, which become dead letters.
    pub(crate) refuses: bool,
    /// Whether the selector uses a hash of the event instead of a header.
    pub(crate) spreads: bool,
    /// Whether senders use discovery.
    pub(crate) discovers: bool,
    /// Whether the first edge gets a copy, which adds its own events.
    pub(crate) clones: bool,
    /// Whether a ledger changed from outside is adopted if it has no hole.
    pub(crate) adopts: bool,
    /// Milliseconds per tick of the driver.
    pub(crate) tick_millis: u64,
    /// Size of each event's body.
    pub(crate) body_bytes: usize,
    /// Entries after which the ledger gets a checkpoint.
    pub(crate) compact_after: u64,
    /// Possible faults, with the mean interval of each in milliseconds.
    pub(crate) faults: Vec<(FaultKind, u64)>,
    /// When edges forget events. If a collector's disk is enough, no disk is lost.
    retain: &'static str,
    group: String,
    compression: &'static str,
    window_batches: u64,
    roll_age_millis: u64,
    roll_events: u64,
    sweep_millis: u64,
    /// Minimum and maximum number of late calls in a thousand, while the store is late.
    pub(crate) late: (u64, u64),
    /// Whether only the first collector considers others dead early.
    only_first_sweeps: bool,
    /// Batch size limit of each collector, in bytes; `None` for the default.
    message_max: Vec<Option<u64>>,
    /// Merging of small files: delay in milliseconds after the directory's time, and file size.
    merges: Option<(u64, u64)>,
    /// Kind of object store, if it is one.
    pub(crate) objects: Option<ServerTraits>,
    /// Format of the files.
    pub(crate) form: Form,
    /// Maximum age of an event at an edge, if guaranteed.
    pub(crate) oldest_max: Option<Duration>,
    /// Every second collector rolls this many times slower, and so is often considered dead.
    slower: u64,
}

/// The focus of a seed.
enum Theme {
    /// No focus.
    Any,
    /// Many writers of one ledger, over a store whose calls take from milliseconds to seconds.
    Ledger,
    /// Copies with unknown results, on collectors that restart when their epoch is forgotten.
    Strays,
    /// Two agents that run on copies of one disk.
    Clones,
    /// A ledger that is deleted, truncated, or restored from an older copy.
    Changed,
    /// A collector stops just before it changes the ledger, while others continue.
    Turns,
}

impl Scenario {
    /// Returns the scenario of `seed`.
    pub(crate) fn from_seed(seed: u64) -> Self {
        let dice = Dice::new(seed, "scenario");
        let edges = (0..dice.between(2, 4)).map(|_| Input::draw(&dice)).collect();
        let group = match dice.below(4) {
            0 => "type = \"failover\"".to_owned(),
            1 => "type = \"load_balance\"\nsticky = false".to_owned(),
            2 => "type = \"load_balance\"\nsticky = false\npolicy = \"least_loaded\"".to_owned(),
            _ => "type = \"load_balance\"".to_owned(),
        };
        // Use only some kinds, because one kind can hide the effect of another.
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
            // The cost of a tick does not depend on its length; short ticks dominate the run time.
            tick_millis: *dice.pick(&[5, 10, 20, 20, 20, 20]),
            body_bytes: dice.between(20, 120) as usize,
            compact_after: dice.between(3, 40),
            faults,
            retain,
            group,
            compression: *dice.pick(&["none", "none", "zstd"]),
            window_batches: dice.between(2, 16),
            roll_age_millis,
            // With the minimum, live collectors are constantly considered dead.
            sweep_millis: roll_age_millis + dice.below(3) / 2 * dice.between(0, 15_000),
            roll_events: dice.between(50, 1_000),
            late: (10, 300),
            only_first_sweeps: false,
            slower: 1,
            message_max: Vec::new(),
            merges: None,
            objects: None,
            form: Form::default(),
            oldest_max: None,
            discovers: false,
            clones: false,
            adopts: Dice::new(seed, "adopts").chance(400),
            spreads: Dice::new(seed, "spreads").chance(500),
            refuses: false,
        };
        drawn.with_merges(seed, &theme).about(&theme, seed, &dice).stored(seed).refusing(seed)
    }

    fn about(self, theme: &Theme, seed: u64, dice: &Dice) -> Self {
        // Separate dice, so that other seeds do not change.
        let restores = Dice::new(seed, "restores");
        match theme {
            Theme::Any if restores.chance(250) => self.about_restores(&restores),
            Theme::Any if dice.chance(150) => self.with_lookups(dice),
            Theme::Any => self.with_hops(seed),
            Theme::Ledger => self.about_the_ledger(dice),
            Theme::Strays => self.about_strays(dice),
            Theme::Turns => self.about_turns(dice),
            Theme::Clones => self.about_clones(dice),
            Theme::Changed => self.about_changes(dice),
        }
    }

    /// Commits, fences and generations every few hundred milliseconds, by all collectors.
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

    /// Stops two collectors where others overtake them, while at least one more continues. Only one
    /// collector sweeps; a second one would finish the call at which the first one stopped.
    fn about_turns(self, dice: &Dice) -> Self {
        let faults = vec![(FaultKind::StopAtTurn, 4_000), (FaultKind::Kill, 20_000)];
        let hurried = self.hurried(dice, 3..=5, faults);
        Self { only_first_sweeps: true, slower: dice.between(1, 4), ..hurried }
    }

    /// The owner of the store damages the ledger, and an operator repairs it. No disk is lost or
    /// fails, because then nothing might remember the entries.
    fn about_changes(self, dice: &Dice) -> Self {
        let faults = vec![
            (FaultKind::LedgerChanged, 10_000),
            // Late copies, which a newly created ledger would store again.
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

    /// Short epochs, and collectors that are down with batches that others have delivered.
    fn about_strays(self, dice: &Dice) -> Self {
        let faults = vec![
            (FaultKind::Stray, 5_000),
            (FaultKind::Kill, 4_000),
            (FaultKind::Restart, 4_000),
            (FaultKind::Reset, 4_000),
        ];
        // Do not sweep a collector that is merely idle: its events would move into new batches.
        Self { roll_events: 50, sweep_millis: 60_000, ..self.hurried(dice, 2..=3, faults) }
    }

    /// One ledger with writes from all collectors every few hundred milliseconds, and these faults
    /// at varied intervals.
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

    /// In a quarter of the seeds, merges files of directories whose time is over. Not in seeds with
    /// an operator: these compare the ledger with files of one entry each.
    fn with_merges(self, seed: u64, theme: &Theme) -> Self {
        if matches!(theme, Theme::Changed) {
            return self;
        }
        let dice = Dice::new(seed, "merges");
        let drawn = (dice.between(500, 3_000), dice.between(2, 64) << 10);
        Self { merges: dice.chance(250).then_some(drawn), ..self }
    }

    /// Returns whether small files are merged.
    pub(crate) fn merges(&self) -> bool {
        self.merges.is_some()
    }

    /// Adds discovery, with occasional failures in addition to the other faults.
    fn with_lookups(mut self, dice: &Dice) -> Self {
        self.faults.push((FaultKind::Names, dice.between(1_500, 10_000)));
        Self { discovers: true, ..self }
    }
}
