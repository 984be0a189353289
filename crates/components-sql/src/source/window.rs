//! Rows of the window that are stored: those are dropped when they are read again.
//!
//! Digests lie in groups, one for each position of a channel. A group whose rows a whole pass over
//! the window has not met is forgotten: they lie below the window, or have been changed or deleted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use pipeline::SourcePosition;

use super::position::{VALUE_BYTES_MAX, forgotten, numbered};

/// Digests of a group: as many as a position has room for.
const GROUP_MAX: usize = VALUE_BYTES_MAX / 16;

/// Rows that are stored, by their digests.
#[derive(Default)]
pub(super) struct Window {
    /// The group of each.
    rows: HashMap<u128, u64>,
    /// Groups, and how many rows they have.
    groups: BTreeMap<u64, usize>,
    next: u64,
    /// Groups that a pass has met.
    met: BTreeSet<u64>,
    /// Groups that were there when the pass began.
    until: u64,
    /// Groups that the next batch forgets.
    dead: Vec<u64>,
}

impl Window {
    /// As a channel knows it.
    pub(super) fn load(known: &[(Bytes, Bytes)]) -> Self {
        let mut window = Self::default();
        for (group, value) in numbered(known, 'w') {
            let digests = value.chunks_exact(16).filter_map(|it| it.try_into().ok());
            window.rows.extend(digests.map(|it| (u128::from_le_bytes(it), group)));
            window.groups.insert(group, value.len() / 16);
            window.next = window.next.max(group + 1);
        }
        window
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// A pass over the window begins.
    pub(super) fn begin(&mut self) {
        self.met.clear();
        self.until = self.next;
    }

    /// Whether the row is stored.
    pub(super) fn meets(&mut self, digest: u128) -> bool {
        let group = self.rows.get(&digest).copied();
        self.met.extend(group);
        group.is_some()
    }

    /// A pass over the whole window has ended.
    pub(super) fn end(&mut self) {
        let (met, until) = (&self.met, self.until);
        let gone: Vec<u64> =
            self.groups.keys().copied().filter(|it| *it < until && !met.contains(it)).collect();
        if gone.is_empty() {
            return;
        }
        for group in &gone {
            self.groups.remove(group);
        }
        let groups = &self.groups;
        self.rows.retain(|_, group| groups.contains_key(group));
        self.dead.extend(gone);
    }

    /// Everything is forgotten.
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.dead.extend(std::mem::take(&mut self.groups).into_keys());
    }

    /// These rows are stored with the batch that takes the answer.
    pub(super) fn add(&mut self, source: &Arc<str>, digests: &[u128]) -> Vec<SourcePosition> {
        let mut positions = Vec::new();
        for digests in digests.chunks(GROUP_MAX) {
            let group = self.next;
            self.next += 1;
            self.rows.extend(digests.iter().map(|digest| (*digest, group)));
            self.groups.insert(group, digests.len());
            let value: Vec<u8> = digests.iter().flat_map(|digest| digest.to_le_bytes()).collect();
            let key = Bytes::from(format!("w{group}"));
            let value = Some(value.into());
            positions.push(SourcePosition { source: source.clone(), key, value, after: None });
        }
        positions
    }

    /// What the next batch forgets.
    pub(super) fn forget(&mut self, source: &Arc<str>) -> Vec<SourcePosition> {
        let dead = std::mem::take(&mut self.dead);
        dead.into_iter().map(|group| forgotten(source, &format!("w{group}"))).collect()
    }
}
