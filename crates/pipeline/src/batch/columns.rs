//! Columns that are built while the events are read: one value for each event, or none, without an
//! allocation for each of them.
//!
//! A column cannot be written while the batch is read. Therefore its values are first collected in
//! a [`Values`], and then set by [`Events::set_values`].

use super::builder::ColumnBuilder;
use super::lengths::Lengths;
use super::{EventRef, Events, Existing};

/// The values of one header, collected event by event.
#[derive(Default)]
pub struct Values(ColumnBuilder);

impl Values {
    /// The value of the next event; `None`: it lacks the header.
    pub fn push(&mut self, value: Option<&str>) {
        self.0.push(value, 1);
    }

    /// The next `events` events have this value, or lack the header.
    pub fn push_run(&mut self, value: Option<&str>, events: usize) {
        self.0.push(value, events);
    }

    /// Number of events that have their value.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns `true` if no event has its value yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills up to `events` without values, for skipped events.
    pub fn fill(&mut self, events: usize) {
        self.0.push(None, events.saturating_sub(self.0.len()));
    }
}

impl Events {
    /// Sets each event's own value of `name`, or none; replaces previous values.
    ///
    /// # Panics
    /// If the number of values differs from the number of events.
    pub fn set_values(&mut self, name: &str, values: Values) {
        assert_eq!(values.len(), self.len(), "one value for each event");
        self.remove_header(name);
        if !values.0.is_absent() {
            self.add(name.into(), values.0);
        }
    }

    /// Sets events' own values of `name`. Events without a new value keep the old one; `existing`
    /// decides if an event has both.
    ///
    /// # Panics
    /// If the number of values differs from the number of events.
    pub fn merge_values(&mut self, name: &str, values: Values, existing: Existing) {
        if self.shared_header(name).is_none() && !self.has_own(name) {
            return self.set_values(name, values);
        }
        assert_eq!(values.len(), self.len(), "one value for each event");
        if values.0.is_absent() {
            return;
        }
        let new = values.0.finish(name.into());
        let new = new.runs().flat_map(|(value, events)| std::iter::repeat_n(value, events));
        let merged = new.zip(self.values(name)).map(|(new, old)| match existing {
            Existing::Keep => (old.or(new), 1),
            Existing::Replace => (new.or(old), 1),
        });
        let merged = ColumnBuilder::of(merged);
        self.remove_header(name);
        self.add(name.into(), merged);
    }

    /// The names of all headers that some event has or may have, each once.
    pub fn header_names(&self) -> impl Iterator<Item = &str> {
        let shared = self.shared.iter().map(|(name, _)| &**name);
        shared.chain(self.columns.iter().map(|column| &*column.name))
    }

    /// Rewrites the body of each event: `write` appends it to the buffer, which contains the bodies
    /// before it, and returns `true`. Otherwise the old body stays, and appended bytes are
    /// discarded. Returns the number of new bodies; if it is 0, the batch is unchanged.
    ///
    /// # Panics
    /// If a new body has 4 GiB or more.
    pub fn rewrite_bodies(
        &mut self,
        mut write: impl FnMut(EventRef<'_>, &mut Vec<u8>) -> bool,
    ) -> u64 {
        let mut bodies = Vec::with_capacity(self.bodies.len());
        let mut lengths = Vec::with_capacity(self.len());
        let mut written = 0;
        for event in self.iter() {
            let start = bodies.len();
            if write(event, &mut bodies) {
                written += 1;
            } else {
                bodies.truncate(start);
                bodies.extend_from_slice(event.body());
            }
            lengths.push(u32::try_from(bodies.len() - start).expect("a body has < 4 GiB"));
            bodies.push(b'\n');
        }
        if written > 0 {
            self.lengths = Lengths::from_slice(&lengths);
            self.bodies = bodies.into();
            self.separated = true;
            self.encoded = None;
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::super::Batch;
    use super::*;

    fn of<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> Values {
        let mut collected = Values::default();
        values.into_iter().for_each(|value| collected.push(value));
        collected
    }

    #[test]
    fn values_take_the_place_of_a_shared_header_and_of_a_column() {
        let mut batch = Batch::of(["a", "b", "c"]);
        batch.set_header("x", "all", Existing::Keep);
        for values in [[Some("1"), None, Some("3")], [None, Some("2"), Some("2")]] {
            batch.set_values("x", of(values));
            assert_eq!(batch.values("x").collect::<Vec<_>>(), values);
            assert_eq!(batch.header_names().collect::<Vec<_>>(), ["x"]);
        }
        batch.set_values("x", of([None; 3]));
        assert_eq!(batch.header_names().count(), 0, "a header that no event has is none");
        batch.set_values("x", of([Some("1"); 3]));
        assert_eq!(batch.shared_header("x"), Some("1"), "alike means shared");
        let bytes = batch.encode();
        assert_eq!(Batch::decode(bytes).unwrap(), batch, "the encoding has it");
    }

    #[test]
    fn merged_values_leave_the_others() {
        for (existing, expected) in [
            (Existing::Replace, [Some("1"), Some("old"), Some("3")]),
            (Existing::Keep, [Some("old"), Some("old"), Some("3")]),
        ] {
            let mut batch = Batch::of(["a", "b", "c"]);
            batch.set_values("x", of([Some("old"), Some("old"), None]));
            batch.merge_values("x", of([Some("1"), None, Some("3")]), existing);
            assert_eq!(batch.values("x").collect::<Vec<_>>(), expected, "{existing:?}");
            batch.merge_values("x", of([None; 3]), existing);
            assert_eq!(batch.values("x").collect::<Vec<_>>(), expected, "{existing:?}");
        }
    }

    #[test]
    fn events_that_were_passed_over_lack_the_header() {
        let mut values = Values::default();
        values.fill(2);
        values.push(Some("c"));
        values.fill(4);
        let mut batch = Batch::of(["a", "b", "c", "d"]);
        batch.set_values("x", values);
        assert_eq!(batch.values("x").collect::<Vec<_>>(), [None, None, Some("c"), None]);
    }

    #[test]
    fn bodies_are_written_anew_or_stay() {
        let mut batch = Batch::of(["a", "bb", "c"]);
        batch.set_header("x", "1", Existing::Keep);
        let written = batch.rewrite_bodies(|event, out| {
            out.extend_from_slice(b"<");
            out.extend_from_slice(event.body());
            event.index() != 1
        });
        let bodies: Vec<&[u8]> = batch.iter().map(|event| event.body()).collect();
        assert_eq!((written, bodies), (2, vec![&b"<a"[..], b"bb", b"<c"]));
        assert_eq!(batch.shared_header("x"), Some("1"));

        let before = batch.clone();
        assert_eq!(
            batch.rewrite_bodies(|_, out| {
                out.push(b'!');
                false
            }),
            0
        );
        assert_eq!(batch, before);
    }
}
