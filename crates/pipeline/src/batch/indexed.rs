//! [`IndexedEvents`]: events for a reader that names each event by its index, in any order.

use std::sync::OnceLock;

use super::{EventRef, Events};

/// Events with the positions of their bodies, which are computed when the first body is read.
///
/// ```
/// # use aqueduct_pipeline as pipeline;
/// use pipeline::{Batch, IndexedEvents};
///
/// let events = IndexedEvents::new(Batch::of(["a", "bc"]).events);
/// assert_eq!(events.event(1).map(|event| event.body()), Some(&b"bc"[..]));
/// assert!(events.event(2).is_none());
/// ```
pub struct IndexedEvents {
    events: Events,
    /// Start and length of each body.
    bodies: OnceLock<Vec<(usize, usize)>>,
}

impl IndexedEvents {
    /// Wraps these events.
    pub fn new(events: Events) -> Self {
        Self { events, bodies: OnceLock::new() }
    }

    /// The events.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// The event with this index.
    pub fn event(&self, index: usize) -> Option<EventRef<'_>> {
        let events = &self.events;
        let bodies = self.bodies.get_or_init(|| {
            let separator = usize::from(events.separated);
            let mut start = 0;
            let body = |length| {
                let body = (start, length);
                start += length + separator;
                body
            };
            events.lengths.iter(&events.bodies).map(body).collect()
        });
        let (start, length) = *bodies.get(index)?;
        Some(EventRef { events, index, body: &events.bodies[start..start + length] })
    }

    /// The value of header `name` of the event with this index, without the position of its body.
    pub fn value(&self, index: usize, name: &str) -> Option<&str> {
        let column = self.events.columns.iter().find(|column| &*column.name == name);
        match column {
            Some(column) => column.value(index),
            None => self.events.shared_header(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::BatchBuilder;
    use super::*;

    #[test]
    fn events_are_the_same_by_index_and_in_order() {
        let mut builder = BatchBuilder::default();
        builder.push(b"a", &[("host", "x"), ("n", "1")]);
        builder.push(b"", &[("host", "x")]);
        builder.push(b"ccc", &[("host", "x"), ("n", "3")]);
        let indexed = IndexedEvents::new(builder.finish().events);
        for event in indexed.events().iter() {
            let same = indexed.event(event.index()).unwrap();
            assert_eq!((same.body(), same.index()), (event.body(), event.index()));
            for name in ["host", "n", "other"] {
                assert_eq!(indexed.value(event.index(), name), event.header(name));
                assert_eq!(same.header(name), event.header(name));
            }
        }
        assert!(indexed.event(3).is_none());
    }
}
