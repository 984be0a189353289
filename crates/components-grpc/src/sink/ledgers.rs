//! Compares the downstream commit ledgers, as the downstream agent reports them, with the known
//! ones.
//!
//! A change causes a warning and a gauge value, and stops nothing. Committed batches have left this
//! agent, so it cannot resend them; the batches that it has are stored with whichever ledger the
//! downstream agent uses. If a ledger must not be used, the collector's sink stops.

use std::sync::Arc;
use std::time::Duration;

use metrics::SinkLabel;
use peers::ledgers::{Change, Finding, LEDGERS_MAX};
use pipeline::{LedgerId, LedgerState};
use tokio::time::Instant;
use tracing::{debug, info, warn};
use wire::v1;

use super::connection::Connection;

/// Maximum length of a dataset's name in bytes.
const DATASET_MAX: usize = 256;

/// Advice with a command that shows more.
const COMMAND: &str = "to see the ledger of a collector, run `aqueduct ledger show --store URL \
                       --sink NAME --data-dir DATA_DIR` on its host";

impl Connection {
    /// Handles a report of the downstream ledgers. The connection began at `began`: a ledger's age
    /// in the message is subtracted from that time, so the read was then or later.
    pub(super) async fn told_of_ledgers(&self, told: v1::Ledgers, began: Instant) {
        let address = self.shared.address.clone();
        let states: Vec<_> = told
            .ledgers
            .into_iter()
            .take(LEDGERS_MAX)
            .filter_map(|one| state(one, began))
            .collect();
        let (board, member) = (self.ledgers.clone(), address.clone());
        let compared = self.env.offload(move || board.compare(&member, states, Instant::now()));
        let (findings, kept) = compared.await;
        findings.iter().for_each(|finding| self.show(finding));
        if let Err(error) = kept {
            debug!(sink = %self.name, %error, "what is known of commit ledgers cannot be kept");
        }
        self.show_ledgers();
    }

    /// Forgets the last report.
    pub(super) fn forget_ledgers(&self) {
        self.ledgers.withdraw(&self.shared.address);
        self.show_ledgers();
    }

    /// Publishes whether a ledger has changed.
    fn show_ledgers(&self) {
        let label = SinkLabel { sink: self.name.to_string() };
        let is_changed = self.ledgers.is_changed(&self.shared.address);
        self.metrics.sink_ledger_changed.get_or_create(&label).set(i64::from(is_changed));
    }

    fn show(&self, Finding { dataset, found, entries, change }: &Finding) {
        let (sink, address) = (&self.name, &self.shared.address);
        let dataset = dataset.escape_debug();
        match change {
            Change::Rebuilt { before } => info!(
                %sink, %address, %dataset, %before, %found, entries,
                "the commit ledger of the next agent was rebuilt; no action needed",
            ),
            Change::Other { before } => warn!(
                %sink, %address, %dataset, %before, %found, entries,
                "the commit ledger of the next agent was replaced; batches that only the old \
                 ledger lists are stored twice if they are resent; {COMMAND}",
            ),
            Change::Apart { known, other } => warn!(
                %sink, %address, %dataset, %found, %other, %known,
                "two next agents write one dataset with different commit ledgers; a batch that \
                 both receive is stored twice: compare their sinks; {COMMAND}",
            ),
            Change::Shorter { before } => warn!(
                %sink, %address, %dataset, %found, entries, before,
                "the commit ledger of the next agent lost commit records, like a restored older \
                 copy; batches of these records are stored twice if they are resent; {COMMAND}",
            ),
        }
    }
}

fn state(ledger: v1::Ledger, began: Instant) -> Option<LedgerState> {
    let v1::Ledger { mut dataset, identity, follows, entries, read_ms_ago } = ledger;
    let id = |bytes: &[u8]| bytes.try_into().ok().map(LedgerId);
    dataset.truncate(dataset.floor_char_boundary(DATASET_MAX));
    let read = began.checked_sub(Duration::from_millis(read_ms_ago))?;
    let follows = follows.iter().take(LEDGERS_MAX).filter_map(|one| id(one)).collect();
    let dataset: Arc<str> = dataset.into();
    Some(LedgerState { dataset, identity: id(&identity)?, follows, entries, read })
}
