//! What is never allowed in the store, looked at after every call that changes it; and every event
//! that is visible, counted.
//!
//! | looked at | what it would break |
//! |---|---|
//! | an entry of the ledger is won | a batch stands in one entry of a ledger; nothing behind a seal, or by a fenced writer; what it names is there |
//! | a ledger comes in | no collector begins one anew that had entries |
//! | a generation comes in | its number is new; all that is committed is published |
//! | a file becomes visible | an entry names it, in this place and with this content |
//! | a staged file is deleted | no entry waits for it |
//! | files become one | an entry says so, and a reader of their directory finds the same lines |
//! | an object is put | none of its name is there; what becomes visible is what was staged |
//! | an object is deleted | it is none of the ledger |
//!
//! The names are those that `ledger` draws; the entries are read by its own decoder.

mod arrivals;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use ledger::{StagedFile, View, WriterId};
use pipeline::KeySet;
use storage::FileSystem;
use storage::memory::Memory;
use storage::objects::Objects;

use crate::form::{Form, Found};
use crate::scenario::Scenario;
use crate::shelves::Shelves;
use crate::store::Asked;
use crate::world::{World, lock};

/// Where the store's files are, as every configuration says.
pub(crate) const PREFIX: &str = "/logs";
/// Where the books of each dataset are, in a directory with its name.
pub(crate) const ROOT: &str = "/logs/_aqueduct/";

/// What is never allowed in the store.
pub(crate) struct Books {
    world: Arc<World>,
    memory: Memory,
    state: Mutex<State>,
    /// Bytes of each event's body.
    body_bytes: usize,
    /// What files look like.
    form: Form,
    /// Collectors reject some events.
    refuses: bool,
    /// It has no directories, and no renames.
    is_bucket: bool,
}

#[derive(Default)]
struct State {
    /// Of each dataset: a batch whose parts are in several is committed in each of them.
    committed: BTreeMap<String, KeySet>,
    /// Files that entries name, by their staged path below [`ROOT`], and not yet published.
    waiting: BTreeMap<String, StagedFile>,
    /// Every path that an entry named.
    published: BTreeSet<String>,
    /// Of each dataset.
    newest_generation: BTreeMap<String, u64>,
    /// Generations of datasets.
    sealed: BTreeSet<(String, u64)>,
    fenced: BTreeSet<WriterId>,
    entries: u64,
    /// What readers find.
    shelves: Shelves,
    /// Where they stand.
    datasets: BTreeSet<String>,
    /// Every object that is there.
    objects: BTreeSet<String>,
    /// How often each event of each source is visible.
    visible: BTreeMap<String, Vec<u8>>,
    visible_events: u64,
    /// The files of each entry of a ledger, and its batches.
    rolls: Vec<(String, KeySet, Vec<String>)>,
    /// Batches that no ledger names any more, since an operator has adopted one without them.
    disowned: KeySet,
    /// How often events of a source may be visible once more: batches of them were disowned.
    disowned_events: BTreeMap<String, BTreeMap<u64, u8>>,
    /// Sources of which all events but these may be visible twice: they read them twice.
    read_twice_but: BTreeMap<String, BTreeSet<u64>>,
}

/// The dataset whose ledger this path is in, and where: the generation's number, and what is below.
pub(crate) fn ledger_place(path: &str) -> Option<(&str, &str)> {
    let (dataset, below) = path.strip_prefix(ROOT)?.split_once('/')?;
    Some((dataset, below.strip_prefix("ledger/g")?))
}

/// The dataset whose ledger comes in where this path is.
fn begun(path: &str) -> Option<&str> {
    path.strip_prefix(ROOT)?.strip_suffix("/ledger").filter(|dataset| !dataset.contains('/'))
}

impl Books {
    /// Books of an empty store.
    pub(crate) fn new(world: Arc<World>, scenario: &Scenario) -> Self {
        let Scenario { body_bytes, form, refuses, .. } = *scenario;
        let state = State { shelves: Shelves::of(form), ..State::default() };
        let (memory, is_bucket) = (Memory::new(), scenario.objects.is_some());
        Self { world, memory, state: state.into(), body_bytes, form, refuses, is_bucket }
    }

    /// The store as a program outside of the simulation reads it.
    pub(crate) fn store(&self) -> Arc<dyn FileSystem> {
        let memory = Arc::new(self.memory());
        if self.is_bucket { Arc::new(Objects::over(memory)) } else { memory }
    }

    /// The store that they are about.
    pub(crate) fn memory(&self) -> Memory {
        self.memory.clone()
    }

    /// Entries that were won.
    pub(crate) fn entries(&self) -> u64 {
        lock(&self.state).entries
    }

    /// Generations of the ledgers, beyond the first of each.
    pub(crate) fn generations(&self) -> u64 {
        lock(&self.state).newest_generation.values().sum()
    }

    /// The datasets whose ledgers were written to.
    pub(crate) fn datasets(&self) -> BTreeSet<String> {
        lock(&self.state).datasets.clone()
    }

    /// Events that are visible.
    pub(crate) fn visible_events(&self) -> u64 {
        lock(&self.state).visible_events
    }

    /// The events of `source` that are visible.
    pub(crate) fn visible(&self, source: &str) -> BTreeSet<u64> {
        let state = lock(&self.state);
        let counts = state.visible.get(source).map_or(&[][..], Vec::as_slice);
        (0..).zip(counts).filter(|(_, count)| **count > 0).map(|(number, _)| number).collect()
    }

    /// `source` reads all but these events once more.
    pub(crate) fn may_repeat(&self, source: &str, but: BTreeSet<u64>) {
        lock(&self.state).read_twice_but.insert(source.to_owned(), but);
    }

    /// How many of these events of `source` are not visible, and the first such one.
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

    /// The ledger of `dataset` was rebuilt: what no collector remembered, and so none published, is
    /// not committed any more.
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

    /// An operator has adopted a ledger with this view: the batches that it does not name may be
    /// stored again, where a channel holds them still.
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

    /// Batches that were committed, and that no ledger names any more.
    pub(crate) fn disowned(&self) -> KeySet {
        lock(&self.state).disowned.clone()
    }

    /// Files and ledger at the end: the visible files are those that entries named, and no others.
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

    /// A call was done.
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

    /// What was staged as `temp` has its final name.
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

    /// Counts the events of a file, whose directory names their source.
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

    /// The number of the event that has this body, which is filled up with dots.
    fn number(&self, line: &[u8]) -> Option<usize> {
        let digits = line.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(line.len());
        let filled = line.len() == self.body_bytes && line[digits..].iter().all(|b| *b == b'.');
        let number = std::str::from_utf8(&line[..digits]).ok()?.parse().ok()?;
        // So many are never written; a damaged number must not cost memory.
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
