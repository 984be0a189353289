//! The commit ledger of the sink as it is named to the agents that send here.

use std::sync::Arc;

use ledger::{Ledger, Token};
use peers::LedgerBoard;
use pipeline::{BuildContext, LedgerId, LedgerState};
use tokio::time::Instant;

/// What is named of the ledger.
#[derive(Debug)]
pub(super) struct NamedLedger {
    board: LedgerBoard,
    sink: Arc<str>,
    dataset: Arc<str>,
}

impl NamedLedger {
    /// Of the sink that this is the context of.
    pub(super) fn new(cx: &BuildContext, dataset: &str) -> Self {
        Self { board: cx.get(), sink: cx.name.clone(), dataset: dataset.into() }
    }

    /// It was read to its end at `read`, or later.
    pub(super) fn is(&self, ledger: &Ledger, read: Instant) {
        let id = |token: &Token| LedgerId(token.0);
        let state = LedgerState {
            dataset: self.dataset.clone(),
            identity: id(&ledger.identity()),
            follows: ledger.follows().iter().map(id).collect(),
            entries: ledger.view().next(),
            read,
        };
        self.board.says(&self.sink, vec![state]);
    }

    /// It is not used now.
    pub(super) fn is_none(&self) {
        self.board.withdraw(&self.sink);
    }
}
