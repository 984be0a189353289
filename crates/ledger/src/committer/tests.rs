//! For any answers of the store in any order, every batch is committed once, and every committed
//! file can still be published.
//!
//! Method: a few committers hold overlapping sets of batches and take turns by a seed. The store of
//! this model may execute a rename and lose the answer, lose the request, or execute it at any
//! later moment. A committer that has to delete its files does so, and rolls the remaining batches
//! again; a fenced one continues as a new incarnation. A sweeper suspects committers that are
//! alive: it fences them and deletes their staged files that no entry names. Then each rule is
//! switched off in turn: some seed must find the loss or the duplicate that the rule prevents.

use std::collections::BTreeMap;

use pipeline::{Epoch, Identity, Origin, Sequence};

use super::*;
use crate::Kind;

const COMMITTERS: u8 = 3;
const BATCHES: u64 = 4;
const SEEDS: u64 = 3_000;
/// Maximum number of turns of a run; in the second half, every answer arrives.
const TURNS: usize = 400;

/// A violation of the guarantees.
#[derive(Debug, PartialEq, Eq)]
enum Violation {
    Duplicate,
    Loss,
    Stuck,
}

/// xorshift64*: the same seed, the same run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

/// A rename from a prepared entry to an index, that was asked for and not answered.
#[derive(Clone, Copy)]
struct Request {
    token: Token,
    index: u64,
}

#[derive(Default)]
struct Store {
    entries: Vec<Entry>,
    /// Prepared entries by attempt and index.
    prepared: BTreeMap<(Token, u64), Entry>,
    /// Attempts whose staged files were deleted.
    deleted: Vec<Token>,
    under_way: Vec<Request>,
    /// An entry was written beyond a gap, where a reader of consecutive entries never finds it.
    hole: bool,
}

impl Store {
    /// Does a rename as a store does: the old name is looked at first.
    fn rename(&mut self, request: Request) -> Outcome {
        let Request { token, index } = request;
        if !self.prepared.contains_key(&(token, index)) {
            return Outcome::Missing;
        }
        if index < self.entries.len() as u64 {
            return Outcome::Taken;
        }
        self.hole |= index > self.entries.len() as u64;
        let entry = self.prepared.remove(&(token, index)).expect("it was just there");
        self.entries.push(entry);
        Outcome::Won
    }

    /// Answers a request truthfully or not at all; without an answer it was lost, is done, or will
    /// be.
    fn asked(&mut self, request: Request, random: &mut Random, calm: bool) -> Outcome {
        match if calm { 0 } else { random.below(4) } {
            1 => Outcome::Unknown,
            2 => {
                self.under_way.push(request);
                Outcome::Unknown
            }
            3 => {
                self.rename(request);
                Outcome::Unknown
            }
            _ => self.rename(request),
        }
    }

    fn check(&self) -> Result<(), Violation> {
        if self.hole {
            return Err(Violation::Loss);
        }
        let mut seen = KeySet::default();
        for entry in &self.entries {
            let Kind::Commit { keys, .. } = &entry.kind else { continue };
            if !seen.intersection(keys).is_empty() {
                return Err(Violation::Duplicate);
            }
            if self.deleted.contains(&entry.attempt) {
                return Err(Violation::Loss);
            }
            seen.insert_all(keys);
        }
        Ok(())
    }
}

struct Actor {
    author: WriterId,
    view: View,
    /// `None` once everything is settled.
    committer: Option<Committer>,
    rolls: u8,
    /// Attempts whose files are staged, with the incarnation that staged them.
    staged: Vec<(Token, WriterId)>,
    rules: Rules,
}

impl Actor {
    fn new(number: u8, rules: Rules) -> Self {
        let author = WriterId { collector: Token([number; 16]), incarnation: Token([number; 16]) };
        let (view, staged) = (View::new(0), Vec::new());
        Self { author, view, committer: None, rolls: 0, staged, rules }
    }

    fn roll(&mut self, keys: KeySet) {
        if keys.is_empty() {
            self.committer = None;
            return;
        }
        self.rolls += 1;
        let mut token = self.author.collector;
        token.0[15] = 100 + self.rolls;
        self.staged.push((token, self.author));
        let kind = AttemptKind::Commit { keys, volume: Totals::default() };
        let attempt = Attempt { author: self.author, token, kind };
        self.committer = Some(Committer::with_rules(attempt, &self.view, self.rules));
    }

