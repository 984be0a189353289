//! The writes of one call. They are checked while they arrive and when the call ends, and applied
//! together, or not at all.

use kit::plug_in::reason;
use pipeline::units::ByteSize;
use pipeline::{Events, Existing, Rejects, Values};
use support::mutant;

use crate::error::{Fault, unusable};

/// Maximum number of different headers that a call writes.
const NAMES_MAX: usize = 128;
/// Maximum length of the name of a header.
const NAME_BYTES_MAX: usize = 1024;
/// Marks the end of an absent value in a column.
pub(crate) const ABSENT: u32 = 1 << 31;

/// A write of one value.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Slot {
    /// Nothing is written: the old value stays.
    Kept,
    /// The value is removed.
    Removed,
    /// The value, from here to there in the written bytes.
    Written(u32, u32),
}

/// The new values of one header.
#[derive(Debug)]
struct Column {
    name: String,
    /// For all events without a slot of their own.
    all: Slot,
    /// For each event; empty if no event has its own.
    own: Vec<Slot>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Kept,
    Dropped,
    Refused,
}

/// The writes of a call.
#[derive(Debug)]
pub(crate) struct Staged {
    /// Number of events of the batch.
    events: usize,
    output_max: ByteSize,
    /// Bytes of all writes, with what they need besides.
    used: u64,
    columns: Vec<Column>,
    /// The column of the last write: neighbours often write the same header.
    last: usize,
    /// Values of headers, end to end.
    texts: String,
    /// For each event; empty if no body is written.
    bodies: Vec<Slot>,
    /// Bodies, end to end.
    body_bytes: Vec<u8>,
    /// For each event; empty if all are kept.
    fates: Vec<Fate>,
    /// Why the first refused event was refused.
    reason: String,
}

impl Staged {
    /// Creates writes for a batch of this many events.
    pub(crate) fn new(events: usize, output_max: ByteSize) -> Self {
        Self {
            events,
            output_max,
            used: 0,
            columns: Vec::new(),
            last: 0,
            texts: String::new(),
            bodies: Vec::new(),
            body_bytes: Vec::new(),
            fates: Vec::new(),
            reason: String::new(),
        }
    }

    /// Writes or removes the header of an event.
    ///
    /// # Errors
    /// The event or the name is invalid, or the output is too large.
    pub(crate) fn set_header(
        &mut self,
        event: u32,
        name: &str,
        value: Option<&str>,
    ) -> Result<(), Fault> {
        let event = self.index(event)?;
        let slot = self.text(value)?;
        let column = self.column(name)?;
        self.own(column)?[event] = slot;
        Ok(())
    }

    /// Writes or removes the header of all events, and replaces earlier writes.
    ///
    /// # Errors
    /// The name is invalid, or the output is too large.
    pub(crate) fn set_header_all(&mut self, name: &str, value: Option<&str>) -> Result<(), Fault> {
        let all = self.text(value)?;
        let column = self.column(name)?;
        let column = &mut self.columns[column];
        column.all = all;
        column.own.fill(Slot::Kept);
        Ok(())
    }

    /// Writes the header of consecutive events. `ends` has four little-endian bytes for each: the
    /// end of its value in `values`, and [`ABSENT`] to remove the header.
    ///
    /// # Errors
    /// An event, the name or an end is invalid, or the output is too large.
    pub(crate) fn set_headers(
        &mut self,
        first: u32,
        name: &str,
        (values, ends): (&str, &[u8]),
    ) -> Result<(), Fault> {
        let ends = ends.as_chunks::<4>().0;
        let first = first as usize;
        if first + ends.len() > self.events {
            let (last, events) = (first + ends.len(), self.events);
            return unusable(format!("it writes headers of {last} events, but has {events}"));
        }
        let Slot::Written(base, _) = self.text(Some(values))? else { return Ok(()) };
        let column = self.column(name)?;
        let own = &mut self.own(column)?[first..];
        let mut start = 0;
        for (slot, end) in own.iter_mut().zip(ends) {
            let end = u32::from_le_bytes(*end);
            let (until, is_absent) = (end & !ABSENT, end & ABSENT != 0);
            if values.get(start as usize..until as usize).is_none() {
                let bytes = values.len();
                return unusable(format!(
                    "a value of header {name:?} is from {start} to {until} of {bytes} bytes, or \
                     divides a character"
                ));
            }
            *slot = match is_absent {
                true => Slot::Removed,
                false => Slot::Written(base + start, base + until),
            };
            start = until;
        }
        Ok(())
    }

