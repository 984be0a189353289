//! Ledgers and rolls for the tests.

use std::sync::Arc;
use std::time::Duration;

use aqueduct_ledger::{
    Dataset, FileNames, Known, Ledger, LedgerError, Memory, Options, Roll, RollFile, Token,
    WriterId,
};
use bytes::Bytes;
use pipeline::{Epoch, Identity, KeySet, Origin, Sequence};
use storage::{CreateOptions, FileSystem};

/// How long a stage must be unchanged before it is cleaned up.
pub(crate) const QUIET: Duration = Duration::from_secs(3_600);

pub(crate) fn author(number: u8) -> WriterId {
    WriterId { collector: Token([number; 16]), incarnation: Token([number; 16]) }
}

pub(crate) async fn open(fs: Arc<dyn FileSystem>, number: u8) -> Result<Ledger, LedgerError> {
    open_at(fs, "/logs", number).await
}

pub(crate) async fn open_at(
    fs: Arc<dyn FileSystem>,
    prefix: &str,
    number: u8,
) -> Result<Ledger, LedgerError> {
    with_options(fs, prefix, number, 1_000).await
}

/// A collector that makes a new generation whenever possible.
pub(crate) async fn compacting(fs: Arc<dyn FileSystem>, number: u8) -> Ledger {
    with_options(fs, "/logs", number, 1).await.unwrap()
}

async fn with_options(
    fs: Arc<dyn FileSystem>,
    prefix: &str,
    number: u8,
    compact_after: u64,
) -> Result<Ledger, LedgerError> {
    let dataset = Dataset::new(prefix, "store");
    let options = options(number, compact_after);
    Ledger::open(fs, dataset, author(number), options, Known::default(), Memory::none()).await
}

/// The same process opens the ledger again, with its knowledge, as a new incarnation.
pub(crate) async fn open_again(
    fs: Arc<dyn FileSystem>,
    number: u8,
    known: Known,
) -> Result<Ledger, LedgerError> {
    let incarnation = Token([!number; 16]);
    let author = WriterId { incarnation, ..author(number) };
    let dataset = Dataset::new("/logs", "store");
    Ledger::open(fs, dataset, author, options(number, 1_000), known, Memory::none()).await
}

pub(crate) fn options(number: u8, compact_after: u64) -> Options {
    let names = FileNames { stem: format!("host-{number}-store"), extension: "log".into() };
    Options { names, compact_after, sweep_after: QUIET }
}

/// Batch `number` of the first epoch.
pub(crate) fn key(number: u64) -> Identity {
    key_of(1, number)
}

pub(crate) fn key_of(epoch: u64, number: u64) -> Identity {
    let (origin, sequence) = (Origin([1; 16]), Sequence(number));
    Identity { origin, epoch: Epoch(epoch), sequence }
}

pub(crate) async fn put(fs: &dyn FileSystem, path: &str, content: &'static str) {
    let mut writer = fs.create(path, CreateOptions::default()).await.unwrap();
    writer.write(Bytes::from_static(content.as_bytes())).await.unwrap();
    writer.close().await.unwrap();
}

/// A roll of `keys`, staged by author `number`.
pub(crate) async fn roll(fs: &dyn FileSystem, number: u8, keys: std::ops::Range<u64>) -> Roll {
    roll_at(fs, "/logs", number, keys).await
}

pub(crate) async fn roll_at(
    fs: &dyn FileSystem,
    prefix: &str,
    number: u8,
    keys: std::ops::Range<u64>,
) -> Roll {
    stage(fs, prefix, number, keys.map(key).collect()).await
}

pub(crate) async fn roll_of(
    fs: &dyn FileSystem,
    number: u8,
    keys: impl IntoIterator<Item = Identity>,
) -> Roll {
    stage(fs, "/logs", number, keys.into_iter().collect()).await
}

async fn stage(fs: &dyn FileSystem, prefix: &str, number: u8, keys: KeySet) -> Roll {
    let token = Token(env::real().entropy.bytes16());
    let desk = Dataset::desk(author(number));
    let dataset = Dataset::new(prefix, "store");
    fs.mkdirs(&dataset.staged(&desk)).await.unwrap();
    let temp = format!("{desk}/{token}.0");
    put(fs, &dataset.staged(&temp), "line\n").await;
    let (directory, shares) = ("day".into(), Vec::new());
    let file = RollFile { temp, directory, len: 5, crc: 0, events: 1, shares };
    Roll { token, keys, files: vec![file] }
}

/// Files that are whole already.
pub(crate) fn whole() -> impl Future<Output = Result<(), LedgerError>> + Send {
    std::future::ready(Ok(()))
}
