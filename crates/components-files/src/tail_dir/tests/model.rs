//! Random sequences of writes, rotations, kills and restarts. Goal: at the end each of two channels
//! has each line exactly once. Method: the test drives the tailer turn by turn and puts its chunks
//! into one channel after the other; a kill drops the tailer between any two puts; the model is a
//! list of the written lines. Before content is truncated or deleted, the test drains it: the
//! promise covers only content that is readable and was once found under its own name.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use pipeline::PositionIntake as _;
use pipeline::env::{Change, Coverage};
use proptest::prelude::*;

use super::super::chunk::{Chunk, Part};
use super::super::tailer::Room;
use super::*;

#[derive(Debug, Clone)]
enum Operation {
    /// Appends `lines` lines to the file of this number.
    Write { file: usize, lines: usize },
    /// Appends the beginning of a line.
    Begin { file: usize },
    /// Renames the file; the next write creates a new one.
    Rename { file: usize },
    /// Renames it several times, whether a survey found it or not: the renames are notified.
    RenameTold { file: usize, times: usize },
    /// Copies the file, runs some turns, and truncates the original.
    CopyAndCut { file: usize, turns: usize },
    /// Truncates the file once it is drained.
    Cut { file: usize },
    /// Deletes the file once it is drained.
    Delete { file: usize },
    /// As `Delete`; after `turns` turns with `puts` puts each, a new file has its inode and name.
    /// The agent may be killed when the old file is gone.
    Replace { file: usize, turns: usize, puts: usize, kill: bool },
    /// A turn with `reads` reads, then `puts` puts.
    Work { reads: usize, puts: usize },
    /// Drops everything that no channel has stored, and restarts.
    Kill,
}

fn operation() -> impl Strategy<Value = Operation> {
    let file = 0..2_usize;
    prop_oneof![
        6 => (file.clone(), 1..6_usize).prop_map(|(file, lines)| Operation::Write { file, lines }),
        1 => file.clone().prop_map(|file| Operation::Begin { file }),
        2 => file.clone().prop_map(|file| Operation::Rename { file }),
        2 => (file.clone(), 1..4_usize)
            .prop_map(|(file, times)| Operation::RenameTold { file, times }),
        2 => (file.clone(), 0..3_usize)
            .prop_map(|(file, turns)| Operation::CopyAndCut { file, turns }),
        1 => file.clone().prop_map(|file| Operation::Cut { file }),
        1 => file.clone().prop_map(|file| Operation::Delete { file }),
        2 => (file, 0..4_usize, 0..2_usize, any::<bool>())
            .prop_map(|(file, turns, puts, kill)| Operation::Replace { file, turns, puts, kill }),
        8 => (0..4_usize, 0..5_usize).prop_map(|(reads, puts)| Operation::Work { reads, puts }),
        2 => Just(Operation::Kill),
    ]
}

struct World {
    rig: Rig,
    /// Directory outside of the watched ones.
    away: TempDir,
    tailer: Tailer,
    /// Chunks that some channel lacks, with the channels that still need them.
    waiting: VecDeque<(Chunk, VecDeque<usize>)>,
    settled: Vec<Part>,
    written: Vec<String>,
    begun: [Option<String>; 2],
    rotations: u64,
    /// Changes for the next turn.
    changes: BTreeSet<Change>,
    /// True if a file was renamed before any channel may have known it.
    unheard: bool,
}

/// Tells the tailer that it gets notifications; the model sends them.
struct Told;

#[async_trait]
impl Watch for Told {
    fn set_directories(&self, _: &BTreeMap<PathBuf, bool>) -> io::Result<Coverage> {
        Ok(Coverage::default())
    }

    async fn changed(&self) -> BTreeSet<Change> {
        std::future::pending().await
    }
}

fn cut_to_nothing(path: &Path) {
    fs::File::options().write(true).open(path).unwrap().set_len(0).unwrap();
}

