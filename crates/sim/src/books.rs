//! Checks the store after every call that changes it, and counts every visible event.
//!
//! | call | check |
//! |---|---|
//! | an entry is won | its batches are in no other entry; it is not sealed or fenced; its files exist |
//! | a ledger appears | no collector creates it again if it had entries |
//! | a generation appears | its number is new; everything committed is published |
//! | a file becomes visible | an entry names it, with this path and content |
//! | a staged file is deleted | no entry waits for it |
//! | files are merged | an entry says so, and a reader of the directory finds the same lines |
//! | an object is put | the name is free; a visible object equals the staged one |
//! | an object is deleted | it does not belong to the ledger |
//!
//! `ledger` chooses the names, and its decoder reads the entries.

mod arrivals;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use ledger::{StagedFile, View, WriterId};
use pipeline::KeySet;
use storage::FileSystem;
use storage::memory::Memory;
use storage::objects::Objects;

use crate::asked::{Asked, PREFIX, ROOT};
use crate::form::{Form, Found};
use crate::scenario::Scenario;
use crate::shelves::Shelves;
use crate::world::{World, lock};

/// The invariants of the store.
pub(crate) struct Books {
    world: Arc<World>,
    memory: Memory,
    state: Mutex<State>,
    /// Size of each event's body.
    body_bytes: usize,
    /// Format of the files.
    form: Form,
    /// Whether collectors reject some events.
    refuses: bool,
    /// Whether the store is a bucket: no directories, no renames.
    is_bucket: bool,
}

#[derive(Default)]
struct State {
    /// Per dataset, because a batch with parts in several datasets is committed in each.
    committed: BTreeMap<String, KeySet>,
    /// Files named by entries but not yet published, by their staged path below [`ROOT`].
    waiting: BTreeMap<String, StagedFile>,
    /// Every path named by an entry.
    published: BTreeSet<String>,
    /// Per dataset.
    newest_generation: BTreeMap<String, u64>,
    /// Sealed generations, by dataset.
    sealed: BTreeSet<(String, u64)>,
    fenced: BTreeSet<WriterId>,
    entries: u64,
    /// The lines that readers find.
    shelves: Shelves,
    /// Datasets with a ledger.
    datasets: BTreeSet<String>,
    /// Every existing object.
    objects: BTreeSet<String>,
    /// How often each event of each source is visible.
    visible: BTreeMap<String, Vec<u8>>,
    visible_events: u64,
    /// The batches and files of each ledger entry, with its dataset.
    rolls: Vec<(String, KeySet, Vec<String>)>,
    /// Batches that no ledger names any more, because an operator adopted a ledger without them.
    disowned: KeySet,
    /// How many extra copies of an event may be visible, because its batch was disowned.
    disowned_events: BTreeMap<String, BTreeMap<u64, u8>>,
    /// Sources that read their events twice; all but these events may be visible twice.
    read_twice_but: BTreeMap<String, BTreeSet<u64>>,
}

/// Splits the path of a ledger file into its dataset and the part below: generation number and
/// file.
pub(crate) fn ledger_place(path: &str) -> Option<(&str, &str)> {
    let (dataset, below) = path.strip_prefix(ROOT)?.split_once('/')?;
    Some((dataset, below.strip_prefix("ledger/g")?))
}

/// Returns the dataset whose ledger is created at this path.
fn begun(path: &str) -> Option<&str> {
    path.strip_prefix(ROOT)?.strip_suffix("/ledger").filter(|dataset| !dataset.contains('/'))
}

impl Books {
    /// Creates the books of an empty store.
    pub(crate) fn new(world: Arc<World>, scenario: &Scenario) -> Self {
        let Scenario { body_bytes, form, refuses, .. } = *scenario;
        let state = State { shelves: Shelves::new(form), ..State::default() };
        let (memory, is_bucket) = (Memory::new(), scenario.objects.is_some());
        Self { world, memory, state: state.into(), body_bytes, form, refuses, is_bucket }
    }

    /// Returns the store as a program outside of the simulation reads it.
    pub(crate) fn store(&self) -> Arc<dyn FileSystem> {
        let memory = Arc::new(self.memory());
        if self.is_bucket { Arc::new(Objects::over(memory)) } else { memory }
    }

    pub(crate) fn memory(&self) -> Memory {
        self.memory.clone()
    }

    /// Returns the number of ledger entries.
    pub(crate) fn entries(&self) -> u64 {
        lock(&self.state).entries
    }

