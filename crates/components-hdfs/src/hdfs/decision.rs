//! Tells an operator what to do after an outside change of a ledger.

use std::path::Path;

use ledger::LedgerError;

use super::error::HdfsSinkError;

/// The command that shows the change, and offers repairs.
#[derive(Debug)]
pub(super) struct RepairHint {
    command: String,
}

impl RepairHint {
    /// Creates the hint for the sink `name` that stores at `url`, with its data in `directory`.
    pub(super) fn new(url: &str, name: &str, directory: &Path) -> Self {
        // The agent's layout is DATA_DIR/sinks/NAME.
        let data_dir = directory.parent().and_then(Path::parent).unwrap_or(directory);
        let data_dir = data_dir.display();
        let command =
            format!("aqueduct ledger show --store '{url}' --sink '{name}' --data-dir '{data_dir}'");
        Self { command }
    }

    /// Adds the hint to errors that need an operator's decision.
    pub(super) fn add_hint(&self, error: LedgerError) -> HdfsSinkError {
        if error.wants_decision() {
            HdfsSinkError::Undecided { command: self.command.clone(), source: error }
        } else {
            error.into()
        }
    }
}