    /// Writes the body of an event.
    ///
    /// # Errors
    /// The event is invalid, or the output is too large.
    pub(crate) fn set_body(&mut self, event: u32, body: &[u8]) -> Result<(), Fault> {
        let event = self.index(event)?;
        if self.bodies.is_empty() {
            self.charge(self.events.saturating_mul(size_of::<Slot>()))?;
            self.bodies = vec![Slot::Kept; self.events];
        }
        self.charge(body.len())?;
        let start = self.body_bytes.len() as u32;
        self.body_bytes.extend_from_slice(body);
        self.bodies[event] = Slot::Written(start, self.body_bytes.len() as u32);
        Ok(())
    }

    /// Drops an event.
    ///
    /// # Errors
    /// The event is invalid, or was dropped or refused before.
    pub(crate) fn drop_event(&mut self, event: u32) -> Result<(), Fault> {
        self.set_fate(event, Fate::Dropped)
    }

    /// Refuses an event: it becomes a dead letter.
    ///
    /// # Errors
    /// The event is invalid, or was dropped or refused before.
    pub(crate) fn refuse_event(&mut self, event: u32, why: &str) -> Result<(), Fault> {
        self.set_fate(event, Fate::Refused)?;
        if self.reason.is_empty() {
            self.reason = reason(why);
        }
        Ok(())
    }

    /// Checks the answer of the call and the whole output. Afterwards the writes can be applied.
    ///
    /// # Errors
    /// The call has not processed all events, or the output is too large.
    pub(crate) fn finish(mut self, answer: i32) -> Result<Self, Fault> {
        if answer < 0 {
            return Err(Fault::Failed { code: answer, last_line: None });
        }
        if answer as usize != self.events && !mutant!("wasm_answer_unchecked") {
            let events = self.events;
            return unusable(format!("it has processed {answer} of {events} events"));
        }
        // A value for all events is stored once, but for each event if some have their own.
        let repeated = |column: &Column| match column.all {
            Slot::Written(start, end) if !column.own.is_empty() => (end - start) as usize,
            _ => 0,
        };
        let repeated: usize = self.columns.iter().map(repeated).sum();
        if !mutant!("wasm_repeated_not_counted") {
            self.charge(repeated.saturating_mul(self.events))?;
        }
        Ok(self)
    }

    /// Applies the writes to the events of the batch, and returns those that are kept. Moves
    /// refused events, as they were before, into `rejects`.
    pub(crate) fn apply(self, mut events: Events, rejects: &mut Rejects) -> Events {
        if self.fates.contains(&Fate::Refused) {
            let mut before = events.clone();
            let is_refused = |index: usize| self.fates.get(index) == Some(&Fate::Refused);
            rejects.take(&mut before, "refused", &self.reason, |event| is_refused(event.index()));
        }
        for column in &self.columns {
            self.apply_column(column, &mut events);
        }
        if !self.bodies.is_empty() {
            events.rewrite_bodies(|event, out| match self.bodies[event.index()] {
                Slot::Written(start, end) => {
                    out.extend_from_slice(&self.body_bytes[start as usize..end as usize]);
                    true
                }
                Slot::Kept | Slot::Removed => false,
            });
        }
        if !self.fates.is_empty() {
            events.retain(|event| self.fates[event.index()] == Fate::Kept);
        }
        events
    }

