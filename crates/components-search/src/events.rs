//! The events of a batch as documents: their index and their id.
//!
//! An id consists of the sink's name, the identity of the batch and the event's index, so it is the
//! same whenever the batch is resent.

use jiff::Timestamp;
use pipeline::deliver::Delivered;
use pipeline::{Batch, EventRef};

use crate::index::{IndexName, Refused};

/// A document to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outgoing {
    /// Index of the event in its batch.
    pub(crate) place: usize,
    /// The target index or collection.
    pub(crate) index: String,
    /// Its id; without one, the engine assigns one.
    pub(crate) id: Option<String>,
    /// The document, as one line of JSON.
    pub(crate) document: Vec<u8>,
}

impl Outgoing {
    /// Returns an upper bound of its size in a request.
    pub(crate) fn size(&self) -> usize {
        let id = self.id.as_ref().map_or(0, String::len);
        self.document.len() + self.index.len() + id + 50
    }
}

/// Returns how many of the first documents fit into one request of this size; at least one.
pub(crate) fn fitting(documents: &[Outgoing], bytes_max: usize) -> usize {
    let mut bytes = 0;
    let fits = documents.iter().take_while(|document| {
        bytes += document.size();
        bytes <= bytes_max
    });
    fits.count().max(1).min(documents.len())
}

/// An event that can never be written: its index, the reason in snake case, and the message.
pub(crate) type Never = (usize, &'static str, String);

/// Returns the result of a batch in which all but these events are written.
pub(crate) fn delivered(mut never: Vec<Never>) -> Delivered {
    never.sort_unstable_by_key(|(place, ..)| *place);
    let Some((_, reason, detail)) = never.first().cloned() else { return Delivered::All };
    let events = never.into_iter().map(|(place, ..)| place).collect();
    Delivered::Except { events, reason, detail }
}

/// Determines the index and id of events.
pub(crate) struct Routes {
    /// Prefix of all ids.
    pub(crate) name: String,
    /// Name of the index or collection.
    pub(crate) index: IndexName,
    /// Header with the time of an event.
    pub(crate) time_header: String,
}

impl Routes {
    /// Converts a batch with the function `document`, which gets the event, its time and its id.
    /// Also returns events that cannot be converted.
    pub(crate) fn documents(
        &self,
        batch: &Batch,
        document: impl Fn(EventRef<'_>, Option<Timestamp>, Option<&str>) -> Result<Vec<u8>, String>,
    ) -> (Vec<Outgoing>, Vec<Never>) {
        let (mut documents, mut never) = (Vec::new(), Vec::new());
        for event in batch.iter() {
            let (name, place, time) = (&self.name, event.index(), self.time_of(event));
            let identity = batch.envelope.identity;
            let id = identity.map(|identity| format!("{name}/{identity}-{place}"));
            let made = self.index_of(event, time).and_then(|index| {
                let document = document(event, time, id.as_deref());
                let document = document.map_err(|detail| ("unwritable_event", detail))?;
                Ok((index, document))
            });
            match made {
                Ok((index, document)) => documents.push(Outgoing { place, index, id, document }),
                Err((reason, detail)) => never.push((place, reason, detail)),
            }
        }
        (documents, never)
    }

    fn time_of(&self, event: EventRef<'_>) -> Option<Timestamp> {
        let ms = event.header(&self.time_header)?.trim().parse().ok()?;
        Timestamp::from_millisecond(ms).ok()
    }

    fn index_of(
        &self,
        event: EventRef<'_>,
        time: Option<Timestamp>,
    ) -> Result<String, (&'static str, String)> {
        let what = self.index.what();
        self.index.fill(event, time).map_err(|refused| match refused {
            Refused::WithoutTime => {
                let detail = format!(
                    "header `{}` is not a time in milliseconds since 1970, but the name of the \
                     {what} needs one; set it with an interceptor such as `event_time` or \
                     `timestamp`",
                    self.time_header
                );
                ("no_time", detail)
            }
            Refused::TooLong(bytes) => (
                "unwritable_event",
                format!(
                    "the name of its {what} would have {bytes} bytes, which is too long; shorten \
                     the header in the name"
                ),
            ),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns a document of this size.
    pub(crate) fn outgoing(place: usize, len: usize) -> Outgoing {
        let (index, id) = ("logs".to_owned(), Some(format!("a/1/2-{place}")));
        Outgoing { place, index, id, document: vec![b'x'; len] }
    }

    #[test]
    fn a_request_has_as_many_documents_as_fit_and_always_one() {
        let documents: Vec<_> = (0..4).map(|place| outgoing(place, 100)).collect();
        let one = documents[0].size();
        assert_eq!(fitting(&documents, 2 * one), 2);
        assert_eq!(fitting(&documents, 2 * one - 1), 1);
        assert_eq!(fitting(&documents, 1), 1);
        assert_eq!(fitting(&documents, usize::MAX), 4);
        assert_eq!(fitting(&[], 1), 0);
    }
}
