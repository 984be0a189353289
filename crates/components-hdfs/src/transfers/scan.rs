//! Schedules the reassembly of files, and scans for work left by this collector and by all
//! others with the same store.
//!
//! ```text
//!   a piece came    ─► is its end there? ─► do parts cover it? ─► whole file ─► record ─► name
//!   every SCAN_INTERVAL ─► whole files without a final name, complete transfers, obsolete files
//! ```
//!
//! Two collectors may reassemble the same file, and one of them in vain. Checking for a growing
//! whole file of the transfer avoids this in most cases. Whole files of this collector that it is
//! not writing belong to an earlier process: their transfer is checked immediately.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pipeline::Classify;
use storage::FsError;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::layout::{self, DAMAGED, END};
use super::store::{Published, TransferStore};
use super::whole::Checked;

/// Interval of the scan.
const SCAN_INTERVAL: Duration = Duration::from_secs(10);
/// Minimum interval between checks for arrived pieces.
const CHECK: Duration = Duration::from_secs(1);
/// Another collector's whole file is considered abandoned if it has not grown for this long.
const ABANDONED_AFTER: Duration = Duration::from_secs(20);
/// A transfer is stalled if no piece arrived for this long. Files below `work` are kept for this
/// long.
const STALLED: Duration = Duration::from_secs(60 * 60);
/// Interval between cleanups of records of finished transfers.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Maximum number of files reassembled in parallel.
const TOGETHER_MAX: usize = 4;

/// The scan of one opening.
pub(super) struct TransferScan {
    store: Arc<TransferStore>,
    /// Transfers to check because a piece arrived.
    due: BTreeSet<String>,
    checks: JoinSet<(String, Result<Checked, FsError>)>,
    running: BTreeSet<String>,
    damaged: BTreeSet<String>,
    stalled: BTreeSet<String>,
    /// Lengths of whole files without a record, and since when they have not changed.
    growing: BTreeMap<String, (u64, Instant)>,
    /// Transfers with parts: their number, and since when it has not changed.
    waiting: BTreeMap<String, (usize, Instant)>,
    /// Files below `work`, and when they were first seen.
    work: BTreeMap<String, Instant>,
    /// When records of transfers were created.
    done: BTreeMap<String, SystemTime>,
    cleared: Option<Instant>,
    /// Waiting whole files that were already logged.
    said: BTreeSet<String>,
}

impl TransferScan {
    pub(super) fn new(store: Arc<TransferStore>) -> Self {
        Self {
            store,
            due: BTreeSet::new(),
            checks: JoinSet::new(),
            running: BTreeSet::new(),
            damaged: BTreeSet::new(),
            stalled: BTreeSet::new(),
            growing: BTreeMap::new(),
            waiting: BTreeMap::new(),
            work: BTreeMap::new(),
            done: BTreeMap::new(),
            cleared: None,
            said: BTreeSet::new(),
        }
    }

    /// Runs until it is aborted, or no more pieces can arrive.
    pub(super) async fn run(mut self, mut arrived: UnboundedReceiver<String>) {
        let (mut scan, mut check) = (Instant::now(), Instant::now());
        loop {
            let has_room = self.running.len() < TOGETHER_MAX;
            tokio::select! {
                transfer = arrived.recv() => match transfer {
                    Some(transfer) => {
                        self.due.insert(transfer);
                    }
                    None => return,
                },
                () = sleep_until(check), if has_room && !self.due.is_empty() => {
                    self.check_due();
                    check = Instant::now() + CHECK;
                }
                Some(checked) = self.checks.join_next() => {
                    self.checked(checked.expect("a check does not panic, and is not ended"));
                }
                () = sleep_until(scan) => {
                    if let Err(error) = self.scan().await {
                        let sink = &self.store.shared.name;
                        tracing::warn!(%sink, %error,
                            "cannot check the unfinished files in the target directory, so they \
                             stay invisible; retrying");
                    }
                    scan = Instant::now() + SCAN_INTERVAL;
                }
            }
        }
    }

