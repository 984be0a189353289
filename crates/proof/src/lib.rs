//! Proves, or disproves, that everything that edges accepted is in the store.
//!
//! ```text
//!  accounts: batches that each channel accepted, and holds ──┐
//!                                                            ├─► report, channel by channel
//!  commit ledgers: batches in visible files ─────────────────┘
//!    ▲
//!  Iceberg table of these files: their rows ([`table`])
//! ```
//!
//! Nothing is changed. Data files are read only if [`Request::deep`] is set.

mod report;
mod table;

use std::sync::Arc;
use std::time::SystemTime;

use components_hdfs::hdfs::completeness::{ReceiptAudit, audit_receipts};
use components_hdfs::hdfs::place;
use components_hdfs::hdfs::store::{self, Access};
use ledger::{Audit, BOOKS, Contents, Dataset, LedgerError};
use pipeline::{Account, Env};
use storage::{FileSystem, FsError, StoreUrl};
use thiserror::Error;

use table::{SeenTable, TableProof};

pub use report::{Report, Verdict};
pub use table::{TableReadError, TableSource};

/// Why a store cannot be opened.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The URL is not that of a store.
    #[error("--store {url} is invalid: {problem}")]
    Invalid {
        /// The URL.
        url: String,
        /// The problem with it.
        problem: String,
    },
    /// The store cannot be opened.
    #[error(
        "cannot open the file system or bucket {url}; check `--store`, the network and the \
         permissions"
    )]
    Connect {
        /// Its URL.
        url: String,
        /// The cause.
        #[source]
        source: FsError,
    },
}

impl StoreError {
    /// Creates the error for a URL that is not that of a store.
    pub fn invalid(url: &str, problem: String) -> Self {
        Self::Invalid { url: url.to_owned(), problem }
    }
}

/// Opens the store of a URL.
///
/// # Errors
/// The URL is invalid, or the store cannot be reached.
pub fn open_store(
    url: &str,
    access: &Access,
    env: &Env,
) -> Result<(StoreUrl, Arc<dyn FileSystem>), StoreError> {
    let parsed =
        StoreUrl::parse(url).map_err(|error| StoreError::invalid(url, error.to_string()))?;
    let fs = store::open(&parsed, access, env)
        .map_err(|source| StoreError::Connect { url: url.to_owned(), source })?;
    Ok((parsed, fs))
}

/// The reason why a store or its ledger cannot be read.
#[derive(Debug, Error)]
pub enum ProofError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No sink has a ledger there.
    #[error("no sink has a ledger below {path}: set --store to the `url` of the sink")]
    NoLedger {
        /// The directory.
        path: String,
    },
    /// Several sinks have ledgers there, and none is chosen.
    #[error("several sinks have stored below {path}: {names}; choose one with --sink")]
    Several {
        /// The directory.
        path: String,
        /// The names of the sinks.
        names: String,
    },
    /// The table cannot be read.
    #[error("cannot read the table of --table; check it, and the access to the store")]
    Table(#[from] TableReadError),
    /// A table was given for several stores.
    #[error("--table needs exactly one --store: the one with the files of the table")]
    TableOfSeveral,
    /// The ledger cannot be read.
    #[error("cannot read the commit ledger of {url}; check the network and the permissions")]
    Ledger {
        /// URL of the store.
        url: String,
        /// The cause.
        #[source]
        source: LedgerError,
    },
}

/// The stores to read, and how strict the proof is.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// URLs of `hdfs` sinks; several if batches are spread over several.
    pub stores: Vec<String>,
    /// Name of the sink; needed if several have stored below one URL.
    pub sink: Option<String>,
    /// Reads every visible file, and compares it with the ledger.
    pub deep: bool,
    /// The Iceberg table of the files.
    pub table: Option<TableSource>,
    /// A retention job may have deleted files committed before this time.
    pub expired: Option<SystemTime>,
}

/// One dataset that was read.
struct Audited {
    url: String,
    sink: String,
    audit: Audit,
    contents: Option<Contents>,
    receipts: ReceiptAudit,
    table: Option<TableProof>,
}

