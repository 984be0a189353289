//! Predicts the sizes of files: makes the sink's decisions without writing.
//!
//! Rolls start, share paths and end with the code of the writer ([`Rolls`], [`Limits`]). The
//! modelled store responds immediately, so no roll waits to commit.

use std::collections::BTreeMap;
use std::time::Duration;

use pipeline::{Events, Identity};
use tokio::time::Instant;

use super::SIZE_MAX;
use super::roll::{Fill, Life, Limits};
use super::rolls::{Growing, Rolls};
use super::staged::{FileKey, Part};

/// When a modelled sink ends its files. The size limit is the sink's default.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// `roll.age_max`.
    pub age_max: Duration,
    /// `roll.idle_max`.
    pub idle_max: Duration,
    /// `buckets_max`.
    pub buckets_max: usize,
}

/// The part of a batch for one path.
#[derive(Debug, Clone)]
pub struct Share {
    /// The path below the prefix.
    pub directory: String,
    /// Bytes in its file.
    pub bytes: u64,
    /// Events.
    pub events: u64,
}

/// A sink that counts what it would write.
pub struct Model<R> {
    rolls: Rolls<Counted>,
    limits: Limits,
    buckets_max: usize,
    random: R,
    start: Instant,
    sizes: Vec<u64>,
}

/// A roll of files with only their lengths.
struct Counted {
    life: Life,
    files: BTreeMap<FileKey, Fill>,
}

impl<R: FnMut() -> u64> Model<R> {
    /// Creates a sink with these rules; `random` varies the ages of its rolls.
    pub fn new(rules: Rules, random: R) -> Self {
        let Rules { age_max, idle_max, buckets_max } = rules;
        let limits = Limits { size_max: SIZE_MAX, count_max: None, age_max, idle_max, on: None };
        let (rolls, sizes) = (Rolls::default(), Vec::new());
        Self { rolls, limits, buckets_max, random, start: Instant::now(), sizes }
    }

    /// Adds a batch at the time `at` since the start, in ascending order.
    pub fn write(&mut self, at: Duration, shares: Vec<Share>) {
        let now = self.start + at;
        self.end_until(now);
        let (parts, events): (Vec<Part>, Vec<u64>) = shares.into_iter().map(Share::part).unzip();
        let full = self.rolls.take_full(&parts, &self.limits);
        self.end(full);
        let oldest = self.rolls.take_oldest(&parts, self.buckets_max);
        self.end(oldest);
        let (limits, random) = (self.limits, &mut self.random);
        let begin = || Counted { life: limits.begin(now, random(), None), files: BTreeMap::new() };
        let roll = self.rolls.for_parts(&parts, None, begin);
        roll.life.touch(now, &limits);
        let mut full = None;
        for (part, events) in parts.into_iter().zip(events) {
            let fill = roll.files.entry(part.file.clone()).or_default();
            fill.bytes += part.bytes_bound;
            fill.events += events;
            if limits.is_full(*fill) {
                full = Some(part.file);
            }
        }
        if let Some(file) = full {
            let full = self.rolls.take_of(&file);
            self.end(full);
        }
    }

    /// Ends all open rolls. Returns the size of each file, in the order of their ends.
    pub fn finish(mut self) -> Vec<u64> {
        let all = self.rolls.take_all();
        self.end(all);
        self.sizes
    }

    /// Ends rolls by time, when the writer would.
    fn end_until(&mut self, now: Instant) {
        while let Some(end) = self.rolls.end().filter(|end| *end <= now) {
            let over = self.rolls.take_over(end, &self.limits);
            self.end(over);
        }
    }

    fn end(&mut self, over: Option<Counted>) {
        let files = over.into_iter().flat_map(|roll| roll.files.into_values());
        self.sizes.extend(files.map(|fill| fill.bytes));
    }
}

impl Share {
    fn part(self) -> (Part, u64) {
        let file = FileKey { directory: self.directory, form: String::new() };
        (
            Part {
                file,
                events: Events::default(),
                bytes_bound: self.bytes,
                noted: None,
                counted: None,
            },
            self.events,
        )
    }
}

impl Growing for Counted {
    fn life(&self) -> &Life {
        &self.life
    }

    fn files(&self) -> impl ExactSizeIterator<Item = &FileKey> {
        self.files.keys()
    }

    fn fill(&self, file: &FileKey) -> Option<Fill> {
        self.files.get(file).copied()
    }

    fn batches(&self) -> impl Iterator<Item = Identity> {
        [].into_iter()
    }

    fn join(&mut self, other: Self) {
        self.files.extend(other.files);
        self.life.join(&other.life);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        age_max: Duration::from_secs(300),
        idle_max: Duration::from_secs(60),
        buckets_max: 2,
    };

    fn share(directory: &str, bytes: u64) -> Share {
        Share { directory: directory.into(), bytes, events: 1 }
    }

    /// Each rule ends files in the model: size, idle time, age, space for other paths.
    #[tokio::test(start_paused = true)]
    async fn a_file_of_the_model_ends_where_one_of_the_sink_does() {
        let seconds = Duration::from_secs;
        let model = || Model::new(RULES, || u64::MAX / 2);
        let mut by_size = model();
        by_size.write(seconds(0), vec![share("a", SIZE_MAX - 10)]);
        by_size.write(seconds(1), vec![share("a", 11)]);
        assert_eq!(by_size.finish(), [SIZE_MAX - 10, 11]);
        let mut by_idle_time = model();
        by_idle_time.write(seconds(0), vec![share("a", 1)]);
        by_idle_time.write(seconds(59), vec![share("a", 2)]);
        by_idle_time.write(seconds(119), vec![share("a", 4)]);
        assert_eq!(by_idle_time.finish(), [3, 4]);
        let mut by_age = model();
        (0..12).for_each(|at| by_age.write(seconds(at * 30), vec![share("a", 1)]));
        assert_eq!(by_age.finish(), [10, 2]);
        let mut by_room = model();
        for path in ["a", "b", "c", "a"] {
            by_room.write(seconds(0), vec![share(path, 1)]);
        }
        assert_eq!(by_room.finish().len(), 4, "the third path ends the file of the first");
        let mut shared = model();
        shared.write(seconds(0), vec![share("a", 1), share("b", 1)]);
        shared.write(seconds(1), vec![share("a", SIZE_MAX)]);
        assert_eq!(shared.finish(), [1, 1, SIZE_MAX], "paths that share a batch end together");
    }
}
