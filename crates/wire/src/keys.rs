//! Identities in messages.

use bytes::{Buf, Bytes, BytesMut};
use pipeline::intervals::get_varint;
use pipeline::{Epoch, Floors, Identity, IntervalSet, KeySet, Origin, Reached, Sequence};
use thiserror::Error;

use crate::v1;

/// Maximum length of a name in a report of progress.
const NAME_BYTES_MAX: usize = 255;

/// A message breaks the schema's rules in a way that its types do not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a protocol message of the other agent has an invalid field `{field}`; check the version of \
     that agent"
)]
pub struct Malformed {
    /// The field, as the schema names it.
    pub field: &'static str,
}

/// A set of identities, for a field `keys`.
pub fn encode(keys: &KeySet) -> Bytes {
    unless(keys.is_empty(), |out| keys.encode(out))
}

/// Decodes a field `keys`. No bytes are no identities.
///
/// # Errors
/// The bytes are not one encoded set, or an epoch or a sequence is at the end of the range.
pub fn decode(bytes: Bytes) -> Result<KeySet, Malformed> {
    let keys = whole(bytes, "keys", KeySet::decode)?;
    let beyond = |epoch, sequences: &IntervalSet| {
        epoch > Epoch::MAX || sequences.last().is_some_and(|last| last > Sequence::MAX.0)
    };
    if keys.iter().any(|(_, epoch, sequences)| beyond(epoch, sequences)) {
        return Err(Malformed { field: "keys" });
    }
    Ok(keys)
}

/// The size of an encoded set, computed without decoding it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// Lives: pairs of origin and epoch.
    pub lives: u64,
    /// Runs of sequences in all of them.
    pub runs: u64,
}

/// Computes the size of a field `keys`. It takes no memory.
///
/// # Errors
/// The bytes are not one encoded set.
pub fn extent(mut bytes: &[u8]) -> Result<Extent, Malformed> {
    const MALFORMED: Malformed = Malformed { field: "keys" };
    if bytes.is_empty() {
        return Ok(Extent::default());
    }
    let number = |bytes: &mut &[u8]| get_varint(bytes).ok_or(MALFORMED);
    let mut extent = Extent { lives: number(&mut bytes)?, runs: 0 };
    for _ in 0..extent.lives {
        bytes = bytes.get(size_of::<Origin>()..).ok_or(MALFORMED)?;
        let _epoch = number(&mut bytes)?;
        let runs = number(&mut bytes)?;
        for _ in 0..runs {
            let (_gap, _length) = (number(&mut bytes)?, number(&mut bytes)?);
        }
        extent.runs += runs;
    }
    if bytes.is_empty() { Ok(extent) } else { Err(MALFORMED) }
}

/// For the field `floors`.
pub fn encode_floors(floors: &Floors) -> Bytes {
    unless(floors.is_empty(), |out| floors.encode(out))
}

/// Decodes a field `floors`. No bytes are no floors.
///
/// # Errors
/// The bytes are not encoded floors, or one is at the end of the range, where no epoch is.
pub fn decode_floors(bytes: Bytes) -> Result<Floors, Malformed> {
    let floors = whole(bytes, "floors", Floors::decode)?;
    if floors.iter().any(|(_, epoch)| epoch > Epoch::MAX) {
        return Err(Malformed { field: "floors" });
    }
    Ok(floors)
}

/// Encodes an empty value as no bytes.
fn unless(empty: bool, encode: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    if !empty {
        encode(&mut out);
    }
    out.freeze()
}

/// Decodes the only value in `bytes`; no bytes give the default.
fn whole<T: Default, E>(
    mut bytes: Bytes,
    field: &'static str,
    decode: impl FnOnce(&mut Bytes) -> Result<T, E>,
) -> Result<T, Malformed> {
    if bytes.is_empty() {
        return Ok(T::default());
    }
    let decoded = decode(&mut bytes).map_err(|_| Malformed { field })?;
    if bytes.has_remaining() { Err(Malformed { field }) } else { Ok(decoded) }
}

impl From<Identity> for v1::Identity {
    fn from(identity: Identity) -> Self {
        Self {
            origin: Bytes::copy_from_slice(&identity.origin.0),
            epoch: identity.epoch.0,
            sequence: identity.sequence.0,
        }
    }
}

/// Decodes the identity in a message.
///
/// # Errors
/// The identity is missing, its origin is not 16 bytes long, or its epoch or sequence is at the end
/// of the range, which is not valid.
pub fn identity(message: Option<&v1::Identity>) -> Result<Identity, Malformed> {
    const MALFORMED: Malformed = Malformed { field: "identity" };
    let message = message.ok_or(MALFORMED)?;
    let origin = message.origin.as_ref().try_into().map_err(|_| MALFORMED)?;
    let (epoch, sequence) = (Epoch(message.epoch), Sequence(message.sequence));
    if epoch > Epoch::MAX || sequence > Sequence::MAX {
        return Err(MALFORMED);
    }
    Ok(Identity { origin: Origin(origin), epoch, sequence })
}

