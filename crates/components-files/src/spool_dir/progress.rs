//! Decides when everything that was in the directory is stored. Pure.

use std::collections::BTreeSet;

use bytes::Bytes;

/// The files that a listing found and that are not stored yet. `T` is when the listing began.
#[derive(Debug)]
pub(super) struct Progress<T> {
    /// The keys of these files.
    pending: Option<(T, BTreeSet<Bytes>)>,
}

impl<T> Default for Progress<T> {
    fn default() -> Self {
        Self { pending: None }
    }
}

impl<T: Copy> Progress<T> {
    /// Handles a complete listing that began at this time and found these unread files. Returns the
    /// time of the latest listing whose files are all stored, if it is new. Files that arrive later
    /// do not delay it, so a directory that is never empty is reported, too.
    pub(super) fn listed(&mut self, at: T, unread: BTreeSet<Bytes>) -> Option<T> {
        if unread.is_empty() {
            self.pending = None;
            return Some(at);
        }
        let pending = self.pending.get_or_insert_with(|| (at, unread.clone()));
        pending.1.retain(|key| unread.contains(key));
        let is_stored = pending.1.is_empty();
        let (before, _) = self.pending.take_if(|_| is_stored)?;
        self.pending = Some((at, unread));
        Some(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_reported_when_its_files_are_stored_although_others_arrived() {
        let unread = |names: &[&'static str]| names.iter().map(|name| Bytes::from(*name)).collect();
        let mut progress = Progress::default();
        assert_eq!(progress.listed(1, unread(&[])), Some(1));
        assert_eq!(progress.listed(2, unread(&["a", "b"])), None);
        assert_eq!(progress.listed(3, unread(&["b", "c"])), None);
        assert_eq!(progress.listed(4, unread(&["c", "d"])), Some(2));
        assert_eq!(progress.listed(5, unread(&["d"])), None);
        assert_eq!(progress.listed(6, unread(&["e"])), Some(4));
        assert_eq!(progress.listed(7, unread(&[])), Some(7));
    }
}