    /// Returns the number of generations beyond the first one of each ledger.
    pub(crate) fn generations(&self) -> u64 {
        lock(&self.state).newest_generation.values().sum()
    }

    /// Returns the datasets whose ledgers were written to.
    pub(crate) fn datasets(&self) -> BTreeSet<String> {
        lock(&self.state).datasets.clone()
    }

    /// Returns the number of visible events.
    pub(crate) fn visible_events(&self) -> u64 {
        lock(&self.state).visible_events
    }

    /// Returns the visible events of `source`.
    pub(crate) fn visible(&self, source: &str) -> BTreeSet<u64> {
        let state = lock(&self.state);
        let counts = state.visible.get(source).map_or(&[][..], Vec::as_slice);
        (0..).zip(counts).filter(|(_, count)| **count > 0).map(|(number, _)| number).collect()
    }

    /// Allows `source` to read all but these events again.
    pub(crate) fn may_repeat(&self, source: &str, but: BTreeSet<u64>) {
        lock(&self.state).read_twice_but.insert(source.to_owned(), but);
    }

    /// Counts the missing events among these events of `source`, and returns the first one.
    pub(crate) fn missing(
        &self,
        source: &str,
        events: impl Iterator<Item = u64>,
    ) -> (u64, Option<u64>) {
        let state = lock(&self.state);
        let counts = state.visible.get(source).map_or(&[][..], Vec::as_slice);
        let seen = |n: &u64| counts.get(*n as usize).is_some_and(|count| *count > 0);
        let mut missing = events.filter(|n| !seen(n));
        let first = missing.next();
        (first.map_or(0, |_| 1 + missing.count() as u64), first)
    }

    /// Forgets the seals of a ledger whose last entries were deleted.
    pub(crate) fn unseal(&self, dataset: &str) {
        lock(&self.state).sealed.retain(|(sealed, _)| sealed != dataset);
    }

    /// Updates the books after a rebuild of the ledger of `dataset`. Entries that no collector
    /// remembered, and so none published, are no longer committed.
    pub(crate) fn restate(&self, dataset: &str, view: &View) {
        let mut state = lock(&self.state);
        if let Some(committed) = state.committed.get_mut(dataset) {
            *committed = view.settled_of(committed);
        }
        state.waiting.retain(|temp, _| temp.split('/').next() != Some(dataset));
        state.sealed.retain(|(sealed, _)| sealed != dataset);
        state.fenced = view.fenced().copied().collect();
        state.newest_generation.insert(dataset.to_owned(), view.generation());
    }

    /// Updates the books after an operator adopted a ledger with this view. Batches that it does
    /// not name may be stored again if a channel still has them.
    pub(crate) fn disown(&self, dataset: &str, view: &View) {
        let mut state = lock(&self.state);
        let is_lost = |(of, keys, _): &mut (String, KeySet, Vec<String>)| {
            of == dataset && view.settled_of(keys).count() < keys.count()
        };
        let lost: Vec<_> = state.rolls.extract_if(.., is_lost).collect();
        for (_, mut keys, targets) in lost {
            keys.remove_all(&view.settled_of(&keys));
            state.disowned.insert_all(&keys);
            for path in targets.iter().filter(|path| self.memory.file(path).is_some()) {
                let (directory, _) = storage::split(path);
                let source = directory.rsplit('/').next().unwrap_or_default();
                let events = state.disowned_events.entry(source.to_owned()).or_default();
                let found = self.form.events(&self.content(path)).unwrap_or_default();
                for number in found.iter().filter_map(|event| self.number(&event.body)) {
                    *events.entry(number as u64).or_default() += 1;
                }
            }
        }
    }

    /// Returns the committed batches that no ledger names any more.
    pub(crate) fn disowned(&self) -> KeySet {
        lock(&self.state).disowned.clone()
    }

    /// Checks at the end that the visible files are exactly those named by entries.
    pub(crate) fn close(&self) {
        let state = lock(&self.state);
        let files = self.memory.files();
        let visible = files.keys().filter(|path| !path.starts_with(ROOT));
        let visible: BTreeSet<String> = visible.cloned().collect();
        for path in visible.symmetric_difference(&state.published) {
            self.world.violation(format!("ledger and files do not agree about {path}"));
        }
        if let Some((temp, _)) = state.waiting.first_key_value() {
            self.world.violation(format!("{temp} is committed and was never published"));
        }
    }