/// Reports of progress, for a field `reached`.
pub fn encode_reached(reports: &[(Origin, Reached)]) -> Vec<v1::Reached> {
    let message = |(origin, reached): &(Origin, Reached)| v1::Reached {
        origin: Bytes::copy_from_slice(&origin.0),
        before_ms: u64::try_from(reached.before).unwrap_or_default(),
        host: fitting(&reached.host).to_owned(),
        held_by: fitting(&reached.held_by).to_owned(),
    };
    reports.iter().map(message).collect()
}

/// Decodes a field `reached`.
///
/// # Errors
/// There are too many of them, or one has no origin or a time beyond the range.
pub fn decode_reached(reports: &[v1::Reached]) -> Result<Vec<(Origin, Reached)>, Malformed> {
    const MALFORMED: Malformed = Malformed { field: "reached" };
    if reports.len() > crate::REACHED_MAX {
        return Err(MALFORMED);
    }
    let report = |report: &v1::Reached| {
        let origin = report.origin.as_ref().try_into().map_err(|_| MALFORMED)?;
        let before = i64::try_from(report.before_ms).map_err(|_| MALFORMED)?;
        let [host, held_by] = [&report.host, &report.held_by].map(|text| fitting(text).into());
        Ok((Origin(origin), Reached { host, before, held_by }))
    };
    reports.iter().map(report).collect()
}

/// Returns the beginning of a name.
fn fitting(name: &str) -> &str {
    let end = (0..=name.len().min(NAME_BYTES_MAX)).rev().find(|end| name.is_char_boundary(*end));
    &name[..end.unwrap_or_default()]
}

/// Batches with dead letters, for a field `dead_letters`.
pub fn encode_dead_letters(letters: &[(Identity, u64)]) -> Vec<v1::DeadLettered> {
    let message = |(identity, events): &(Identity, u64)| v1::DeadLettered {
        identity: Some((*identity).into()),
        events: *events,
    };
    letters.iter().map(message).collect()
}

/// Decodes a field `dead_letters`.
///
/// # Errors
/// One of them has no identity, or one that is at the end of the range.
pub fn decode_dead_letters(
    letters: &[v1::DeadLettered],
) -> Result<Vec<(Identity, u64)>, Malformed> {
    let read = |letter: &v1::DeadLettered| Ok((identity(letter.identity.as_ref())?, letter.events));
    letters.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(origin: u8, epoch: u64, sequence: u64) -> Identity {
        Identity { origin: Origin([origin; 16]), epoch: Epoch(epoch), sequence: Sequence(sequence) }
    }

    #[test]
    fn reads_back_encoded_keys() {
        for keys in
            [KeySet::default(), [key(1, 2, 3), key(1, 2, 4), key(9, 1, 0)].into_iter().collect()]
        {
            let lives = keys.iter().count() as u64;
            assert_eq!(extent(&encode(&keys)), Ok(Extent { lives, runs: lives }));
            assert_eq!(decode(encode(&keys)), Ok(keys));
        }
        let message = v1::Identity::from(key(7, 8, 9));
        assert_eq!(identity(Some(&message)), Ok(key(7, 8, 9)));
    }

    #[test]
    fn bytes_behind_a_set_are_not_passed_over() {
        let mut bytes = encode(&[key(1, 1, 1)].into_iter().collect()).to_vec();
        bytes.push(0);
        assert!(decode(bytes.into()).is_err());
    }

    /// They could be counted on from nowhere: `u64::MAX + 1` is no number.
    #[test]
    fn the_end_of_the_range_is_malformed_wherever_it_stands() {
        for (epoch, sequence) in [(u64::MAX, 0), (Epoch::MAX.0 + 1, 0), (1, u64::MAX - 1)] {
            let key = key(1, epoch, sequence);
            assert!(identity(Some(&v1::Identity::from(key))).is_err(), "{key}");
            assert!(decode(encode(&[key].into_iter().collect())).is_err(), "{key}");
            let mut floors = Floors::default();
            floors.raise(key.origin, key.epoch);
            assert_eq!(decode_floors(encode_floors(&floors)).is_err(), epoch > Epoch::MAX.0);
        }
    }

    #[test]
    fn an_identity_without_sixteen_bytes_of_origin_is_refused() {
        let mut message = v1::Identity::from(key(7, 8, 9));
        message.origin = message.origin.slice(1..);
        assert_eq!(identity(Some(&message)), Err(Malformed { field: "identity" }));
        assert!(identity(None).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_keys_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let counted = extent(&bytes);
            if let Ok(keys) = decode(bytes.into()) {
                let counted = counted.unwrap();
                prop_assert!(keys.iter().count() as u64 <= counted.lives);
            }
        }
    }
}