    fn apply_column(&self, column: &Column, events: &mut Events) {
        let name = &*column.name;
        if column.own.iter().all(|slot| *slot == Slot::Kept) {
            return match column.all {
                Slot::Kept => {}
                Slot::Removed => events.remove_header(name),
                Slot::Written(..) => {
                    let value = self.value(column.all, None).unwrap_or_default();
                    events.set_header(name, value, Existing::Replace);
                }
            };
        }
        let mut values = Values::default();
        for (slot, old) in column.own.iter().zip(events.values(name)) {
            let slot = if *slot == Slot::Kept { column.all } else { *slot };
            values.push(self.value(slot, old));
        }
        events.set_values(name, values);
    }

    fn value<'a>(&'a self, slot: Slot, old: Option<&'a str>) -> Option<&'a str> {
        match slot {
            Slot::Kept => old,
            Slot::Removed => None,
            Slot::Written(start, end) => Some(&self.texts[start as usize..end as usize]),
        }
    }

    fn set_fate(&mut self, event: u32, fate: Fate) -> Result<(), Fault> {
        let index = self.index(event)?;
        if self.fates.is_empty() {
            self.fates = vec![Fate::Kept; self.events];
        }
        if self.fates[index] != Fate::Kept {
            return unusable(format!("it drops or refuses event {event} twice"));
        }
        self.fates[index] = fate;
        Ok(())
    }

    /// Checks the index of an event.
    fn index(&self, event: u32) -> Result<usize, Fault> {
        match event as usize {
            index if index < self.events => Ok(index),
            _ if mutant!("wasm_index_unchecked") && self.events > 0 => Ok(0),
            _ => {
                let events = self.events;
                unusable(format!("it names event {event}, but has events 0 to {events} - 1"))
            }
        }
    }

    /// Counts bytes of output.
    fn charge(&mut self, bytes: usize) -> Result<(), Fault> {
        self.used = self.used.saturating_add(bytes as u64);
        match self.used > self.output_max.0 {
            true => Err(Fault::Oversized(self.output_max)),
            false => Ok(()),
        }
    }

    /// Stores a value. The output has less than 4 GiB, so offsets have 32 bits.
    fn text(&mut self, value: Option<&str>) -> Result<Slot, Fault> {
        let Some(value) = value else { return Ok(Slot::Removed) };
        self.charge(value.len())?;
        let start = self.texts.len() as u32;
        self.texts.push_str(value);
        Ok(Slot::Written(start, self.texts.len() as u32))
    }

    /// Returns the place of the column with this name.
    fn column(&mut self, name: &str) -> Result<usize, Fault> {
        if self.columns.get(self.last).is_some_and(|column| column.name == name) {
            return Ok(self.last);
        }
        let found = self.columns.iter().position(|column| column.name == name);
        self.last = match found {
            Some(at) => at,
            None => self.new_column(name)?,
        };
        Ok(self.last)
    }

    fn new_column(&mut self, name: &str) -> Result<usize, Fault> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            let bytes = name.len();
            return unusable(format!(
                "the name of a header has {bytes} bytes; it must have 1 to {NAME_BYTES_MAX}"
            ));
        }
        if self.columns.len() == NAMES_MAX {
            return unusable(format!("it writes more than {NAMES_MAX} different headers"));
        }
        self.charge(name.len())?;
        self.columns.push(Column { name: name.to_owned(), all: Slot::Kept, own: Vec::new() });
        Ok(self.columns.len() - 1)
    }

    /// Returns the slots of a column.
    fn own(&mut self, column: usize) -> Result<&mut [Slot], Fault> {
        if self.columns[column].own.is_empty() {
            self.charge(self.events.saturating_mul(size_of::<Slot>()))?;
            self.columns[column].own = vec![Slot::Kept; self.events];
        }
        Ok(&mut self.columns[column].own)
    }
}

#[cfg(test)]
mod tests;
