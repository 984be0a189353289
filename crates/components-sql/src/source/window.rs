//! Digests of stored rows in the window, which drop rows that are read again.
//!
//! Digests are in groups, one per position of a channel. A group without any row in a whole pass
//! over the window is dropped: its rows are before the window, or were changed or deleted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use pipeline::SourcePosition;

use super::position::{VALUE_BYTES_MAX, forgotten, numbered};

/// Digests per group: as many as fit into a position.
const GROUP_MAX: usize = VALUE_BYTES_MAX / 16;

/// Digests of stored rows.
#[derive(Default)]
pub(super) struct Window {
    /// The group of each row.
    rows: HashMap<u128, u64>,
    /// Groups with the number of their rows.
    groups: BTreeMap<u64, usize>,
    next: u64,
    /// Groups found in this pass.
    met: BTreeSet<u64>,
    /// Groups that existed when the pass started.
    until: u64,
    /// Groups that the next batch removes.
    dead: Vec<u64>,
}

impl Window {
    /// Loads the window from a channel.
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

    /// Returns the number of rows.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Starts a pass over the window.
    pub(super) fn begin(&mut self) {
        self.met.clear();
        self.until = self.next;
    }

    /// Returns whether the row is stored.
    pub(super) fn is_stored(&mut self, digest: u128) -> bool {
        let group = self.rows.get(&digest).copied();
        self.met.extend(group);
        group.is_some()
    }

    /// Ends a pass over the whole window.
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

    /// Removes everything.
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.dead.extend(std::mem::take(&mut self.groups).into_keys());
    }

    /// Adds rows. Store the returned positions with their batch.
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

    /// Returns the removals for the next batch.
    pub(super) fn forget(&mut self, source: &Arc<str>) -> Vec<SourcePosition> {
        let dead = std::mem::take(&mut self.dead);
        dead.into_iter().map(|group| forgotten(source, &format!("w{group}"))).collect()
    }
}
