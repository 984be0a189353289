//! The position of a source, and the ids of recent events. Pure.
//!
//! ```text
//!   key URL           number of the put, cursor, validators
//!   key URL ids 0     500 digests of ids ┐ a ring of pages: a put stores the changed ones,
//!   key URL ids 1     500 digests of ids ┘ and each value stays below its limit
//! ```
//!
//! Each put has a number. The channel with the lowest number determines where to continue
//! ([`CatchUp::Repeat`](kit::follow::CatchUp::Repeat)).

use std::collections::HashSet;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use pipeline::{Batch, SourcePosition};
use xxhash_rust::xxh3::Xxh3;

/// Digests per page.
const PAGE: usize = 500;

/// Maximum size of a cursor or validator, so that all together stay below the limit of a position.
pub(crate) const CURSOR_BYTES_MAX: usize = 3 << 10;

/// Maximum size of an HTTP validator.
pub(crate) const VALIDATOR_BYTES_MAX: usize = 256;

/// Format version of the values.
const FORM: u8 = 1;

/// The position of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StoredProgress {
    /// Number of puts so far.
    pub(crate) puts: u64,
    /// Where the server is asked to continue.
    pub(crate) cursor: Option<String>,
    /// `ETag` of the last response.
    pub(crate) etag: Option<String>,
    /// `Last-Modified` of the last response.
    pub(crate) modified: Option<String>,
}

impl StoredProgress {
    fn encode(&self) -> Bytes {
        let mut value = BytesMut::new();
        value.put_u8(FORM);
        value.put_u64_le(self.puts);
        for text in [&self.cursor, &self.etag, &self.modified] {
            // An empty text means `None`.
            let text = text.as_deref().unwrap_or_default();
            value.put_u16_le(u16::try_from(text.len()).expect("texts are within their limits"));
            value.put_slice(text.as_bytes());
        }
        value.freeze()
    }

    fn decode(mut value: &[u8]) -> Option<Self> {
        if value.try_get_u8().ok()? != FORM {
            return None;
        }
        let puts = value.try_get_u64_le().ok()?;
        let mut text = || {
            let length = usize::from(value.try_get_u16_le().ok()?);
            let (text, rest) = value.split_at_checked(length)?;
            value = rest;
            String::from_utf8(text.to_vec()).ok()
        };
        let mut part = || text().map(|text| Some(text).filter(|text| !text.is_empty()));
        let (cursor, etag, modified) = (part()?, part()?, part()?);
        Some(Self { puts, cursor, etag, modified })
    }
}

/// Digests of the ids of recent events.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    /// Pages with the number of their first digest.
    pages: Vec<Page>,
    known: HashSet<u64>,
    /// Number of the next digest.
    next: u64,
}

#[derive(Debug, Default)]
struct Page {
    digests: Vec<u64>,
    first: u64,
    /// Whether the page changed since the last put.
    is_new: bool,
}

impl Recent {
    /// Creates a ring for at least this many events; disabled if 0.
    fn with_capacity(ids: usize) -> Self {
        let pages = if ids == 0 { 0 } else { ids.div_ceil(PAGE) + 1 };
        Self { pages: (0..pages).map(|_| Page::default()).collect(), ..Self::default() }
    }

    /// Adds an id; `false` if it is known.
    pub(crate) fn add(&mut self, digest: u64) -> bool {
        if self.pages.is_empty() {
            return true;
        }
        if !self.known.insert(digest) {
            return false;
        }
        let slot = self.next as usize / PAGE % self.pages.len();
        let page = &mut self.pages[slot];
        if (self.next as usize).is_multiple_of(PAGE) {
            for old in page.digests.drain(..) {
                self.known.remove(&old);
            }
            page.first = self.next;
        }
        page.digests.push(digest);
        page.is_new = true;
        self.next += 1;
        true
    }

    /// Loads stored pages, maybe from a ring of another size.
    fn load(&mut self, mut pages: Vec<(u64, Vec<u64>)>) {
        pages.sort_unstable();
        let Some((first, last)) = pages.last().map(|(first, digests)| (*first, digests.len()))
        else {
            return;
        };
        // Continue on a new page after all stored ones, so that old pages never look newer.
        self.next = (first + last as u64).next_multiple_of(PAGE as u64);
        let keep = (self.pages.len().saturating_sub(1)) * PAGE;
        // A page not yet overwritten may repeat digests of newer pages, in an older order.
        let mut seen = HashSet::new();
        let all = pages.into_iter().rev().flat_map(|(_, digests)| digests.into_iter().rev());
        let last: Vec<u64> = all.filter(|digest| seen.insert(*digest)).take(keep).collect();
        for digest in last.into_iter().rev() {
            self.add(digest);
        }
    }
}

/// The position of a source, for puts.
#[derive(Debug)]
pub(crate) struct Progress {
    source: Arc<str>,
    key: Bytes,
    pub(crate) standing: StoredProgress,
    /// Recent ids.
    pub(crate) recent: Recent,
}

impl Progress {
    /// Loads the position of a channel. Remembers at least `ids` events.
    pub(crate) fn load(source: Arc<str>, key: &str, ids: usize, known: &[(Bytes, Bytes)]) -> Self {
        let key = Bytes::copy_from_slice(key.as_bytes());
        let mut progress = Self {
            source,
            standing: StoredProgress::default(),
            recent: Recent::with_capacity(ids),
            key,
        };
        progress.standing = stored_in(known, &progress.key).unwrap_or_default();
        let prefix = progress.page_prefix();
        let pages = known.iter().filter(|(key, _)| key.starts_with(&prefix));
        let pages = pages.filter_map(|(_, value)| {
            let (first, rest) = value.split_first_chunk()?;
            let digests = rest.as_chunks().0.iter().map(|it| u64::from_le_bytes(*it));
            Some((u64::from_le_bytes(*first), digests.collect()))
        });
        let pages = pages.collect();
        progress.recent.load(pages);
        progress
    }