    /// Takes `suspect` for dead, which may be wrong.
    fn sweep(&mut self, suspect: &Self, store: &mut Store, behind_a_fence: bool) {
        let mut token = suspect.author.incarnation;
        token.0[0] = 200;
        let kind = AttemptKind::Fence(suspect.author);
        let attempt = Attempt { author: self.author, token, kind };
        let mut fencing = Committer::with_rules(attempt, &self.view, self.rules);
        let mut calm = Random(1);
        loop {
            let outcome = match fencing.step(&self.view) {
                Step::Done(_) => break,
                _ if !behind_a_fence => break,
                step => self.do_step(&step, &fencing.attempt, store, &mut calm, true),
            };
            fencing.on(outcome, &mut self.view);
        }
        let named = |token: Token| store.entries.iter().any(|entry| entry.attempt == token);
        let orphans = suspect.staged.iter().filter(|(_, author)| *author == suspect.author);
        let orphans: Vec<Token> = orphans.map(|(token, _)| *token).collect();
        let gone: Vec<Token> = orphans.into_iter().filter(|token| !named(*token)).collect();
        // Deletes only the files, which is harder: the prepared entry stays and may still be
        // renamed.
        store.deleted.extend(gone);
    }

    /// Runs one step against the store.
    fn turn(&mut self, store: &mut Store, random: &mut Random, calm: bool) {
        let Some(mut committer) = self.committer.take() else { return };
        let outcome = match committer.step(&self.view) {
            Step::Done(Verdict::Won(_)) => return,
            Step::Done(verdict) => return self.give_up(&committer.attempt, verdict, store),
            step => self.do_step(&step, &committer.attempt, store, random, calm),
        };
        committer.on(outcome, &mut self.view);
        self.committer = Some(committer);
    }

    fn do_step(
        &self,
        step: &Step,
        attempt: &Attempt,
        store: &mut Store,
        random: &mut Random,
        calm: bool,
    ) -> Outcome {
        let Attempt { token, kind, author } = attempt.clone();
        match *step {
            Step::Prepare(index) => {
                let kind = match kind {
                    AttemptKind::Commit { keys, .. } => Kind::Commit { keys, files: Vec::new() },
                    AttemptKind::Fence(author) => Kind::Fence(author),
                    AttemptKind::Seal(_) => Kind::Seal,
                    AttemptKind::Merge { merge, .. } => Kind::Merge(merge),
                };
                store
                    .prepared
                    .insert((token, index), Entry { index, author, attempt: token, kind });
                Outcome::Prepared
            }
            Step::Win(index) => store.asked(Request { token, index }, random, calm),
            Step::Read(index) => match store.entries.get(index as usize) {
                Some(entry) => Outcome::Entry(Box::new(entry.clone())),
                None => Outcome::NoEntry,
            },
            // There is one generation here: a reader finds its beginning.
            Step::Reload => Outcome::Reloaded(Box::new(View::new(0))),
            Step::Done(_) => unreachable!("the caller stops there"),
        }
    }

    /// Deletes the staged files, as the loop does, and rolls the remaining batches again.
    fn give_up(&mut self, attempt: &Attempt, verdict: Verdict, store: &mut Store) {
        store.prepared.retain(|(token, _), _| *token != attempt.token);
        store.deleted.push(attempt.token);
        let AttemptKind::Commit { mut keys, .. } = attempt.kind.clone() else {
            unreachable!("it rolls")
        };
        match verdict {
            Verdict::Overlap(known) => keys.remove_all(&known),
            Verdict::Settled => keys = KeySet::default(),
            Verdict::Fenced => self.author.incarnation.0[1] += 1,
            _ => {}
        }
        self.roll(keys);
    }
}

/// Fences a live committer after some turns; the flag selects a fence before the deletion.
const SWEEP: Option<bool> = Some(true);

/// Runs one seed; returns the violation, if any.
fn run(seed: u64, rules: Rules, sweep: Option<bool>) -> Result<(), Violation> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut store = Store::default();
    let key = |n| Identity { origin: Origin([7; 16]), epoch: Epoch(1), sequence: Sequence(n) };
    let mut actors: Vec<Actor> = (0..COMMITTERS).map(|n| Actor::new(n, rules)).collect();
    let mut offered = KeySet::default();
    for actor in &mut actors {
        let keys: KeySet = (0..BATCHES).filter(|_| random.below(3) > 0).map(key).collect();
        offered.insert_all(&keys);
        actor.roll(keys);
    }
    let mut sweeper = Actor::new(COMMITTERS, rules);
    for turn in 0..TURNS {
        let calm = turn > TURNS / 2;
        if !store.under_way.is_empty() && random.below(3) == 0 {
            let at = random.below(store.under_way.len() as u64) as usize;
            let request = store.under_way.remove(at);
            store.rename(request);
        } else if let Some(behind_a_fence) = sweep
            && !calm
            && random.below(12) == 0
        {
            sweeper.sweep(&actors[0], &mut store, behind_a_fence);
        } else {
            let at = random.below(u64::from(COMMITTERS)) as usize;
            actors[at].turn(&mut store, &mut random, calm);
        }
        store.check()?;
    }
    if actors.iter().any(|actor| actor.committer.is_some()) {
        return Err(Violation::Stuck);
    }
    let mut committed = View::new(0);
    store.entries.iter().for_each(|entry| committed.absorb(entry));
    if committed.settled_of(&offered) != offered {
        return Err(Violation::Loss);
    }
    Ok(())
}

