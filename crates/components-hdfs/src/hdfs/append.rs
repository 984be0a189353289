//! Appends committed files to an Iceberg table.
//!
//! ```text
//!  entry of the ledger, files visible ─► manifest, manifest list ─► commit: snapshot and number
//!                                                                   ─► record in the store
//! ```
//!
//! [`Appender`] decides what the table lacks; this module executes its steps. The data path does
//! not wait for it: while the catalog is down, the ledger keeps the entries. Every collector does
//! it for all entries, also those of others, so a dead collector delays none.

mod commit;
mod error;
mod statistics;
mod target;

use std::sync::Arc;
use std::time::Duration;

use iceberg::appender::{Appender, Outcome, Seen, Step, Verdict};
use iceberg::metadata::Table;
use iceberg::position::Position;
use ledger::{Commits, Ledger, LedgerError, StagedFile, TableRecord, WriterId};
use pipeline::Env;
use storage::{FileSystem, FsError};
use support::backoff::jittered;
use support::causes::chain;
use support::failure_log::FailureLog;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::settings::Settings;
use super::troubles::Troubles;
use crate::iceberg::{CatalogError, CommitAnswer};
pub(super) use error::AppendError;
#[cfg(test)]
pub(super) use target::Reach;
pub(super) use target::{IcebergConfig, Target};

/// Name of the task among the problems of the sink.
const TASK: &str = "iceberg";
/// Pause between checks for entries of other collectors.
const PAUSE: Duration = Duration::from_secs(30);
/// Pause after a failure: the first one, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How long an opening waits for the catalog, which reads all snapshots of a table.
const CHECK_LIMIT: Duration = Duration::from_secs(1);
/// How long a committed file may be invisible before it is reported.
const HIDDEN_MAX: Duration = Duration::from_secs(60);

/// The append task of one opening.
pub(super) struct Appending {
    settings: Arc<Settings>,
    ledger: Arc<Mutex<Ledger>>,
    fs: Arc<dyn FileSystem>,
    author: WriterId,
    troubles: Troubles,
    /// A committed file that is not visible, and since when.
    hidden: Option<(String, Instant)>,
    /// End of the ledger, and the number of the table, as far as they are known.
    known: (u64, u64),
}

/// Files of some entries.
struct Gathered {
    from: u64,
    to: u64,
    files: Vec<StagedFile>,
}

impl Appending {
    /// Creates the task for this ledger in this store.
    pub(super) fn new(
        settings: Arc<Settings>,
        ledger: Arc<Mutex<Ledger>>,
        fs: Arc<dyn FileSystem>,
        author: WriterId,
        troubles: Troubles,
    ) -> Self {
        Self { settings, ledger, fs, author, troubles, hidden: None, known: (0, 0) }
    }

    /// Works periodically until it is aborted.
    pub(super) async fn run(mut self) {
        let settings = self.settings.clone();
        let Some(target) = &settings.target else { return };
        let (mut failures, mut refresh) = (FailureLog::default(), false);
        loop {
            let turned = self.turn(target, refresh).await;
            let (end, number) = self.known;
            target.due.set(end.saturating_sub(number) as f64);
            let time = Instant::now();
            match turned {
                Ok(()) => {
                    self.troubles.set(TASK, None);
                    if let Some((failures, _)) = failures.over(time) {
                        tracing::info!(table = target.name, failures, "appending files again");
                    }
                    refresh = timeout(PAUSE, target.news.notified()).await.is_err();
                }
                Err(error) => {
                    target.failed.inc();
                    failures.count(time);
                    let text = chain(&error);
                    let left = format!("cannot append files to the table {}", target.name);
                    self.troubles.set(TASK, Some(format!("{left}: {text}")));
                    if let Some((failures, _)) = failures.should_log(time, &text) {
                        tracing::warn!(
                            error = text,
                            failures,
                            "{left}; retrying; fix the cause in `error`"
                        );
                    }
                    let random = settings.env.entropy.next_u64();
                    sleep(jittered(RETRY.0, RETRY.1, failures.failures(), random)).await;
                    refresh = true;
                }
            }
        }
    }

    /// Works once more before the agent stops, up to a time limit.
    pub(super) async fn last(mut self, limit: Duration) {
        let settings = self.settings.clone();
        let Some(target) = &settings.target else { return };
        let next = "cannot append files to the table before the agent stops; the next start \
                    appends them; no action needed";
        match timeout(limit, self.turn(target, false)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(error = chain(&error), "{next}"),
            Err(_) => tracing::debug!("{next}"),
        }
    }

