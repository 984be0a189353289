//! Small files become one. A reader that lists their directory finds each line once at every
//! moment, whatever fails and whichever collector continues.
//!
//! Method: a store that checks the directory after each of its calls, below one that fails or dies
//! at the n-th call, for every n. Another collector finishes what it finds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aqueduct_ledger::merge::{Base, Draft};
use aqueduct_ledger::{
    Audit, Committed, Dataset, Ledger, LedgerError, MergeLimits, MergeOutcome, Roll, RollFile,
    Token,
};
use async_trait::async_trait;
use bytes::Bytes;
use pipeline::KeySet;
use storage::faults::{Fault, Faulty};
use storage::memory::Memory;
use storage::{CreateOptions, FileSystem, FileWriter, FsError, Listed, Stat};

use crate::harness::{author, compacting, key, open, whole};
use crate::site::Site;

/// The directory that is merged.
const DAY: &str = "/logs/day/";

/// A store whose readers look into [`DAY`] after each call.
#[derive(Clone)]
struct Read {
    store: Memory,
    /// The lines that are there, once all are committed.
    lines: Arc<std::sync::Mutex<Option<Vec<String>>>>,
    /// True if the store refuses to concatenate files.
    refuses: Arc<AtomicBool>,
}

impl Read {
    fn new() -> Self {
        Self { store: Memory::new(), lines: Arc::default(), refuses: Arc::default() }
    }

    fn files(&self) -> Vec<Bytes> {
        let files = self.store.files();
        files.into_iter().filter(|(path, _)| path.starts_with(DAY)).map(|(_, it)| it).collect()
    }

    fn lines(&self) -> Vec<String> {
        let all = self.files().concat();
        let mut lines: Vec<_> =
            String::from_utf8(all).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// From now on all lines must stay visible.
    fn watch(&self) {
        *self.lines.lock().unwrap() = Some(self.lines());
    }

    fn looked<T>(&self, done: Result<T, FsError>) -> Result<T, FsError> {
        if let Some(lines) = &*self.lines.lock().unwrap() {
            assert_eq!(*lines, self.lines(), "a reader finds each line once");
        }
        done
    }
}

#[async_trait]
impl FileSystem for Read {
    async fn create(
        &self,
        path: &str,
        options: CreateOptions,
    ) -> Result<Box<dyn FileWriter>, FsError> {
        self.store.create(path, options).await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        self.looked(self.store.rename(from, to).await)
    }

    async fn can_concat(&self, _desk: &str) -> Result<(), FsError> {
        Ok(())
    }

    async fn concat(&self, target: &str, sources: &[String], desk: &str) -> Result<(), FsError> {
        if self.refuses.load(Ordering::SeqCst) {
            let source = "a snapshot".into();
            return Err(FsError::Failed { call: "concat", path: target.into(), source });
        }
        self.looked(self.store.concat(target, sources, desk).await)
    }

    async fn replace(&self, from: &str, to: &str) -> Result<(), FsError> {
        self.looked(self.store.replace(from, to).await)
    }

    async fn read(&self, path: &str) -> Result<Bytes, FsError> {
        self.store.read(path).await
    }

    async fn read_part(&self, path: &str, at: u64, bytes: usize) -> Result<Bytes, FsError> {
        self.store.read_part(path, at, bytes).await
    }

    async fn stat(&self, path: &str) -> Result<Stat, FsError> {
        self.store.stat(path).await
    }

    async fn list(&self, directory: &str) -> Result<Vec<Listed>, FsError> {
        self.store.list(directory).await
    }

    async fn delete(&self, path: &str) -> Result<bool, FsError> {
        self.looked(self.store.delete(path).await)
    }

    async fn mkdirs(&self, directory: &str) -> Result<(), FsError> {
        self.store.mkdirs(directory).await
    }
}

fn limits() -> MergeLimits<'static> {
    MergeLimits { size_max: 1_000, unless: Some("_SUCCESS"), options: CreateOptions::default() }
}

