//! Bodies that are JSON objects.

use formats::rows::reason;
use pipeline::Events;

use super::{Body, EachRow};
use crate::parquet::paths::{Paths, Unread};
use crate::parquet::value::Found;

/// The reader.
#[derive(Debug)]
pub(super) struct Bodies {
    pub(super) paths: Paths,
    /// Number of columns.
    pub(super) columns: usize,
}

impl Body for Bodies {
    fn each<'e>(&self, events: &'e Events, row: &mut EachRow<'_, 'e>) {
        let mut found = vec![Found::Missing; self.columns];
        for event in events.iter() {
            if self.paths.is_empty() {
                row(event, Ok(&found));
                continue;
            }
            found.fill(Found::Missing);
            let read = self.paths.read(event.body(), &mut found).map_err(|unread| match unread {
                Unread::Body(problem) => Unread::Body(reason(event, problem).into()),
                within => within,
            });
            row(event, read.map(|()| &found[..]));
        }
    }

    fn copies(&self, counts: &dyn Fn(usize) -> bool) -> Option<u64> {
        Some(self.paths.copies(&counts))
    }
}
