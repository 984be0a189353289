//! Seeds in which collectors reject some events of each batch. These become dead letters; the rest
//! of the batch is stored.

use super::Scenario;
use crate::dice::Dice;
use crate::fault_kind::FaultKind;

impl Scenario {
    /// One in five of the seeds in which no directory is lost, copied or restored: the dead letters
    /// of a collector are only on its disk.
    pub(super) fn refusing(self, seed: u64) -> Self {
        let keeps_disks = !self.clones
            && self.faults.iter().all(|(kind, _)| {
                !matches!(
                    kind,
                    FaultKind::DiskLost
                        | FaultKind::Clone
                        | FaultKind::EdgeRestored
                        | FaultKind::CollectorRestored
                        | FaultKind::LedgerChanged
                )
            });
        let refuses = keeps_disks && Dice::new(seed, "refuses").chance(200);
        Self { refuses, ..self }
    }

    /// Returns the setting of a collector's source that rejects these events.
    pub(super) fn rejects(&self) -> &'static str {
        match self.refuses {
            true => {
                "interceptors = [{ type = \"regex_filter\", regex = '^[0-9]*7\\.', \
                 exclude = true, dropped = \"dead_letters\" }]\n"
            }
            false => "",
        }
    }

    /// Returns whether collectors reject the event with this number.
    pub(crate) fn is_refused(refuses: bool, number: u64) -> bool {
        refuses && number % 10 == 7
    }
}