    /// Appends all entries whose files are visible. Locks the ledger for one call at a time, so
    /// that commits come first.
    async fn turn(&mut self, target: &Target, refresh: bool) -> Result<(), AppendError> {
        if refresh {
            self.ledger.lock().await.refresh().await?;
        }
        let catalog = target.catalog(&self.fs, &self.settings.env);
        let mut appender = Appender::new(target.creates);
        let (mut table, mut gathered, mut reason) = (None, None, None);
        loop {
            let outcome = match appender.step() {
                Step::Recall => {
                    let (record, end) = self.recall().await?;
                    self.known = (end, record.number);
                    Outcome::Recalled(record, end)
                }
                Step::ReadLedger => {
                    let mut ledger = self.ledger.lock().await;
                    ledger.refresh().await?;
                    Outcome::LedgerRead(ledger.view().next())
                }
                Step::Create => {
                    catalog.create(&target.create_request()).await?;
                    tracing::info!(table = target.name, "created the table, unless it existed");
                    Outcome::Created
                }
                Step::Load => {
                    table = catalog.load().await?;
                    Outcome::Loaded(match &table {
                        None => None,
                        Some(table) => Some(self.seen(target, table).await?),
                    })
                }
                Step::Gather(from) => {
                    let (found, kept_from) = self.gather(from).await?;
                    // Entries without files, such as seals, need no snapshot.
                    let to = if found.files.is_empty() { from } else { found.to };
                    if self.hidden.is_none() {
                        self.known.1 = found.to;
                    }
                    gathered = Some(found);
                    Outcome::Gathered { to, kept_from }
                }
                Step::Append { from, to, number } => {
                    let table = table.as_ref().expect("the table was loaded");
                    let of_range = |it: &&Gathered| (it.from, it.to) == (from, to);
                    let files = gathered.as_ref().filter(of_range).map(|it| &*it.files);
                    let files = files.unwrap_or(&[]);
                    match self.commit(target, &*catalog, table, files, (from, number)).await? {
                        CommitAnswer::Done => Outcome::Appended,
                        CommitAnswer::Unsettled(error) => {
                            let error = chain(&error);
                            tracing::debug!(error, "loading the table again");
                            reason = Some(error);
                            Outcome::Unsettled
                        }
                    }
                }
                Step::Record(record) => {
                    self.known.1 = record.number;
                    self.ledger.lock().await.record_table(&record).await?;
                    Outcome::Recorded
                }
                Step::Done(verdict) => return self.end(target, verdict, reason).await,
            };
            appender.on(outcome);
        }
    }

    async fn end(
        &self,
        target: &Target,
        verdict: Verdict,
        reason: Option<String>,
    ) -> Result<(), AppendError> {
        match verdict {
            Verdict::UpTo(_) => match &self.hidden {
                Some((file, since)) if since.elapsed() > HIDDEN_MAX => {
                    Err(AppendError::Hidden { file: file.clone() })
                }
                _ => Ok(()),
            },
            Verdict::Contended => {
                Err(AppendError::Contended { reason: reason.unwrap_or_default() })
            }
            Verdict::Stopped(stop) => {
                let ledger = self.ledger.lock().await;
                let (property, records) = (property_of(&ledger), ledger.table_records());
                Err(AppendError::Stopped { stop, table: target.name.clone(), property, records })
            }
        }
    }

    /// Returns the record in the store, and the end of the ledger.
    async fn recall(&self) -> Result<(TableRecord, u64), LedgerError> {
        let ledger = self.ledger.lock().await;
        Ok((claim(&ledger).await?, ledger.view().next()))
    }

    /// Checks the table. Returns what decides.
    async fn seen(&self, target: &Target, table: &Table) -> Result<Seen, CatalogError> {
        target.check(table)?;
        let property = property_of(&*self.ledger.lock().await);
        Ok(Seen { uuid: table.uuid.clone(), number: table.number(&property)? })
    }

    /// Collects the files of entries, up to the first one that is not visible. Also returns the
    /// first entry that the ledger still has.
    async fn gather(&mut self, from: u64) -> Result<(Gathered, u64), AppendError> {
        let before = self.hidden.take();
        let (mut files, mut next) = (Vec::new(), from);
        loop {
            let Commits { commits, end, kept_from } =
                self.ledger.lock().await.commits(next).await?;
            for (index, of_entry) in commits {
                for file in &of_entry {
                    if !self.is_visible(file).await? {
                        let since = before.filter(|(path, _)| *path == file.target);
                        let since = since.map_or_else(Instant::now, |(_, since)| since);
                        self.hidden = Some((file.target.clone(), since));
                        return Ok((Gathered { from, to: index, files }, kept_from));
                    }
                }
                files.extend(of_entry);
            }
            // There may be many entries without files.
            if !files.is_empty() || end <= next {
                return Ok((Gathered { from, to: end, files }, kept_from));
            }
            next = end;
        }
    }

    async fn is_visible(&self, file: &StagedFile) -> Result<bool, AppendError> {
        let path = self.ledger.lock().await.dataset().published(&file.target);
        match self.fs.stat(&path).await {
            Ok(stat) if stat.len == file.len => Ok(true),
            Ok(stat) => {
                Err(LedgerError::Length { path, actual: stat.len, expected: file.len }.into())
            }
            Err(FsError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns the record of the table. The first one claims the entries from now on.
pub(super) async fn claim(ledger: &Ledger) -> Result<TableRecord, LedgerError> {
    if let Some(record) = ledger.table_record().await? {
        return Ok(record);
    }
    let record = TableRecord { uuid: None, number: ledger.view().next() };
    ledger.record_table(&record).await?;
    Ok(record)
}

/// Checks the columns of the table, if the catalog answers soon.
pub(super) async fn check_if_reachable(
    target: &Target,
    fs: &Arc<dyn FileSystem>,
    env: &Env,
) -> Result<(), CatalogError> {
    match timeout(CHECK_LIMIT, target.catalog(fs, env).load()).await {
        Ok(Ok(Some(table))) => target.check(&table).map(drop).map_err(CatalogError::from),
        Ok(Err(error @ CatalogError::Table(_))) => Err(error),
        Ok(Ok(None) | Err(_)) | Err(_) => Ok(()),
    }
}

/// Returns the property with the number of this ledger.
fn property_of(ledger: &Ledger) -> String {
    Position::property(ledger.identity())
}