/// Compares `accounts` with the ledgers of the stores. Read the accounts before this call: a batch
/// that is committed in the meantime must not count as missing.
///
/// # Errors
/// A store or its ledger cannot be read.
pub async fn prove(
    accounts: Vec<Account>,
    request: &Request,
    env: &Env,
) -> Result<Report, ProofError> {
    if request.table.is_some() && request.stores.len() > 1 {
        return Err(ProofError::TableOfSeveral);
    }
    let mut audited = Vec::new();
    for url in &request.stores {
        audited.push(audit(url, request, env).await?);
    }
    let accounts = once_each(accounts);
    let settled = audited.iter().map(|one| one.audit.view.settled());
    let proofs = ledger::proof::prove(&accounts, settled);
    let accounts = accounts.into_iter().zip(proofs).collect();
    Ok(Report::new(accounts, audited, request.expired))
}

/// The accounts without repetitions: each directory of an agent brings its dead letters along, and
/// their events count once.
fn once_each(accounts: Vec<Account>) -> Vec<Account> {
    let mut once: Vec<Account> = Vec::new();
    for account in accounts {
        if !once.contains(&account) {
            once.push(account);
        }
    }
    once
}

/// A dataset that can be read, and the name of its sink.
pub struct Opened {
    /// The store.
    pub fs: Arc<dyn FileSystem>,
    /// The ledger and the files of one sink.
    pub dataset: Dataset,
    /// The name of the sink.
    pub sink: String,
}

/// Opens the dataset of `sink` below `url`; without a name, that of the only sink there.
///
/// # Errors
/// The store cannot be reached, or the sink is ambiguous.
pub async fn opened(url: &str, sink: Option<&str>, env: &Env) -> Result<Opened, ProofError> {
    let (parsed, fs) = open_store(url, &Access::default(), env)?;
    let wrong = |problem: String| StoreError::invalid(url, problem);
    let prefix = place::prefix(parsed.path()).map_err(wrong)?;
    let sink = match sink {
        Some(sink) => place::name(sink),
        None => only_sink(&*fs, &prefix).await?,
    };
    let dataset = Dataset::new(&prefix, &sink);
    Ok(Opened { fs, dataset, sink })
}

async fn audit(url: &str, request: &Request, env: &Env) -> Result<Audited, ProofError> {
    let Opened { fs, dataset, sink } = opened(url, request.sink.as_deref(), env).await?;
    let failed = |source| ProofError::Ledger { url: url.to_owned(), source };
    // First: an entry that is added in the meantime must not look missing in the ledger.
    let table = match &request.table {
        Some(source) => Some(SeenTable::read(source, &fs, env).await?),
        None => None,
    };
    loop {
        let audit = Audit::read(fs.clone(), dataset.clone()).await.map_err(failed)?;
        let contents = match request.deep {
            true => Some(audit.examine(Arc::clone(&fs), &dataset, &sink).await.map_err(failed)?),
            false => None,
        };
        // A merge of small files may have moved some while they were read: read them again.
        let overtaken = audit.is_overtaken(fs.clone(), dataset.clone()).await;
        if !request.deep || !overtaken.map_err(failed)? {
            let table = match table {
                Some(seen) => Some(seen.compare(&audit, &dataset).map_err(TableReadError::from)?),
                None => None,
            };
            let receipts = audit_receipts(fs, dataset, &audit, request.expired);
            let receipts = receipts.await.map_err(failed)?;
            return Ok(Audited { url: url.to_owned(), sink, audit, contents, receipts, table });
        }
    }
}

/// The only sink with a ledger below `prefix`.
async fn only_sink(fs: &dyn FileSystem, prefix: &str) -> Result<String, ProofError> {
    let path = format!("{prefix}/{BOOKS}");
    let listed = fs.list(&path).await;
    let names: Vec<String> = match listed {
        Ok(listed) => listed.into_iter().filter(|one| one.directory).map(|one| one.name).collect(),
        Err(FsError::NotFound { .. }) => Vec::new(),
        Err(source) => return Err(ProofError::Ledger { url: path, source: source.into() }),
    };
    match names.as_slice() {
        [] => Err(ProofError::NoLedger { path: prefix.to_owned() }),
        [one] => Ok(one.clone()),
        several => Err(ProofError::Several { path: prefix.to_owned(), names: several.join(", ") }),
    }
}
