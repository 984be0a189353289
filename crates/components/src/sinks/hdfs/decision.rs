//! What an operator is pointed to where a ledger was changed from outside.

use std::path::Path;

use delivery::ledger::LedgerError;

use super::error::HdfsSinkError;

/// The command that shows what has changed, and leads on from there.
#[derive(Debug)]
pub(super) struct Decision {
    command: String,
}

impl Decision {
    /// For the sink `name` that stores at `url` and keeps its data in `directory`.
    pub(super) fn of(url: &str, name: &str, directory: &Path) -> Self {
        // DATA_DIR/sinks/NAME, as the agent lays it out.
        let data_dir = directory.parent().and_then(Path::parent).unwrap_or(directory);
        let data_dir = data_dir.display();
        let command =
            format!("aqueduct ledger show --store '{url}' --sink '{name}' --data-dir '{data_dir}'");
        Self { command }
    }

    /// Says so, where the error is one that an operator has to decide about.
    pub(super) fn wanted(&self, error: LedgerError) -> HdfsSinkError {
        if error.wants_decision() {
            HdfsSinkError::Undecided { command: self.command.clone(), source: error }
        } else {
            error.into()
        }
    }
}
