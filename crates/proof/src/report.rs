//! The result of a proof, as text and as JSON.

mod ledgers;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::SystemTime;

use ledger::proof::Proof;
use pipeline::{Account, KeySet};
use serde::Serialize;

use super::Audited;
use ledgers::LedgerLine;

/// Ranges that are listed of one account, and directories of one ledger, at most.
const LISTED_MAX: usize = 10;

/// What a proof has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every accepted batch is in visible files, once, and no event of it is elsewhere.
    Complete,
    /// Nothing is missing, repeated or damaged, and some of it is still on its way.
    ConsistentSoFar,
    /// Something is missing, repeated or damaged, or events are among dead letters.
    NotProved,
}

/// The result for every account and every ledger.
#[derive(Debug, Serialize)]
pub struct Report {
    verdict: Verdict,
    /// Events among the dead letters of all accounts.
    dead_letter_events: u64,
    accounts: Vec<AccountLine>,
    ledgers: Vec<LedgerLine>,
}

#[derive(Debug, Serialize)]
struct AccountLine {
    channel: String,
    origin: String,
    accepted: u64,
    committed: u64,
    pending: u64,
    /// Batches that the channel holds, and that no account accepted.
    pending_of_others: u64,
    /// Batches of which nothing is committed.
    dead_letters: u64,
    missing: u64,
    repeated: u64,
    held_events: u64,
    /// Events among the dead letters, by reason.
    dead_letter_events: BTreeMap<String, u64>,
    /// Events that the agent has altered, cut or stored elsewhere since its start, by reason.
    remarks: BTreeMap<String, u64>,
    dead_letter_ranges: Vec<String>,
    missing_ranges: Vec<String>,
    repeated_ranges: Vec<String>,
}

impl Report {
    pub(super) fn new(
        proofs: Vec<(Account, Proof)>,
        audited: Vec<Audited>,
        expired: Option<SystemTime>,
    ) -> Self {
        let mut repeated = KeySet::default();
        audited.iter().for_each(|one| repeated.insert_all(&one.audit.repeated));
        let accounts: Vec<AccountLine> = proofs
            .into_iter()
            .map(|(account, proof)| AccountLine::new(account, proof, &repeated))
            .collect();
        let ledgers: Vec<LedgerLine> =
            audited.into_iter().map(|one| LedgerLine::from_audit(one, expired)).collect();
        let verdict = verdict(&accounts, &ledgers);
        let dead_letter_events = accounts.iter().map(AccountLine::letters).sum();
        Self { verdict, dead_letter_events, accounts, ledgers }
    }

    /// What was found.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The report as one line of JSON.
    ///
    /// # Panics
    /// Never: numbers and names are always JSON.
    pub fn json(&self) -> String {
        let text = serde_json::to_string(self).expect("numbers and names are always JSON");
        format!("{text}\n")
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.accounts {
            line.show(&mut text);
        }
        for line in &self.ledgers {
            line.show(&mut text);
        }
        let letters = self.dead_letter_events;
        if letters > 0 {
            let (are, deliver) =
                if letters == 1 { ("event is", "it") } else { ("events are", "them") };
            put(
                &mut text,
                format_args!(
                    "{letters} {are} in dead letters, not in the store: `aqueduct dlq list \
                     DATA_DIR` shows why, `aqueduct dlq replay DATA_DIR` delivers {deliver}"
                ),
            );
        }
        let expired: u64 = self.ledgers.iter().map(LedgerLine::expired).sum();
        text.push_str(match (self.verdict, expired) {
            (Verdict::Complete, 0) => {
                "COMPLETE: every accepted event is in the store, in visible files, once\n"
            }
            (Verdict::Complete, _) => {
                "COMPLETE: every accepted event was in the store once; expired files are deleted\n"
            }
            (Verdict::ConsistentSoFar, _) => {
                "CONSISTENT SO FAR: nothing is missing or repeated; pending batches and staged \
                 files are not in the store yet\n"
            }
            (Verdict::NotProved, _) => "NOT PROVED\n",
        });
        text
    }
}

fn verdict(accounts: &[AccountLine], ledgers: &[LedgerLine]) -> Verdict {
    let is_wrong = |line: &AccountLine| line.missing > 0 || line.repeated > 0 || line.letters() > 0;
    let is_under_way = |line: &AccountLine| line.pending > 0 || line.pending_of_others > 0;
    let has_problems = ledgers.iter().any(LedgerLine::has_problems);
    if has_problems || accounts.iter().any(is_wrong) {
        Verdict::NotProved
    } else if accounts.iter().any(is_under_way) || ledgers.iter().any(LedgerLine::is_under_way) {
        Verdict::ConsistentSoFar
    } else {
        Verdict::Complete
    }
}

impl AccountLine {
    fn new(account: Account, proof: Proof, repeated: &KeySet) -> Self {
        let twice = account.accepted.intersection(repeated);
        Self {
            channel: account.channel,
            origin: account.origin.to_string(),
            accepted: proof.accepted,
            committed: proof.committed,
            pending: proof.pending.count(),
            pending_of_others: proof.foreign.count(),
            dead_letters: proof.letters.count(),
            missing: proof.missing.count(),
            repeated: twice.count(),
            held_events: account.held_events,
            dead_letter_events: proof.letter_events,
            remarks: account.remarks,
            dead_letter_ranges: ranges(&proof.letters),
            missing_ranges: ranges(&proof.missing),
            repeated_ranges: ranges(&twice),
        }
    }

    /// Events among its dead letters.
    fn letters(&self) -> u64 {
        self.dead_letter_events.values().sum()
    }

    fn show(&self, text: &mut String) {
        put(text, format_args!("channel {} (origin {})", self.channel, self.origin));
        for (name, count, unit) in [
            ("accepted", self.accepted, "batches"),
            ("committed", self.committed, "batches"),
            ("pending", self.pending, "batches"),
            ("pending of others", self.pending_of_others, "batches"),
            ("missing", self.missing, "batches"),
            ("repeated", self.repeated, "batches"),
            ("held", self.held_events, "events"),
            ("in dead letters", self.letters(), "events"),
        ] {
            let width = 23_usize.saturating_sub(name.len());
            put(text, format_args!("  {name} {count:>width$} {unit}"));
        }
        for (reason, events) in &self.dead_letter_events {
            put(text, format_args!("  in dead letters: {events} events, {reason}"));
        }
        for (reason, events) in &self.remarks {
            put(text, format_args!("  since its start: {events} {reason}"));
        }
        for (what, ranges) in [
            ("only in dead letters", &self.dead_letter_ranges),
            ("missing", &self.missing_ranges),
            ("repeated", &self.repeated_ranges),
        ] {
            for range in ranges {
                put(text, format_args!("  {what}: {range}"));
            }
        }
    }
}

/// Batches by origin, epoch and range, as far as they are listed.
fn ranges(keys: &KeySet) -> Vec<String> {
    let all = keys.iter().flat_map(|(origin, epoch, set)| {
        let range = move |run: &std::ops::Range<u64>| {
            format!("{origin}, epoch {}, {} to {}", epoch.0, run.start, run.end - 1)
        };
        set.runs().iter().map(range)
    });
    all.take(LISTED_MAX).collect()
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes it");
}
