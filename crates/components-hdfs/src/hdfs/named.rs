//! Announces the commit ledger of the sink to upstream agents.

use std::sync::Arc;

use ledger::{Ledger, Token};
use peers::LedgerBoard;
use pipeline::{BuildContext, LedgerId, LedgerState};
use tokio::time::Instant;

/// The announcement of the ledger.
#[derive(Debug)]
pub(super) struct NamedLedger {
    board: LedgerBoard,
    sink: Arc<str>,
    dataset: Arc<str>,
}

impl NamedLedger {
    /// Creates it for the sink of this context.
    pub(super) fn new(cx: &BuildContext, dataset: &str) -> Self {
        Self { board: cx.get(), sink: cx.name.clone(), dataset: dataset.into() }
    }

    /// Announces the ledger, which was read to its end at `read` or later.
    pub(super) fn is(&self, ledger: &Ledger, read: Instant) {
        let id = |token: &Token| LedgerId(token.0);
        let state = LedgerState {
            dataset: self.dataset.clone(),
            identity: id(&ledger.identity()),
            follows: ledger.follows().iter().map(id).collect(),
            entries: ledger.view().next(),
            read,
        };
        self.board.set(&self.sink, vec![state]);
    }

    /// Withdraws the announcement.
    pub(super) fn is_none(&self) {
        self.board.withdraw(&self.sink);
    }
}