    /// Checks a completed call.
    pub(crate) fn see(&self, asked: &Asked) {
        match asked {
            Asked::Rename(from, to) => self.renamed(from, to),
            Asked::Concat(target, sources) => {
                let mut state = lock(&self.state);
                let State { shelves, published, .. } = &mut *state;
                published.retain(|path| !sources.contains(path));
                let told = shelves.put_together(&self.memory, target, sources);
                told.into_iter().for_each(|told| self.world.violation(told));
            }
            Asked::Replace(from, to) => {
                self.world.count_fault("(small files merged)");
                let told = lock(&self.state).shelves.replaced(&self.memory, from, to);
                told.into_iter().for_each(|told| self.world.violation(told));
            }
            Asked::Delete(path) => self.deleted(path),
            Asked::Mkdirs(path) => self.made(path),
            Asked::Put(path) => self.put(path),
            Asked::Create(_) | Asked::Other(..) => {}
        }
    }

    fn content(&self, path: &str) -> Bytes {
        self.memory.file(path).unwrap_or_default()
    }

    /// Checks a staged file `temp` that got its final name.
    fn became_visible(&self, temp: &str, to: &str) {
        let mut state = lock(&self.state);
        let named = state.waiting.remove(temp);
        let content = self.content(to);
        match named {
            Some(file) if format!("{PREFIX}/{}", file.target) == to => {
                if file.len != content.len() as u64 {
                    self.world.violation(format!("{to} has not the length that its entry says"));
                }
            }
            _ => self.world.violation(format!("{to} became visible without an entry")),
        }
        state.published.insert(to.to_owned());
        match self.form.events(&content) {
            Ok(events) => {
                state.shelves.add(to, &events);
                self.count(&mut state, to, &events);
            }
            Err(damage) => self.world.violation(format!("{to} is no whole file: {damage}")),
        }
    }

    /// Counts the events of a file. Its directory names their source.
    fn count(&self, state: &mut State, path: &str, events: &[Found]) {
        let (directory, _) = storage::split(path);
        let source = directory.rsplit('/').next().unwrap_or_default();
        let State { visible, read_twice_but, disowned_events, visible_events, .. } = state;
        let counts = visible.entry(source.to_owned()).or_default();
        let (once, disowned) = (read_twice_but.get(source), disowned_events.get(source));
        let mut twice = 0_u64;
        for Found { host, body } in events {
            let is_own = host.as_ref().is_none_or(|host| host == source);
            let Some(number) = self.number(body).filter(|_| is_own) else {
                let body = String::from_utf8_lossy(body);
                let told = format!("{path} holds what was not written: {body:?} of {host:?}");
                self.world.violation(told);
                continue;
            };
            if Scenario::is_refused(self.refuses, number as u64) {
                self.world.violation(format!("{path} holds event {number}, which was rejected"));
            }
            if counts.len() <= number {
                counts.resize(number + 1, 0);
            }
            counts[number] = counts[number].saturating_add(1);
            let may_repeat = once.is_some_and(|once| !once.contains(&(number as u64)));
            let disowned = disowned.and_then(|events| events.get(&(number as u64)));
            let most = 1 + u8::from(may_repeat) + disowned.copied().unwrap_or(0);
            twice += u64::from(counts[number] > most);
            *visible_events += 1;
        }
        if twice > 0 {
            self.world.violation(format!("{path} holds {twice} events that were visible before"));
        }
    }

    /// Returns the number of the event with this body. Dots pad the body.
    fn number(&self, line: &[u8]) -> Option<usize> {
        let digits = line.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(line.len());
        let filled = line.len() == self.body_bytes && line[digits..].iter().all(|b| *b == b'.');
        let number = std::str::from_utf8(&line[..digits]).ok()?.parse().ok()?;
        // Seeds write fewer events; a corrupt number must not allocate much memory.
        (filled && number < 1_000_000).then_some(number)
    }

    fn deleted(&self, path: &str) {
        let was_object = lock(&self.state).objects.remove(path);
        if was_object && ledger_place(path).is_some() {
            self.world.violation(format!("{path} is of a ledger, and was deleted"));
        }
        let Some(below) = path.strip_prefix(ROOT) else {
            return self.world.violation(format!("{path} is visible, and was deleted"));
        };
        let state = lock(&self.state);
        let inside = |temp: &str| {
            temp.strip_prefix(below).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if let Some(temp) = state.waiting.keys().find(|temp| inside(temp)) {
            self.world.violation(format!("{temp} is committed, and was deleted"));
        }
    }

    fn made(&self, path: &str) {
        if ledger_place(path).is_some() {
            self.world.violation(format!("{path} was made, not renamed in"));
        }
    }
}
