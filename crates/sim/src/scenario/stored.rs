//! How the store is one, and what files look like. Drawn last, from dice of their own: the rest of
//! a seed is as it would be without.

use storage_objects::testkit::Ways;

use super::Scenario;
use crate::dice::Dice;
use crate::fault_kind::FaultKind;
use crate::form::Form;

/// Bytes of a part of an upload: most files of a roll have more or less than one of them.
const PART_BYTES: (u64, u64) = (512, 16 << 10);

impl Scenario {
    /// An object store in a quarter of the seeds in which files are not merged, and in which no
    /// operator mends a ledger: it has neither. Files of another form than text in two of five.
    pub(super) fn stored(self, seed: u64) -> Self {
        let dice = Dice::new(seed, "stored");
        let is_mended = self.faults.iter().any(|(kind, _)| *kind == FaultKind::LedgerChanged);
        let (is_bucket, is_other) = (dice.chance(250), dice.chance(400));
        let ways = Ways {
            copies_inside: dice.chance(500),
            part_bytes: dice.between(PART_BYTES.0, PART_BYTES.1) as usize,
        };
        let objects = (is_bucket && !self.merges() && !is_mended).then_some(ways);
        let form = Form::draw(&dice, self.merges());
        Self { objects, form: if is_other { form } else { Form::default() }, ..self }
    }

    /// The same with a bucket for its store.
    #[cfg(test)]
    pub(crate) fn in_a_bucket(self, ways: Ways) -> Self {
        Self { objects: Some(ways), ..self }
    }
}
