//! Fields of one event during parsing, and the columns that collect them.

use std::ops::Range;

use foldhash::{HashMap, HashMapExt};
use pipeline::Values;

use super::Config;

/// Maximum length of a field's name in bytes.
const NAME_MAX: usize = 255;

/// Fields of one event, in the order of its text; reused for the next event.
#[derive(Default)]
pub(super) struct Found {
    text: String,
    fields: Vec<Field>,
    /// Buffer for the name of a nested field, for the parser.
    pub(super) path: String,
}

struct Field {
    name: Range<usize>,
    value: Range<usize>,
    /// True if the value is a JSON value: a number, `true`, a list.
    is_json: bool,
}

impl Found {
    /// Removes all fields.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.fields.clear();
    }

    /// Adds a string field.
    pub(super) fn push(&mut self, name: &str, value: &str) {
        self.push_with(name, |out| out.push_str(value));
    }

    /// Adds a string field; `write` appends the value.
    pub(super) fn push_with(&mut self, name: &str, write: impl FnOnce(&mut String)) {
        self.add(name, write, false);
    }

    /// Adds a field whose value is JSON.
    pub(super) fn push_json(&mut self, name: &str, value: &str) {
        self.add(name, |out| out.push_str(value), true);
    }

    fn add(&mut self, name: &str, write: impl FnOnce(&mut String), is_json: bool) {
        let start = self.text.len();
        self.text.push_str(name);
        let middle = self.text.len();
        write(&mut self.text);
        self.fields.push(Field { name: start..middle, value: middle..self.text.len(), is_json });
    }

    /// Number of fields.
    pub(super) fn len(&self) -> usize {
        self.fields.len()
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str, bool)> {
        self.fields.iter().map(|field| {
            (&self.text[field.name.clone()], &self.text[field.value.clone()], field.is_json)
        })
    }

    /// Appends a JSON object with the selected fields.
    pub(super) fn write_json(&self, prefix: &str, taken: &[String], out: &mut Vec<u8>) {
        let start = out.len();
        for (name, value, is_json) in self.iter() {
            if !taken.is_empty() && !taken.iter().any(|one| one == name) {
                continue;
            }
            out.push(if out.len() == start { b'{' } else { b',' });
            write_text(prefix, name, out);
            out.push(b':');
            if is_json {
                out.extend_from_slice(value.as_bytes());
            } else {
                write_text("", value, out);
            }
        }
        if out.len() == start {
            out.push(b'{');
        }
        out.push(b'}');
    }
}

/// Appends the concatenation of two texts as one JSON string.
fn write_text(first: &str, second: &str, out: &mut Vec<u8>) {
    // Writing to a `Vec` cannot fail, and any string is valid JSON.
    let _ = serde_json::to_writer(&mut *out, first);
    if first.is_empty() {
        out.truncate(out.len() - 2);
        let _ = serde_json::to_writer(&mut *out, second);
        return;
    }
    out.pop();
    let quote = out.len();
    let _ = serde_json::to_writer(&mut *out, second);
    out.remove(quote);
}

/// Columns of a batch, by field name.
pub(super) struct Columns<'a> {
    config: &'a Config,
    columns: Vec<(String, Values)>,
    places: HashMap<String, usize>,
    left_out: u64,
}

impl<'a> Columns<'a> {
    pub(super) fn new(config: &'a Config) -> Self {
        Self { config, columns: Vec::new(), places: HashMap::new(), left_out: 0 }
    }

    /// Adds the fields of the event at `index`. The first value of a duplicate name counts.
    pub(super) fn take(&mut self, index: usize, found: &Found) {
        for (at, (name, value, _)) in found.iter().enumerate() {
            // Most events have the same fields in the same order as the event before.
            let is_next = self.columns.get(at).is_some_and(|(known, _)| known == name);
            let place = if is_next { Some(at) } else { self.place(name) };
            let Some(place) = place else { continue };
            let values = &mut self.columns[place].1;
            values.fill(index);
            if values.len() == index {
                values.push(Some(value));
            }
        }
    }

    /// Returns the index of a field's column; adds a column if there is room.
    fn place(&mut self, name: &str) -> Option<usize> {
        if let Some(place) = self.places.get(name) {
            return Some(*place);
        }
        let Config { fields, fields_max, .. } = self.config;
        if !fields.is_empty() && !fields.iter().any(|one| one == name) {
            return None;
        }
        let has_room = self.columns.len() < *fields_max;
        if !has_room || name.is_empty() || name.len() > NAME_MAX {
            self.left_out += 1;
            return None;
        }
        let place = self.columns.len();
        self.columns.push((name.to_owned(), Values::default()));
        self.places.insert(name.to_owned(), place);
        Some(place)
    }

    /// Returns the columns with their header names, and the number of omitted fields.
    pub(super) fn finish(self, events: usize) -> (Vec<(String, Values)>, u64) {
        let Self { config, mut columns, left_out, .. } = self;
        for (name, values) in &mut columns {
            values.fill(events);
            name.insert_str(0, &config.prefix);
        }
        (columns, left_out)
    }
}
