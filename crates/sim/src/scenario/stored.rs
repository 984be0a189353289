//! The kind of store and the file format. Drawn last, from separate dice, so that the rest of the
//! seed does not change.

use storage_objects::testkit::ServerTraits;

use super::Scenario;
use crate::dice::Dice;
use crate::fault_kind::FaultKind;
use crate::form::Form;

/// Part size of an upload. Most files of a roll have more or less than one part.
const PART_BYTES: (u64, u64) = (512, 16 << 10);

impl Scenario {
    /// Uses an object store in a quarter of the seeds without merges and ledger repairs, which it
    /// does not support, and a format other than text in two of five seeds.
    pub(super) fn stored(self, seed: u64) -> Self {
        let dice = Dice::new(seed, "stored");
        let is_mended = self.faults.iter().any(|(kind, _)| *kind == FaultKind::LedgerChanged);
        let (is_bucket, is_other) = (dice.chance(250), dice.chance(400));
        let ways = ServerTraits {
            copies_inside: dice.chance(500),
            part_bytes: dice.between(PART_BYTES.0, PART_BYTES.1) as usize,
        };
        let objects = (is_bucket && !self.merges() && !is_mended).then_some(ways);
        let form = Form::draw(&dice, self.merges());
        Self { objects, form: if is_other { form } else { Form::default() }, ..self }
    }

    /// Uses a bucket as the store.
    #[cfg(test)]
    pub(crate) fn in_a_bucket(self, ways: ServerTraits) -> Self {
        Self { objects: Some(ways), ..self }
    }
}
