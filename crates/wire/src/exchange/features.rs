//! The one field of a message whose parts take more memory than the whole.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Maximum number of features in a large message: an empty text has two bytes there, and two dozen
/// in memory.
pub(super) const FEATURES_MAX: usize = 1 << 10;

/// Returns the number of features of the Hellos in this message, up to malformed bytes.
pub(super) fn features(message: &[u8]) -> usize {
    const HELLO: u32 = 1;
    const FEATURES: u32 = 2;
    let hellos = fields(message).filter(|(number, _)| *number == HELLO);
    let features = hellos.flat_map(|(_, hello)| fields(hello));
    features.filter(|(number, _)| *number == FEATURES).count()
}

/// Returns the fields of a message that have a length, each with its number, up to malformed bytes.
fn fields(mut message: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        while !message.is_empty() {
            let (number, kind) = decode_key(&mut message).ok()?;
            if kind == WireType::LengthDelimited {
                let bytes = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
                let (field, rest) = message.split_at_checked(bytes)?;
                message = rest;
                return Some((number, field));
            }
            skip_field(kind, number, &mut message, DecodeContext::default()).ok()?;
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_truncated_messages_to_the_decoder() {
        assert_eq!(features(&[0x0a, 2, 0x12, 0]), 1);
        assert_eq!(features(&[0x0a, 4, 0x12, 0, 0x12, 0, 0x0a, 2, 0x12, 0]), 3);
        assert_eq!(features(&[0x0a, 2, 0x12, 9, 0x0a]), 0);
    }
}