    /// Starts checks of the transfers with new pieces.
    fn check_due(&mut self) {
        let mut left = BTreeSet::new();
        for transfer in std::mem::take(&mut self.due) {
            if self.running.contains(&transfer) || self.running.len() >= TOGETHER_MAX {
                left.insert(transfer);
            } else {
                self.check(transfer, false);
            }
        }
        self.due = left;
    }

    fn check(&mut self, transfer: String, by_scan: bool) {
        self.running.insert(transfer.clone());
        let store = self.store.clone();
        self.checks.spawn(async move {
            let checked = store.check(&transfer, by_scan).await;
            (transfer, checked)
        });
    }

    fn checked(&mut self, (transfer, checked): (String, Result<Checked, FsError>)) {
        self.running.remove(&transfer);
        let sink = &self.store.shared.name;
        match checked {
            Ok(Checked::Done | Checked::Unfinished) => {}
            Ok(Checked::Damaged) => {
                if self.damaged.insert(transfer.clone()) {
                    tracing::error!(
                        %sink, transfer,
                        "the assembled parts of a file differ from the original, so the file stays \
                         invisible; delete the directory of its parts (named like `transfer`) \
                         below `_aqueduct`, and send the file again",
                    );
                }
            }
            // Another collector was faster, and has removed the parts.
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                let class = error.class();
                tracing::warn!(%sink, transfer, %class, %error,
                    "cannot assemble a file from its stored parts, so it stays invisible; \
                     retrying; fix the cause in `error`");
            }
        }
    }

    /// Looks after everything in the store.
    async fn scan(&mut self) -> Result<(), FsError> {
        let whole = self.store.names(&self.store.shared.layout.all_whole()).await?;
        let mut held = 0;
        let mut written = BTreeSet::new();
        for name in &whole {
            if let Some(transfer) = layout::transfer_of(name) {
                held += u64::from(self.scan_whole(name, transfer, &mut written).await?);
            }
        }
        self.growing.retain(|name, _| whole.contains(name));
        self.said.retain(|name| whole.contains(name));
        let unfinished = self.scan_parts(&written).await?;
        self.clear(&whole).await?;
        self.show(unfinished, held);
        Ok(())
    }

    /// Handles a whole file: gives it its final name, removes it, or leaves it to the collector
    /// that writes it. Returns whether it must wait.
    async fn scan_whole(
        &mut self,
        name: &str,
        transfer: &str,
        written: &mut BTreeSet<String>,
    ) -> Result<bool, FsError> {
        let layout = &self.store.shared.layout;
        let path = layout.whole(name);
        let Some(record) = self.store.done(transfer).await? else {
            let length = match self.store.fs.stat(&path).await {
                Ok(stat) => stat.len,
                Err(error) if error.is_not_found() => return Ok(false),
                Err(error) => return Err(error),
            };
            let now = Instant::now();
            let (was, since) = self.growing.entry(name.to_owned()).or_insert((length, now));
            if *was != length {
                (*was, *since) = (length, now);
            }
            let is_mine = name.contains(&*self.store.collector);
            if !is_mine && now - *since < ABANDONED_AFTER {
                written.insert(transfer.to_owned());
            }
            return Ok(false);
        };
        if record.whole != name {
            self.store.fs.delete(&path).await?;
            return Ok(false);
        }
        let (waits, error) = match self.store.publish(&record, transfer).await {
            Ok(published) => (published == Published::Held, None),
            Err(error) => (true, Some(error)),
        };
        if waits && self.said.insert(name.to_owned()) {
            let (sink, file) = (&self.store.shared.name, &record.file);
            let error = error.map_or_else(|| "the name is taken".to_owned(), |it| it.to_string());
            tracing::warn!(%sink, file, error,
                "cannot rename a complete file to its final name, so it stays invisible; retrying; \
                 check the permissions of its directory");
        }
        Ok(waits)
    }

    /// Checks transfers with parts, except those that another collector is reassembling. Returns
    /// the number of unfinished ones.
    async fn scan_parts(&mut self, written: &BTreeSet<String>) -> Result<usize, FsError> {
        let transfers = self.store.names(&self.store.shared.layout.all_parts()).await?;
        let mut unfinished = 0;
        for transfer in &transfers {
            if self.running.contains(transfer) {
                unfinished += 1;
                continue;
            }
            if self.store.is_done(transfer).await? {
                self.store.fs.delete(&self.store.shared.layout.parts(transfer)).await?;
                continue;
            }
            unfinished += 1;
            let names = self.store.names(&self.store.shared.layout.parts(transfer)).await?;
            let now = Instant::now();
            let (count, since) = self.waiting.entry(transfer.clone()).or_insert((names.len(), now));
            if *count != names.len() {
                (*count, *since) = (names.len(), now);
                self.stalled.remove(transfer);
            } else if now - *since >= STALLED && self.stalled.insert(transfer.clone()) {
                let (sink, parts) = (&self.store.shared.name, names.len());
                tracing::warn!(%sink, transfer, parts,
                    "a file is incomplete, stays invisible and received no piece for an hour; \
                     check the source `spool_dir` that sends it, and its channel");
            }
            if names.contains(DAMAGED) {
                self.damaged.insert(transfer.clone());
            } else if names.contains(END)
                && !written.contains(transfer)
                && self.running.len() < TOGETHER_MAX
            {
                self.check(transfer.clone(), true);
            }
        }
        self.waiting.retain(|transfer, _| transfers.contains(transfer));
        self.damaged.retain(|transfer| transfers.contains(transfer));
        self.stalled.retain(|transfer| transfers.contains(transfer));
        Ok(unfinished)
    }

    fn show(&self, unfinished: usize, held: u64) {
        let shared = &self.store.shared;
        let stalled = self.stalled.difference(&self.damaged).count();
        let damaged = self.damaged.len();
        let measures = &shared.measures;
        measures.unfinished.set(unfinished as f64);
        measures.stalled.set(stalled as f64);
        measures.damaged.set(damaged as f64);
        measures.held.set(held as f64);
        shared.board.set_open_files(unfinished as u64);
        let trouble = match (damaged, stalled, held) {
            (0, 0, 0) => None,
            (0, 0, held) => Some(format!("{held} complete files wait for their final names")),
            (0, stalled, _) => {
                Some(format!("{stalled} incomplete files received no piece for an hour"))
            }
            (damaged, _, _) => {
                Some(format!("the assembled parts of {damaged} files differ from the original"))
            }
        };
        shared.board.set_trouble(trouble);
    }

    /// Removes obsolete files.
    async fn clear(&mut self, whole: &BTreeSet<String>) -> Result<(), FsError> {
        let now = Instant::now();
        if self.cleared.is_some_and(|cleared| now - cleared < CLEANUP_INTERVAL) {
            return Ok(());
        }
        let store = self.store.clone();
        let (layout, options) = (&store.shared.layout, &store.shared.options);
        let work = store.names(&layout.all_work()).await?;
        self.work.retain(|name, _| work.contains(name));
        for name in work {
            let since = *self.work.entry(name.clone()).or_insert(now);
            if now - since >= STALLED {
                store.fs.delete(&layout.work(&name)).await?;
            }
        }
        let waiting: BTreeSet<&str> =
            whole.iter().filter_map(|name| layout::transfer_of(name)).collect();
        let records = store.names(&layout.all_done()).await?;
        self.done.retain(|transfer, _| records.contains(transfer));
        let clock = store.shared.env.clock.now();
        for transfer in records {
            let made = match self.done.get(&transfer) {
                Some(made) => *made,
                None => match store.fs.stat(&layout.done(&transfer)).await {
                    Ok(stat) => stat.modified.unwrap_or(clock),
                    Err(error) if error.is_not_found() => continue,
                    Err(error) => return Err(error),
                },
            };
            let is_over = clock.duration_since(made).is_ok_and(|age| age > options.keep_done);
            if is_over && !waiting.contains(&*transfer) {
                store.fs.delete(&layout.done(&transfer)).await?;
                self.done.remove(&transfer);
            } else {
                self.done.insert(transfer, made);
            }
        }
        self.cleared = Some(now);
        Ok(())
    }
}