#[test]
fn every_batch_is_committed_once_whatever_the_store_answers() {
    for seed in 0..SEEDS {
        assert_eq!(run(seed, Rules::in_force(), None), Ok(()), "seed {seed}");
        assert_eq!(run(seed, Rules::in_force(), SWEEP), Ok(()), "seed {seed}, swept");
    }
}

/// Returns `true` if some seed shows `violation` when only `rules` are in force.
fn shows(violation: &Violation, rules: Rules) -> bool {
    (0..SEEDS).any(|seed| run(seed, rules, SWEEP).as_ref() == Err(violation))
}

#[test]
fn without_a_fence_a_sweeper_deletes_what_is_committed() {
    let unfenced = |seed| run(seed, Rules::in_force(), Some(false)) == Err(Violation::Loss);
    assert!((0..SEEDS).any(unfenced));
}

#[test]
fn a_committer_that_does_not_heed_its_fence_commits_what_is_deleted() {
    let rules = Rules { heed_own_fence: false, ..Rules::in_force() };
    assert!(shows(&Violation::Loss, rules));
}

#[test]
fn without_leaving_out_what_is_known_a_batch_is_committed_twice() {
    let rules = Rules { leave_out_what_is_known: false, ..Rules::in_force() };
    assert!(shows(&Violation::Duplicate, rules));
}

#[test]
fn without_reading_what_is_taken_a_batch_is_committed_twice() {
    let rules = Rules { read_what_is_taken: false, ..Rules::in_force() };
    assert!(shows(&Violation::Duplicate, rules));
}

#[test]
fn without_looking_after_silence_a_batch_is_lost() {
    let rules = Rules { look_after_silence: false, ..Rules::in_force() };
    assert!(shows(&Violation::Loss, rules));
}

#[test]
fn without_knowing_its_own_entry_a_committer_deletes_what_it_committed() {
    let rules = Rules { know_own_entry: false, ..Rules::in_force() };
    assert!(shows(&Violation::Loss, rules));
}

#[test]
fn when_missing_decides_a_committer_deletes_what_it_committed() {
    let rules = Rules { missing_decides_nothing: false, ..Rules::in_force() };
    assert!(shows(&Violation::Loss, rules));
}

/// A view of `generation` in which `settled` of the batches are delivered.
fn view_of(generation: u64, settled: u64) -> View {
    let mut view = View::new(generation);
    view.absorb_commit(0, &(0..settled).map(number).collect(), Totals::default());
    view
}

fn number(n: u64) -> Identity {
    Identity { origin: Origin([7; 16]), epoch: Epoch(1), sequence: Sequence(n) }
}

/// Returns the next step of a committer of batches 0 and 1 whose rename finds neither the entry nor
/// the generation, when the newest generation reports `settled` batches as delivered.
fn after_the_generation_is_gone(settled: u64) -> Step {
    let author = WriterId { collector: Token([1; 16]), incarnation: Token([1; 16]) };
    let attempt = Attempt {
        author,
        token: Token([2; 16]),
        kind: AttemptKind::Commit {
            keys: [number(0), number(1)].into_iter().collect(),
            volume: Totals::default(),
        },
    };
    let mut view = View::new(0);
    let mut committer = Committer::new(attempt, &view);
    for outcome in [Outcome::Prepared, Outcome::Unknown, Outcome::NoEntry, Outcome::Missing] {
        committer.on(outcome, &mut view);
    }
    committer.on(Outcome::NoEntry, &mut view);
    assert_eq!(committer.step(&view), Step::Reload);
    committer.on(Outcome::Reloaded(Box::new(view_of(3, settled))), &mut view);
    assert_eq!(committer.step(&view), Step::Read(1));
    committer.on(Outcome::NoEntry, &mut view);
    committer.step(&view)
}

/// Batches in a checkpoint are published, whichever committer won, and the checkpoint publishes
/// nothing else.
#[test]
fn the_newest_generation_decides_when_the_old_one_is_gone() {
    assert_eq!(after_the_generation_is_gone(2), Step::Done(Verdict::Settled));
    let known = [number(0)].into_iter().collect();
    assert_eq!(after_the_generation_is_gone(1), Step::Done(Verdict::Overlap(known)));
    assert_eq!(after_the_generation_is_gone(0), Step::Prepare(1));
}
