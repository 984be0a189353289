//! Checks new ledgers, generations, entries and files, created by a rename or as objects.

use ledger::{Entry, Kind, StagedFile};

use super::{Books, PREFIX, ROOT, begun, ledger_place};
use crate::world::lock;

impl Books {
    /// Checks a rename, which may create a ledger, a generation, an entry or a file.
    pub(super) fn renamed(&self, from: &str, to: &str) {
        if let Some((dataset, place)) = ledger_place(to) {
            let (generation, index) = place.split_once('/').unzip();
            let Ok(generation) = generation.unwrap_or(place).parse() else { return };
            match index.map(str::parse) {
                None => self.succeeded(dataset, generation),
                Some(Ok(index)) => self.won(dataset, generation, index, to),
                Some(Err(_)) => {}
            }
        } else if let Some(dataset) = begun(to) {
            if lock(&self.state).datasets.contains(dataset) {
                self.world.violation(format!("{to}, which had entries, was begun anew"));
            }
        } else if !to.starts_with(ROOT) {
            let temp = from.strip_prefix(ROOT).unwrap_or_default();
            self.became_visible(temp, to);
        } else if let Some(temp) = from.strip_prefix(ROOT)
            && lock(&self.state).waiting.contains_key(temp)
        {
            self.world.violation(format!("{temp} is committed, and was moved to {to}"));
        }
    }

    /// Checks a new object: of a ledger, staged, or visible.
    pub(super) fn put(&self, path: &str) {
        if !lock(&self.state).objects.insert(path.to_owned()) {
            self.world.violation(format!("{path} was replaced"));
        }
        if let Some((dataset, place)) = ledger_place(path) {
            let (generation, name) = place.split_once('/').unwrap_or_default();
            let Ok(generation) = generation.parse() else { return };
            match (name, name.parse()) {
                ("checkpoint", _) => self.succeeded(dataset, generation),
                (_, Ok(index)) => self.won(dataset, generation, index, path),
                _ => {}
            }
        } else if let Some(dataset) = path.strip_suffix("/identity").and_then(begun) {
            if lock(&self.state).datasets.contains(dataset) {
                self.world.violation(format!("{path} of a ledger that had entries came in anew"));
            }
        } else if let Some(target) = path.strip_prefix(PREFIX)
            && !path.starts_with(ROOT)
        {
            let state = lock(&self.state);
            let is_it = |file: &StagedFile| target.strip_prefix('/') == Some(file.target.as_str());
            let temp = state.waiting.iter().find(|(_, file)| is_it(file));
            let temp = temp.map(|(temp, _)| temp.clone()).unwrap_or_default();
            drop(state);
            let staged = self.memory.file(&format!("{ROOT}{temp}"));
            if staged.is_some_and(|staged| staged != self.content(path)) {
                self.world.violation(format!("{path} is not what was staged for it"));
            }
            self.became_visible(&temp, path);
        }
    }

    /// Checks a new ledger entry.
    fn won(&self, dataset: &str, generation: u64, index: u64, path: &str) {
        let entry = match Entry::decode(self.content(path), index) {
            Ok(entry) => entry,
            Err(error) => {
                return self.world.violation(format!("{path} is no entry of a ledger: {error}"));
            }
        };
        let mut state = lock(&self.state);
        state.entries += 1;
        state.datasets.insert(dataset.to_owned());
        if state.fenced.contains(&entry.author) {
            self.world.violation(format!("{path} was won by a fenced writer"));
        }
        if state.sealed.contains(&(dataset.to_owned(), generation)) {
            self.world.violation(format!("{path} was appended behind a seal"));
        }
        match entry.kind {
            Kind::Commit { keys, files } => {
                let committed = state.committed.entry(dataset.to_owned()).or_default();
                let twice = keys.intersection(committed);
                if !twice.is_empty() {
                    let count = twice.count();
                    self.world.violation(format!("{path} commits {count} batches once more"));
                }
                committed.insert_all(&keys);
                let targets = files.iter().map(|file| format!("{PREFIX}/{}", file.target));
                let targets = targets.collect();
                state.rolls.push((dataset.to_owned(), keys, targets));
                for file in files {
                    let temp = format!("{dataset}/{}", file.temp);
                    if self.memory.file(&format!("{ROOT}{temp}")).is_none() {
                        self.world.violation(format!("{path} names {temp}: not there"));
                    }
                    state.waiting.insert(temp, file);
                }
            }
            Kind::Merge(merge) => {
                let told = state.shelves.merge(&self.memory, dataset, merge);
                told.into_iter().for_each(|told| self.world.violation(format!("{path} {told}")));
            }
            Kind::Seal => {
                state.sealed.insert((dataset.to_owned(), generation));
            }
            Kind::Fence(author) => {
                state.fenced.insert(author);
            }
        }
    }

    /// Checks a new generation.
    fn succeeded(&self, dataset: &str, generation: u64) {
        let mut state = lock(&self.state);
        let newest = state.newest_generation.entry(dataset.to_owned()).or_default();
        if generation <= *newest {
            self.world.violation(format!("generation {generation} of a ledger came in again"));
        }
        *newest = generation.max(*newest);
        let own = |temp: &str| temp.split('/').next() == Some(dataset);
        if let Some(temp) = state.waiting.keys().find(|temp| own(temp)) {
            let told = format!("generation {generation} came in before {temp} was published");
            self.world.violation(told);
        }
    }
}
