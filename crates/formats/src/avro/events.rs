//! Events of a call, without copying.

use std::collections::BTreeSet;

use pipeline::BatchBuilder;

use super::Malformed;
use super::datum::{Reader, text};

/// Maximum number of header names in a batch: each is a column.
const NAMES_MAX: usize = 1_000;

/// Maximum length of a header's name in bytes.
const NAME_BYTES_MAX: usize = u16::MAX as usize;

/// Parameters of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Events<'a> {
    /// An event, or an array of events.
    pub bytes: &'a [u8],
    /// True if they are an array: `appendBatch`.
    pub is_batch: bool,
}

/// One event.
#[derive(Debug)]
pub struct Event<'a, 'b> {
    /// Its headers, in their order.
    pub headers: &'b [(&'a str, &'a str)],
    /// True if they have the same names in the same order as those of the event before; for the
    /// first event, true if it has no headers.
    pub has_names_before: bool,
    /// Its body.
    pub body: &'a [u8],
}

impl<'a> Events<'a> {
    /// Calls `visit` with each event, until it returns `false`.
    ///
    /// # Errors
    /// Fails if the bytes are damaged, after a visit of all events before the damage.
    pub fn each(self, mut visit: impl FnMut(Event<'a, '_>) -> bool) -> Result<(), Malformed> {
        let mut reader = Reader::new(self.bytes);
        let mut headers = Vec::new();
        let mut block = if self.is_batch { reader.block()? } else { 1 };
        while block > 0 {
            for _ in 0..block {
                let (body, has_names_before) = event(&mut reader, &mut headers)?;
                if !visit(Event { headers: &headers, has_names_before, body }) {
                    return Ok(());
                }
            }
            block = if self.is_batch { reader.block()? } else { 0 };
        }
        if reader.rest().is_empty() { Ok(()) } else { Err(Malformed::Rest) }
    }
}

/// Returns the body of the next event, and whether it has the same header names as the event
/// before. `headers` contains the headers of the event before, and then its own: unchanged bytes
/// are not validated again.
fn event<'a>(
    reader: &mut Reader<'a>,
    headers: &mut Vec<(&'a str, &'a str)>,
) -> Result<(&'a [u8], bool), Malformed> {
    let (mut read, mut has_names_before) = (0, true);
    loop {
        let count = reader.block()?;
        if count == 0 {
            has_names_before &= read == headers.len();
            headers.truncate(read);
            return Ok((reader.bytes()?, has_names_before));
        }
        for _ in 0..count {
            if read == NAMES_MAX {
                return Err(Malformed::Header);
            }
            let (name, value) = (reader.bytes()?, reader.bytes()?);
            match headers.get_mut(read) {
                Some(before) if before.0.as_bytes() == name => {
                    if before.1.as_bytes() != value {
                        before.1 = text(value)?;
                    }
                }
                Some(before) => {
                    has_names_before = false;
                    *before = (text(name)?, text(value)?);
                }
                None => {
                    has_names_before = false;
                    headers.push((text(name)?, text(value)?));
                }
            }
            read += 1;
        }
    }
}

/// Adds the events to a batch, until it has an excess.
///
/// # Errors
/// Fails if the bytes are damaged, or a batch cannot have these headers. Some events may have been
/// added.
pub fn read(events: Events<'_>, batch: &mut BatchBuilder) -> Result<(), Malformed> {
    let mut known = Known::default();
    let mut problem = None;
    let count = if events.is_batch { Reader::new(events.bytes).block()? } else { 1 };
    batch.expect(count, events.bytes.len());
    events.each(|event| {
        match known.check(event.headers, event.has_names_before) {
            Ok(()) => batch.push(event.body, event.headers),
            Err(malformed) => problem = Some(malformed),
        }
        problem.is_none() && batch.excess().is_none()
    })?;
    problem.map_or(Ok(()), Err)
}

/// Headers of the batch so far.
#[derive(Default)]
struct Known<'a> {
    names: BTreeSet<&'a str>,
}

