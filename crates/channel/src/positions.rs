//! Positions of the sources, which arrive with the batches of a channel.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use pipeline::SourcePosition;
use pipeline::intervals::{get_varint, put_varint};

/// The last position of each key of each source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Positions {
    /// By source and key; no source is without keys.
    by_source: BTreeMap<Arc<str>, BTreeMap<Bytes, Bytes>>,
}

impl Positions {
    /// Takes positions over; one without a value forgets its key.
    pub(crate) fn apply(&mut self, positions: &[SourcePosition]) {
        for SourcePosition { source, key, value, .. } in positions {
            if let Some(value) = value {
                // A separate copy: the batch that contained it may be large.
                let value = Bytes::copy_from_slice(value);
                self.by_source.entry(source.clone()).or_default().insert(key.clone(), value);
            } else if let Some(by_key) = self.by_source.get_mut(source) {
                by_key.remove(key);
                if by_key.is_empty() {
                    self.by_source.remove(source);
                }
            }
        }
    }

    /// Returns the value for the key of `position`.
    pub(crate) fn at(&self, position: &SourcePosition) -> Option<&Bytes> {
        self.by_source.get(&position.source)?.get(&position.key)
    }

    /// Every key of `source` with its position.
    pub(crate) fn of_source(&self, source: &str) -> Vec<(Bytes, Bytes)> {
        let keys = self.by_source.get(source).into_iter().flatten();
        keys.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<SourcePosition> {
        let position = |(source, key, value): (&Arc<str>, &Bytes, &Bytes)| SourcePosition {
            source: source.clone(),
            key: key.clone(),
            value: Some(value.clone()),
            after: None,
        };
        self.iter().map(position).collect()
    }

    /// Returns the number of positions.
    pub(crate) fn len(&self) -> usize {
        self.by_source.values().map(BTreeMap::len).sum()
    }

    fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Bytes, &Bytes)> {
        let sources = self.by_source.iter();
        sources.flat_map(|(source, by_key)| {
            by_key.iter().map(move |(key, value)| (source, key, value))
        })
    }

    /// Appends all of them, like [`put_positions`]. For ten thousand files that is a mebibyte for
    /// each segment, so it allocates nothing per file.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        /// The most that lengths and flag of one have.
        const AROUND_BYTES: usize = 16;
        let bytes = self
            .iter()
            .map(|(source, key, value)| source.len() + key.len() + value.len() + AROUND_BYTES);
        out.reserve(bytes.sum());
        put_varint(out, self.len() as u64);
        for (source, key, value) in self.iter() {
            put_position(out, source, key, Some(value));
        }
    }

    /// Decodes the output of [`Positions::encode`].
    pub(crate) fn decode(input: &mut Bytes) -> Option<Self> {
        let mut positions = Self::default();
        positions.apply(&get_positions(input)?);
        Some(positions)
    }
}

/// Appends bytes with their length in front.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.put_slice(bytes);
}

/// Reads bytes with their length in front.
pub(crate) fn get_bytes(input: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(get_varint(input)?).ok()?;
    (length <= input.remaining()).then(|| input.split_to(length))
}

/// Reads text with its length in front.
pub(crate) fn get_text(input: &mut Bytes) -> Option<Arc<str>> {
    let bytes = get_bytes(input)?;
    std::str::from_utf8(&bytes).ok().map(Arc::from)
}

/// Appends positions: varint number, then for each source, key, u8 whether it has a value, value.
pub(crate) fn put_positions(out: &mut Vec<u8>, positions: &[SourcePosition]) {
    put_varint(out, positions.len() as u64);
    for position in positions {
        put_position(out, &position.source, &position.key, position.value.as_ref());
    }
}

fn put_position(out: &mut Vec<u8>, source: &str, key: &[u8], value: Option<&Bytes>) {
    put_bytes(out, source.as_bytes());
    put_bytes(out, key);
    out.put_u8(u8::from(value.is_some()));
    if let Some(value) = value {
        put_bytes(out, value);
    }
}

/// Decodes the output of [`put_positions`].
pub(crate) fn get_positions(input: &mut Bytes) -> Option<Vec<SourcePosition>> {
    let count = get_varint(input)?;
    let mut positions = Vec::new();
    for _ in 0..count {
        let source = get_text(input)?;
        let key = Bytes::copy_from_slice(&get_bytes(input)?);
        let has_value = input.has_remaining() && input.get_u8() == 1;
        let value = if has_value { Some(get_bytes(input)?) } else { None };
        positions.push(SourcePosition { source, key, value, after: None });
    }
    Some(positions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(source: &str, key: &str, value: Option<&str>) -> SourcePosition {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        SourcePosition {
            source: source.into(),
            key: bytes(key),
            value: value.map(bytes),
            after: None,
        }
    }

    #[test]
    fn the_last_position_of_a_key_counts_and_none_forgets_it() {
        let mut positions = Positions::default();
        positions.apply(&[position("a", "x", Some("1")), position("ab", "x", Some("9"))]);
        positions.apply(&[position("a", "x", Some("2")), position("a", "y", Some("3"))]);
        positions.apply(&[position("a", "y", None)]);
        assert_eq!(positions.of_source("a"), [(Bytes::from("x"), Bytes::from("2"))]);
    }

    #[test]
    fn reads_the_written_positions() {
        let positions = [position("a", "x", Some("1")), position("b", "", None)];
        let mut out = Vec::new();
        put_positions(&mut out, &positions);
        assert_eq!(get_positions(&mut Bytes::from(out)).as_deref(), Some(&positions[..]));
    }

    #[test]
    fn all_of_them_are_written_as_a_list_of_them_and_read_back() {
        let listed = [position("a", "x", Some("1")), position("b", "", Some(""))];
        let mut positions = Positions::default();
        positions.apply(&listed);
        let (mut all, mut list) = (Vec::new(), Vec::new());
        positions.encode(&mut all);
        put_positions(&mut list, &listed);
        assert_eq!(all, list);
        assert_eq!(Positions::decode(&mut Bytes::from(all)), Some(positions));
    }
}