/// Commits one file with a unique line in [`DAY`].
async fn commit(fs: &dyn FileSystem, ledger: &mut Ledger, by: u8, number: u64) {
    let token = Token(env::real().entropy.bytes16());
    let desk = Dataset::desk(author(by));
    let dataset = Dataset::new("/logs", "store");
    let temp = format!("{desk}/{token}.0");
    let line = Bytes::from(format!("line {number:03}\n"));
    let (len, crc) = (line.len() as u64, crc32c::crc32c(&line));
    let mut writer = fs.create(&dataset.staged(&temp), CreateOptions::default()).await.unwrap();
    writer.write(line).await.unwrap();
    writer.close().await.unwrap();
    let (directory, shares) = ("day".into(), Vec::new());
    let file = RollFile { temp, directory, len, crc, events: 1, shares };
    let keys: KeySet = [key(number)].into_iter().collect();
    let roll = Roll { token, keys, files: vec![file] };
    assert!(matches!(ledger.commit(roll, whole()).await.unwrap(), Committed::Published(_)));
}

pub(crate) async fn committed(
    fs: &dyn FileSystem,
    ledger: &mut Ledger,
    by: u8,
    numbers: std::ops::Range<u64>,
) {
    for number in numbers {
        commit(fs, ledger, by, number).await;
    }
}

async fn drafted(ledger: &mut Ledger) -> Result<Option<Draft>, LedgerError> {
    let base: Option<Base> = ledger.merge_base("day").await?;
    match base {
        Some(base) => base.draft(limits()).await,
        None => Ok(None),
    }
}

pub(crate) async fn merged(ledger: &mut Ledger) -> Result<Option<MergeOutcome>, LedgerError> {
    match drafted(ledger).await? {
        Some(draft) => ledger.merge(draft).await.map(Some),
        None => Ok(None),
    }
}

/// Compares the ledger with every byte of the files.
async fn sound(fs: &Read) {
    sound_on(Arc::new(fs.clone())).await;
}

pub(crate) async fn sound_on(fs: Arc<dyn FileSystem>) {
    let dataset = Dataset::new("/logs", "store");
    let audit = Audit::read(fs.clone(), dataset.clone()).await.unwrap();
    assert!(audit.is_sound(), "{:?}", audit.files);
    let contents = audit.examine(fs, &dataset, "store").await.unwrap();
    assert!(contents.is_sound(), "{contents:?}");
    assert_eq!(contents.read.events, audit.view.totals().events);
}

fn copies(fs: &Read) -> usize {
    fs.store.files().keys().filter(|path| path.ends_with(".merged")).count()
}

