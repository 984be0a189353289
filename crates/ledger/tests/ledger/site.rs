//! A store whose ledger is changed from outside, and collectors that remember it.

use std::path::PathBuf;
use std::sync::Arc;

use aqueduct_ledger::{
    Change, Committed, Dataset, Known, Ledger, LedgerError, Memory, Operator, Token, Turns,
    WriterId,
};
use pipeline::Env;
use storage::FileSystem;
use storage::memory::Memory as Store;
use tempfile::TempDir;

use crate::harness::{author, options, roll, whole};

pub(crate) const LEDGER: &str = "/logs/_aqueduct/store/ledger";
pub(crate) const ENTRY: &str = "/logs/_aqueduct/store/ledger/g0/0000000000000000000";
pub(crate) const NAME: &str = "store in memory";

/// A store, and collectors with separate data directories.
pub(crate) struct Site {
    pub(crate) store: Store,
    pub(crate) fs: Arc<dyn FileSystem>,
    pub(crate) env: Env,
    pub(crate) dirs: Vec<TempDir>,
}

impl Site {
    pub(crate) fn new() -> Self {
        let store = Store::new();
        let fs: Arc<dyn FileSystem> = Arc::new(store.clone());
        let dirs = (0..4).map(|_| TempDir::new().unwrap()).collect();
        Self { store, fs, env: env::real(), dirs }
    }

    pub(crate) fn directory(&self, number: u8) -> PathBuf {
        self.dirs[usize::from(number)].path().join("sinks/store")
    }

    /// A start of collector `number`, after `known` in this process.
    pub(crate) async fn reopen(&self, number: u8, known: Known) -> Result<Ledger, LedgerError> {
        self.start(number, known, 1_000).await
    }

    pub(crate) async fn start(
        &self,
        number: u8,
        known: Known,
        after: u64,
    ) -> Result<Ledger, LedgerError> {
        let memory = Memory::load(&self.env, &self.directory(number), NAME, &Turns::default())
            .await
            .unwrap();
        let author = WriterId { incarnation: Token(self.env.entropy.bytes16()), ..author(number) };
        let dataset = Dataset::new("/logs", "store");
        let options = options(number, after);
        Ledger::open(self.fs.clone(), dataset, author, options, known, memory).await
    }

    pub(crate) async fn open(&self, number: u8) -> Result<Ledger, LedgerError> {
        self.reopen(number, Known::default()).await
    }

    pub(crate) async fn refused(&self, number: u8) -> Change {
        match self.open(number).await.map(drop) {
            Err(LedgerError::Changed { change, .. }) => change,
            other => panic!("collector {number} was not stopped: {other:?}"),
        }
    }

    /// Collector 1 has stored batches 0 to 4, one an entry, and is down.
    pub(crate) async fn of_five(&self) {
        let mut ledger = self.open(1).await.unwrap();
        self.commit(&mut ledger, 0..5).await;
    }

    pub(crate) async fn commit(&self, ledger: &mut Ledger, batches: std::ops::Range<u64>) {
        for n in batches {
            let rolled = roll(&*self.fs, 1, n..n + 1).await;
            let committed = ledger.commit(rolled, whole()).await.unwrap();
            assert!(matches!(committed, Committed::Published(_)), "{committed:?}");
        }
    }

    pub(crate) fn operator(&self, number: u8) -> Operator {
        Operator {
            fs: self.fs.clone(),
            dataset: Dataset::new("/logs", "store"),
            name: NAME.into(),
            env: self.env.clone(),
            directory: self.directory(number),
        }
    }

    pub(crate) async fn copy(&self) -> Vec<(String, bytes::Bytes)> {
        let files = self.store.files().into_iter();
        files.filter(|(path, _)| path.starts_with(LEDGER)).collect()
    }

    /// Replaces the ledger by an earlier copy.
    pub(crate) async fn restore(&self, copy: Vec<(String, bytes::Bytes)>) {
        self.fs.delete(LEDGER).await.unwrap();
        for (path, content) in copy {
            self.fs.mkdirs(storage::split(&path).0).await.unwrap();
            let mut writer = self.fs.create(&path, Default::default()).await.unwrap();
            writer.write(content).await.unwrap();
            writer.close().await.unwrap();
        }
    }

    pub(crate) fn visible(&self) -> usize {
        self.store.files().keys().filter(|path| path.starts_with("/logs/day/")).count()
    }
}