impl World {
    fn new(pattern: &str, limits: (u32, &str)) -> Self {
        let (batch_events, batch_bytes) = limits;
        let limits = json!({ "batch_events": batch_events, "batch_bytes": batch_bytes });
        let mut rig = Rig::new(&limits);
        rig.settings["paths"] = json!([format!("{}/{pattern}", rig.directory.path().display())]);
        let tailer = Self::tailer(&rig);
        Self {
            rig,
            away: tempfile::tempdir().unwrap(),
            tailer,
            waiting: VecDeque::new(),
            settled: Vec::new(),
            written: Vec::new(),
            begun: [None, None],
            rotations: 0,
            changes: BTreeSet::new(),
            unheard: false,
        }
    }

    fn tailer(rig: &Rig) -> Tailer {
        let config: Config = pipeline::Settings::from_json(&rig.settings).read().unwrap();
        let mut options = config.options().unwrap();
        options.late_line_after = Duration::from_secs(3600);
        let files = recover::recover("in", &rig.channels.positions("in"), None, Instant::now());
        let watch: Arc<dyn Watch> = Arc::new(Told);
        Tailer::new("in".into(), options, env::real(), Metrics::default(), files, Some(watch))
    }

    fn name(file: usize) -> &'static str {
        ["a.log", "b.log"][file]
    }

    fn rotated(&mut self, file: usize) -> String {
        self.rotations += 1;
        format!("{}.{}", Self::name(file), self.rotations)
    }

    fn exists(&self, file: usize) -> bool {
        self.rig.path(Self::name(file)).exists()
    }

    fn write(&mut self, file: usize, lines: usize) {
        self.changes.insert(Change::Content(self.rig.path(Self::name(file))));
        for _ in 0..lines {
            let line = match self.begun[file].take() {
                Some(begun) => {
                    self.rig.append(Self::name(file), " ended\n");
                    begun + " ended"
                }
                None => {
                    let line = format!("line {} of {}", self.written.len(), Self::name(file));
                    self.rig.append(Self::name(file), format!("{line}\n"));
                    line
                }
            };
            self.written.push(line);
        }
    }

    fn begin(&mut self, file: usize) {
        if self.begun[file].is_none() {
            // Numbered as the line that it becomes, even if the other file is written in between.
            let begun = format!("begun {} {}", self.written.len(), Self::name(file));
            self.rig.append(Self::name(file), &begun);
            self.begun[file] = Some(begun);
        }
    }

    fn work(&mut self, reads: usize, puts: usize) {
        self.tailer.schedule.soon(Instant::now());
        let settled = std::mem::take(&mut self.settled);
        let changes = std::mem::take(&mut self.changes);
        for chunk in self.tailer.turn(&settled, &changes, Room { reads, bytes: u64::MAX }) {
            let channels = chunk.targets.clone().unwrap_or_else(|| vec![0, 1]);
            self.waiting.push_back((chunk, channels.into()));
        }
        for _ in 0..puts {
            let Some((chunk, channels)) = self.waiting.front_mut() else { return };
            if let Some(channel) = channels.pop_front() {
                self.rig.channels.put(channel, &chunk.batch).unwrap();
            }
            if channels.is_empty() {
                self.settled.extend(&chunk.parts);
                self.waiting.pop_front();
            }
        }
    }

    /// Works until no more lines arrive.
    fn drain(&mut self) {
        // A change within one clock tick of the file system is noticed only with the next change.
        std::thread::sleep(Duration::from_millis(10));
        let mut quiet = 0;
        for _ in 0..10_000 {
            self.work(4, 100);
            let busy = !self.waiting.is_empty() || !self.settled.is_empty();
            quiet = if busy || self.tailer.can_read() { 0 } else { quiet + 1 };
            if quiet == 4 {
                return;
            }
        }
        panic!("the tailer does not come to rest");
    }

    /// Completes an unfinished line, and drains the file.
    fn complete(&mut self, file: usize) {
        if self.begun[file].is_some() {
            self.write(file, 1);
        }
        self.drain();
    }

    /// Makes some channel know the file before a rotation: the source does not look for a rotated
    /// name of an unknown file.
    fn introduce(&mut self, file: usize) {
        let path = self.rig.path(Self::name(file));
        let open = env::real().disk.open(&path, pipeline::env::OpenMode::default()).unwrap();
        let known = self.rig.channels.positions("in").into_iter().flatten();
        let mut known =
            known.filter_map(|(_, value)| identity::Position::decode(&value).map(|(at, _)| at));
        let is_this = |at: &identity::Position| {
            let inode = open.stat().unwrap().inode;
            at.offset > 0 && at.inode == inode && at.is_in(&*open).unwrap()
        };
        if !known.any(|at| is_this(&at)) {
            self.write(file, 1);
            self.drain();
        }
    }

    fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::Write { file, lines } => self.write(file, lines),
            Operation::Begin { file } => self.begin(file),
            Operation::Work { reads, puts } => self.work(reads, puts),
            Operation::Rename { file } if self.exists(file) => {
                self.introduce(file);
                let rotated = self.rotated(file);
                fs::rename(self.rig.path(Self::name(file)), self.rig.path(&rotated)).unwrap();
                self.written.extend(self.begun[file].take());
            }
            Operation::RenameTold { file, times } if self.exists(file) => {
                // A channel cannot store an unfinished line.
                if self.begun[file].is_some() {
                    self.write(file, 1);
                }
                self.unheard = true;
                let mut from = self.rig.path(Self::name(file));
                for _ in 0..times {
                    let rotated = self.rotated(file);
                    let to = self.rig.path(&rotated);
                    fs::rename(&from, &to).unwrap();
                    self.changes.insert(Change::Moved {
                        nth: self.rotations,
                        from,
                        to: to.clone(),
                    });
                    from = to;
                }
            }
            Operation::CopyAndCut { file, turns } if self.exists(file) => {
                self.introduce(file);
                let (original, copy) = (self.rig.path(Self::name(file)), self.rotated(file));
                fs::copy(&original, self.rig.path(&copy)).unwrap();
                (0..turns).for_each(|_| self.work(2, 2));
                cut_to_nothing(&original);
                self.written.extend(self.begun[file].take());
            }
            Operation::Cut { file } if self.exists(file) => {
                self.drain();
                cut_to_nothing(&self.rig.path(Self::name(file)));
                self.begun[file] = None;
                // Let the tailer notice the truncation before the file grows again.
                self.work(1, 0);
            }
            Operation::Delete { file } if self.exists(file) => {
                self.complete(file);
                fs::remove_file(self.rig.path(Self::name(file))).unwrap();
            }
            Operation::Replace { file, turns, puts, kill } if self.exists(file) => {
                self.complete(file);
                let (path, away) = (self.rig.path(Self::name(file)), self.away.path().join("a"));
                fs::rename(&path, &away).unwrap();
                if kill {
                    self.apply(&Operation::Kill);
                }
                let late = std::mem::take(&mut self.tailer.options.late_line_after);
                (0..turns).for_each(|_| self.work(1, puts));
                self.tailer.options.late_line_after = late;
                cut_to_nothing(&away);
                fs::rename(&away, &path).unwrap();
                self.write(file, 1);
            }
            Operation::Kill => {
                // The source does not look for a file that it never saw under its own name.
                if std::mem::take(&mut self.unheard) {
                    self.drain();
                }
                self.waiting.clear();
                self.settled.clear();
                self.tailer = Self::tailer(&self.rig);
            }
            _ => {}
        }
    }

    fn finish(mut self) -> Result<(), TestCaseError> {
        (0..2).for_each(|file| {
            self.write(file, 1);
        });
        self.drain();
        self.tailer.options.late_line_after = Duration::ZERO;
        self.drain();
        let mut expected = self.written;
        expected.sort();
        for (channel, lines) in self.rig.channels.lines().into_iter().enumerate() {
            prop_assert_eq!(lines, expected.clone(), "channel {}", channel);
        }
        Ok(())
    }
}

fn holds(pattern: &str, operations: &[Operation]) -> Result<(), TestCaseError> {
    // Several batches per read, and several files per batch.
    for limits in [(3, "64B"), (8, "1KiB")] {
        let mut world = World::new(pattern, limits);
        operations.iter().for_each(|operation| world.apply(operation));
        world.finish()?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn each_line_is_in_each_channel_once_if_rotated_names_match(
        operations in prop::collection::vec(operation(), 0..40)
    ) {
        holds("*", &operations)?;
    }

    #[test]
    fn each_line_is_in_each_channel_once_if_rotated_names_do_not_match(
        operations in prop::collection::vec(operation(), 0..40)
    ) {
        holds("*.log", &operations)?;
    }
}