#[tokio::test(start_paused = true)]
async fn a_reader_finds_each_line_once_whatever_call_of_a_merge_fails() {
    for fault in [Fault::Refused, Fault::AnswerLost, Fault::DiesBefore, Fault::DiesAfter] {
        for at in 0.. {
            let fs = Read::new();
            let plain: Arc<dyn FileSystem> = Arc::new(fs.clone());
            let mut ledger = open(plain.clone(), 1).await.unwrap();
            committed(&fs, &mut ledger, 1, 0..5).await;
            fs.watch();
            let faulty = Arc::new(Faulty::new(plain.clone(), fault.clone(), at));
            // The collector, which looks at its store from here on.
            let calls = match open(faulty.clone(), 2).await {
                Ok(mut failing) => {
                    drop(merged(&mut failing).await);
                    faulty.calls()
                }
                Err(_) => u64::MAX,
            };
            // Another collector continues, and then the one that failed.
            let mut other = open(plain.clone(), 3).await.unwrap();
            other.finish_merges().await.unwrap();
            while merged(&mut other).await.unwrap().is_some() {}
            let restarted = crate::harness::open_again(plain.clone(), 2, Default::default()).await;
            restarted.unwrap().finish_merges().await.unwrap();
            assert_eq!(fs.files().len(), 1, "{fault:?} at {at}");
            assert_eq!(copies(&fs), 0, "{fault:?} at {at}");
            assert_eq!(other.view().open_merges().count(), 0);
            sound(&fs).await;
            if calls <= at {
                assert!(at > 20, "a merge has more calls than {at}");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_that_merge_the_same_files_one_wins() {
    let fs = Read::new();
    let plain: Arc<dyn FileSystem> = Arc::new(fs.clone());
    let (mut one, mut other) =
        (open(plain.clone(), 1).await.unwrap(), open(plain.clone(), 2).await.unwrap());
    committed(&fs, &mut one, 1, 0..4).await;
    fs.watch();
    let (first, second) =
        (drafted(&mut one).await.unwrap().unwrap(), drafted(&mut other).await.unwrap().unwrap());
    let won = MergeOutcome::Won { files: 4, bytes: 36 };
    assert_eq!(one.merge(first).await.unwrap(), won);
    assert_eq!(other.merge(second).await.unwrap(), MergeOutcome::Stale);
    assert_eq!((fs.files().len(), copies(&fs)), (1, 0));
    assert!(drafted(&mut other).await.unwrap().is_none(), "one file is left");
    sound(&fs).await;
}

/// Calls of a collector that was stopped in the middle arrive long after.
#[tokio::test(start_paused = true)]
async fn a_late_merger_changes_nothing() {
    let fs = Read::new();
    let plain: Arc<dyn FileSystem> = Arc::new(fs.clone());
    let mut ledger = open(plain.clone(), 1).await.unwrap();
    committed(&fs, &mut ledger, 1, 0..4).await;
    fs.refuses.store(true, Ordering::SeqCst);
    merged(&mut ledger).await.unwrap().unwrap();
    let merge = ledger.view().open_merges().next().unwrap().clone();
    assert!(drafted(&mut ledger).await.unwrap().is_none(), "one is open in this directory");
    fs.refuses.store(false, Ordering::SeqCst);
    let mut other = open(plain.clone(), 2).await.unwrap();
    assert_eq!((fs.files().len(), copies(&fs)), (1, 0), "an opening finishes it");
    committed(&fs, &mut other, 2, 4..6).await;
    fs.watch();
    assert!(merged(&mut other).await.unwrap().is_some());
    let published = |target: &str| format!("/logs/{target}");
    let sources: Vec<_> = merge.sources.iter().map(|file| published(&file.target)).collect();
    let (target, copy) =
        (published(&merge.target.target), format!("/logs/_aqueduct/store/{}", merge.copy));
    assert!(fs.concat(&target, &sources, "/desk").await.unwrap_err().is_not_found());
    assert!(fs.replace(&copy, &target).await.unwrap_err().is_not_found());
    ledger.finish_merges().await.unwrap();
    sound(&fs).await;
}

#[tokio::test(start_paused = true)]
async fn a_merge_that_the_store_refuses_goes_on_in_the_generations_that_follow() {
    let fs = Read::new();
    let plain: Arc<dyn FileSystem> = Arc::new(fs.clone());
    let mut ledger = compacting(plain.clone(), 1).await;
    committed(&fs, &mut ledger, 1, 0..4).await;
    ledger.compact().await.unwrap();
    committed(&fs, &mut ledger, 1, 4..6).await;
    fs.watch();
    fs.refuses.store(true, Ordering::SeqCst);
    merged(&mut ledger).await.unwrap().unwrap();
    let generation = ledger.view().generation();
    ledger.compact().await.unwrap();
    assert!(ledger.view().generation() > generation);
    assert_eq!(ledger.view().open_merges().count(), 1);
    sound(&fs).await;
    // A collector that does not know the merge.
    let mut other = compacting(plain.clone(), 2).await;
    assert_eq!((other.view().open_merges().count(), fs.files().len()), (1, 6));
    fs.refuses.store(false, Ordering::SeqCst);
    other.finish_merges().await.unwrap();
    assert_eq!((other.view().open_merges().count(), fs.files().len()), (0, 1));
    sound(&fs).await;
    other.compact().await.unwrap();
    assert_eq!(compacting(plain, 3).await.view().open_merges().count(), 0, "it is forgotten");
}

/// Retention deletes files that are to be merged; no call may restore a file of the directory.
#[tokio::test(start_paused = true)]
async fn files_that_are_deleted_from_outside_end_their_merge() {
    let fs = Read::new();
    let plain: Arc<dyn FileSystem> = Arc::new(fs.clone());
    for gone in ["/logs/day", "/logs/day/host-1-store-0-0.log", "/logs/day/host-1-store-2-0.log"] {
        fs.store.delete("/logs").await.unwrap();
        let mut ledger = open(plain.clone(), 1).await.unwrap();
        committed(&fs, &mut ledger, 1, 0..4).await;
        fs.refuses.store(true, Ordering::SeqCst);
        merged(&mut ledger).await.unwrap().unwrap();
        fs.refuses.store(false, Ordering::SeqCst);
        fs.delete(gone).await.unwrap();
        let left = fs.lines();
        ledger.finish_merges().await.unwrap();
        assert_eq!((ledger.view().open_merges().count(), copies(&fs)), (0, 0), "{gone}");
        assert_eq!(fs.lines(), left, "{gone}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_is_marked_as_complete_stays_as_it_is() {
    let fs = Read::new();
    let plain: Arc<dyn FileSystem> = Arc::new(fs.clone());
    let mut ledger = open(plain.clone(), 1).await.unwrap();
    committed(&fs, &mut ledger, 1, 0..3).await;
    crate::harness::put(&fs, "/logs/day/notes.txt", "foreign").await;
    crate::harness::put(&fs, "/logs/day/_SUCCESS", "").await;
    assert!(drafted(&mut ledger).await.unwrap().is_none());
    fs.delete("/logs/day/_SUCCESS").await.unwrap();
    assert!(merged(&mut ledger).await.unwrap().is_some());
    assert_eq!(fs.files().len(), 2, "a foreign file stays by itself");
}

/// A collector that is to publish files late finds them in another one.
#[tokio::test(start_paused = true)]
async fn accepts_files_that_others_published_and_merged() {
    let fs = Read::new();
    let plain: Arc<dyn FileSystem> = Arc::new(fs.clone());
    let mut ledger = open(plain.clone(), 1).await.unwrap();
    committed(&fs, &mut ledger, 1, 0..2).await;
    let refusing = Arc::new(storage::faults::Refusing::new(plain.clone(), "/logs/day"));
    let mut slow = open(refusing.clone(), 2).await.unwrap();
    committed(&fs, &mut slow, 2, 2..3).await;
    assert_eq!(slow.waiting_files(), 1);
    let mut other = open(plain, 3).await.unwrap();
    fs.watch();
    assert!(merged(&mut other).await.unwrap().is_some());
    refusing.refuse(false);
    slow.publish_waiting(slow.publish_due().unwrap()).await.unwrap();
    assert_eq!(slow.waiting_files(), 0);
    sound(&fs).await;
}

/// An operator rebuilds a ledger some of whose files were merged into others.
#[tokio::test(start_paused = true)]
async fn a_rebuild_counts_merged_files_as_committed() {
    let site = Site::new();
    let mut ledger = site.open(1).await.unwrap();
    site.commit(&mut ledger, 0..3).await;
    site.commit(&mut ledger, 3..6).await;
    site.commit(&mut ledger, 6..9).await;
    let before = site.store.files().keys().filter(|path| path.starts_with(DAY)).count();
    assert!(merged(&mut ledger).await.unwrap().is_some());
    let after = site.store.files().keys().filter(|path| path.starts_with(DAY)).count();
    assert!(before >= 2 && after == 1, "{before} files became {after}");
    let decided = site.operator(1).rebuild().await.unwrap();
    assert_eq!(decided.standing.view.settled().keys.count(), 9, "{:?}", decided.notes);
}