    fn page_prefix(&self) -> Vec<u8> {
        [&self.key, &b" ids "[..]].concat()
    }

    /// Adds the positions of the next put to its batch.
    pub(crate) fn with_next_put(&mut self, mut batch: Batch) -> Batch {
        batch.envelope.positions.extend(self.next_put());
        batch
    }

    /// Returns the positions of the next put.
    fn next_put(&mut self) -> Vec<SourcePosition> {
        self.standing.puts += 1;
        let position = |key: Bytes, value: Bytes| SourcePosition {
            source: self.source.clone(),
            key,
            value: Some(value),
            after: None,
        };
        let mut positions = vec![position(self.key.clone(), self.standing.encode())];
        let prefix = self.page_prefix();
        for (slot, page) in self.recent.pages.iter_mut().enumerate() {
            if std::mem::take(&mut page.is_new) {
                let key = [&prefix[..], slot.to_string().as_bytes()].concat();
                let mut value = BytesMut::with_capacity(8 * (PAGE + 1));
                value.put_u64_le(page.first);
                page.digests.iter().for_each(|digest| value.put_u64_le(*digest));
                positions.push(position(key.into(), value.freeze()));
            }
        }
        positions
    }

    /// Returns the number of puts in a channel with these positions.
    pub(crate) fn puts(known: &[(Bytes, Bytes)], key: &str) -> Option<u64> {
        Some(stored_in(known, key.as_bytes())?.puts)
    }
}

fn stored_in(known: &[(Bytes, Bytes)], key: &[u8]) -> Option<StoredProgress> {
    let (_, value) = known.iter().find(|(known, _)| known == key)?;
    StoredProgress::decode(value)
}

/// Returns a digest of an id and its event type: an event that reports the deletion of another one
/// has the same id.
pub(crate) fn digest(kind: Option<&str>, id: &str) -> u64 {
    let mut digest = Xxh3::new();
    digest.update(kind.unwrap_or_default().as_bytes());
    digest.update(&[0xff]);
    digest.update(id.as_bytes());
    digest.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Known = Vec<(Bytes, Bytes)>;

    fn load(ids: usize, known: &Known) -> Progress {
        Progress::load("in".into(), "http://h/s", ids, known)
    }

    /// Stores the positions of a put in a channel.
    fn store(channel: &mut Known, positions: &[SourcePosition]) {
        for position in positions {
            assert!(position.value.as_ref().is_some_and(|value| value.len() <= 4 << 10));
            channel.retain(|(key, _)| *key != position.key);
            channel.push((position.key.clone(), position.value.clone().unwrap()));
        }
    }

    #[test]
    fn the_last_ids_are_known_again_after_any_number_of_restarts() {
        let ids = 1200;
        let (mut channel, mut progress, mut next) = (Known::new(), load(ids, &vec![]), 0_u64);
        for (events, restarts) in
            [(3, true), (1100, false), (700, true), (1, true), (1, true), (499, true), (2600, true)]
        {
            for _ in 0..events {
                assert!(progress.recent.add(next), "{next} is new");
                next += 1;
                if next.is_multiple_of(100) {
                    store(&mut channel, &progress.next_put());
                }
            }
            store(&mut channel, &progress.next_put());
            if restarts {
                progress = load(ids, &channel);
            }
            for known in next.saturating_sub(ids as u64)..next {
                assert!(!progress.recent.add(known), "{known} of {next} is known");
            }
            assert!(progress.recent.known.len() <= ids + 2 * PAGE, "there is a limit");
        }
        assert!(progress.recent.add(0), "the first ones are forgotten");
        assert!(load(0, &channel).recent.add(next - 1), "none is asked for");
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(20))]
        /// A server resends the last 1,500 events, and the agent is killed in between.
        #[test]
        fn recognises_repeated_events_after_every_restart(
            turns in proptest::collection::vec(
                (0..60_u64, 0..2500_usize, proptest::bool::ANY),
                200,
            ),
        ) {
            let (mut channel, mut progress) = (Known::new(), load(2000, &vec![]));
            let (mut end, mut taken) = (0, 0);
            for (appended, sent, is_killed) in turns {
                end += appended;
                for event in (end.max(1500) - 1500..end).take(sent) {
                    proptest::prop_assert_eq!(progress.recent.add(event), event >= taken);
                    taken = taken.max(event + 1);
                }
                store(&mut channel, &progress.next_put());
                if is_killed {
                    progress = load(2000, &channel);
                }
            }
        }
    }

    #[test]
    fn a_position_is_read_as_it_is_written() {
        let standing = StoredProgress {
            puts: 7,
            cursor: Some("x".repeat(CURSOR_BYTES_MAX)),
            etag: Some("e".repeat(VALIDATOR_BYTES_MAX)),
            modified: None,
        };
        assert!(standing.encode().len() <= 4 << 10);
        assert_eq!(StoredProgress::decode(&standing.encode()).as_ref(), Some(&standing));
        assert_eq!(StoredProgress::decode(b"other"), None);
        let known = [(Bytes::from_static(b"k"), standing.encode())];
        assert_eq!((Progress::puts(&known, "k"), Progress::puts(&known, "l")), (Some(7), None));
        assert_ne!(digest(Some("delete"), "1"), digest(None, "1"));
    }
}
