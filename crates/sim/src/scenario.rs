//! What follows from a seed before anything runs: how many hosts, how they are set, what goes
//! wrong.

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
use storage_objects::testkit::Ways;

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
    /// Collectors reject some events, which become dead letters.
    pub(crate) refuses: bool,
    /// The selector chooses by a hash of the event, not by a header.
    pub(crate) spreads: bool,
    /// Senders look up their next agents.
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
    /// Bytes of the largest batch that each collector takes; `None`: its default.
    message_max: Vec<Option<u64>>,
    /// Small files are merged: milliseconds after the time of their directory, and bytes of a file.
    merges: Option<(u64, u64)>,
    /// How the store is one of objects, if it is.
    pub(crate) objects: Option<Ways>,
    /// What files look like.
    pub(crate) form: Form,
    /// The longest that an event may wait at an edge, where that is promised.
    pub(crate) oldest_max: Option<Duration>,
    /// Every other collector rolls this many times as slowly, and so is often taken for dead.
    slower: u64,
}

/// What most of a seed is about.
enum Theme {
    /// Anything.
    Any,
    /// Many that write to one ledger, over a store whose calls take from milliseconds to seconds.
    Ledger,
    /// Copies without a known answer, on collectors that come back when their epoch is forgotten.
    Strays,
    /// Two that run on copies of one disk.
    Clones,
    /// A ledger that is deleted, cut, or put back to an older copy.
    Changed,
    /// A collector is stopped just before it changes the ledger, while others go on.
    Turns,
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
        // Dice of their own: the other seeds stay as they are.
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

    /// The store's owner does to the ledger what it should not, and an operator mends it. No disk
    /// is lost or fails: then nothing may remember what the ledger said.
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
        // A collector that only sleeps is not taken for dead, or what it holds would be packed
        // anew.
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

    /// In a quarter of the seeds the files of directories whose seconds are over are merged. What
    /// an operator makes of a ledger is held against files of one entry each.
    fn with_merges(self, seed: u64, theme: &Theme) -> Self {
        if matches!(theme, Theme::Changed) {
            return self;
        }
        let dice = Dice::new(seed, "merges");
        let drawn = (dice.between(500, 3_000), dice.between(2, 64) << 10);
        Self { merges: dice.chance(250).then_some(drawn), ..self }
    }

    /// Whether small files are merged.
    pub(crate) fn merges(&self) -> bool {
        self.merges.is_some()
    }

    /// Agents are found by their names, and at times are not, in addition to all that goes wrong
    /// anyhow.
    fn with_lookups(mut self, dice: &Dice) -> Self {
        self.faults.push((FaultKind::Names, dice.between(1_500, 10_000)));
        Self { discovers: true, ..self }
    }
}