impl<'a> Known<'a> {
    fn check(&mut self, headers: &[(&'a str, &'a str)], are_known: bool) -> Result<(), Malformed> {
        if !are_known {
            for (name, _) in headers {
                if name.is_empty() || name.len() > NAME_BYTES_MAX {
                    return Err(Malformed::Header);
                }
                self.names.insert(name);
                if self.names.len() > NAMES_MAX {
                    return Err(Malformed::Header);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pipeline::{Batch, BuilderLimits, Excess};
    use proptest::prelude::*;

    use super::super::datum::{put_event, put_long};
    use super::*;

    type Headers = &'static [(&'static str, &'static str)];

    /// Encodes the events as an array in blocks of this size.
    fn array(events: &[(Headers, &[u8])], block: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for block in events.chunks(block) {
            put_long(&mut bytes, block.len() as i64);
            for (headers, body) in block {
                put_event(&mut bytes, headers, body);
            }
        }
        put_long(&mut bytes, 0);
        bytes
    }

    fn batch(bytes: &[u8]) -> Result<Batch, Malformed> {
        let mut builder = BatchBuilder::default();
        read(Events { bytes, is_batch: true }, &mut builder).map(|()| builder.finish())
    }

    const EVENTS: &[(Headers, &[u8])] = &[
        (&[("host", "web-1"), ("n", "1")], b"one\n\xff\0"),
        (&[], b""),
        (&[("host", "web-2")], b"three"),
        (&[("n", "4"), ("host", "web-2")], b"four"),
    ];

    #[test]
    fn bodies_and_headers_arrive_as_they_were_sent_in_any_blocks() {
        for block in 1..=4 {
            let batch = batch(&array(EVENTS, block)).unwrap();
            let read: Vec<_> = batch
                .iter()
                .map(|event| {
                    let mut headers: Vec<_> = event.headers().collect();
                    headers.sort_unstable();
                    (headers, event.body().to_vec())
                })
                .collect();
            let sent = EVENTS.iter().map(|(headers, body)| {
                let mut headers = headers.to_vec();
                headers.sort_unstable();
                (headers, body.to_vec())
            });
            assert_eq!(read, sent.collect::<Vec<_>>(), "{block}");
        }
    }

    proptest! {
        /// The reader reuses the event before only for equal headers: this covers other orders,
        /// more or fewer names, duplicates, and other values.
        #[test]
        fn an_event_has_its_own_headers_whatever_the_one_before_it_has(
            events in prop::collection::vec(
                prop::collection::vec((0..3_usize, 0..3_usize), 0..4), 1..12),
        ) {
            let (names, values) = (["a", "b", "\u{e9}"], ["", "x", "\u{20ac}"]);
            let mut bytes = Vec::new();
            put_long(&mut bytes, events.len() as i64);
            let mut sent = Vec::new();
            for headers in &events {
                let headers: Vec<_> =
                    headers.iter().map(|(name, value)| (names[*name], values[*value])).collect();
                put_event(&mut bytes, &headers, b"body");
                // The last value of a duplicate name counts.
                sent.push(headers.into_iter().collect::<BTreeMap<_, _>>());
            }
            bytes.push(0);
            let batch = batch(&bytes).unwrap();
            let read: Vec<BTreeMap<_, _>> =
                batch.iter().map(|event| event.headers().collect()).collect();
            prop_assert_eq!(read, sent);
        }
    }

    #[test]
    fn the_batch_that_flume_sends_is_read() {
        // Captured from Flume: an appendBatch of two events, after the name of the message.
        let bytes = [4, 2, 2, b'k', 2, b'v', 0, 2, b'A', 0, 2, b'B', 0];
        let batch = batch(&bytes).unwrap();
        let read: Vec<_> =
            batch.iter().map(|event| (event.header("k"), event.body().to_vec())).collect();
        assert_eq!(read, [(Some("v"), b"A".to_vec()), (None, b"B".to_vec())]);
    }

    #[test]
    fn damaged_events_are_refused_wherever_the_damage_is() {
        let whole = array(EVENTS, 3);
        for end in 0..whole.len() {
            assert!(batch(&whole[..end]).is_err(), "cut at {end}");
        }
        assert_eq!(batch(&[&whole[..], &[0]].concat()).err(), Some(Malformed::Rest));
        assert_eq!(batch(&[2, 2, 2, 0xff, 2, b'v', 0, 0, 0]).err(), Some(Malformed::Text));
        assert_eq!(batch(&[2, 2, 0, 2, b'v', 0, 0, 0]).err(), Some(Malformed::Header));
    }

    #[test]
    fn columns_out_of_proportion_are_refused_before_they_cost() {
        let names: Vec<String> = (0..1_001).map(|n| format!("name-{n}")).collect();
        let of = |names: &[String], empty: usize| {
            let mut bytes = Vec::new();
            put_long(&mut bytes, (names.len() + empty) as i64);
            for name in names {
                put_event(&mut bytes, &[(name, "")], b"");
            }
            bytes.resize(bytes.len() + 2 * empty, 0);
            bytes.push(0);
            bytes
        };
        assert!(batch(&of(&names[..1_000], 10)).is_ok());
        assert_eq!(batch(&of(&names, 0)).err(), Some(Malformed::Header));
        let limits = BuilderLimits { bytes: usize::MAX, steps: 1 << 24 };
        for (empty, excess) in [(3_000, None), (5_000_000, Some(Excess::Steps))] {
            let mut builder = BatchBuilder::within(limits);
            let bytes = of(&names[..1_000], empty);
            assert_eq!(read(Events { bytes: &bytes, is_batch: true }, &mut builder), Ok(()));
            assert_eq!(builder.excess(), excess);
        }
        // The headers of a single event.
        let pairs = [0; 2_002];
        let bytes = [&[2][..], &[0xd2, 0x0f], &pairs, &[0, 0, 0]].concat();
        assert_eq!(batch(&bytes).err(), Some(Malformed::Header));
    }
}
