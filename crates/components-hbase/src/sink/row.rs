//! Maps an event to a row.

use std::collections::BTreeMap;

use formats::json;
use pipeline::{Batch, EventRef};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::template::{Body, Format, Missing, Template};
use crate::proto::{ColumnValue, INCREMENT, Mutation, PUT, QualifierValue};

/// Maximum length of an HBase row key, in bytes.
const KEY_BYTES_MAX: usize = i16::MAX as usize;

/// A column: its family and its qualifier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Column {
    pub(super) family: String,
    pub(super) qualifier: String,
}

impl Column {
    /// Parses `family:qualifier`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (family, qualifier) = text.split_once(':')?;
        let (family, qualifier) = (family.to_owned(), qualifier.to_owned());
        (!family.is_empty()).then_some(Self { family, qualifier })
    }
}

/// The mapping of events to rows, from the settings.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) format: Format,
    pub(super) row_key: Template,
    pub(super) columns: Vec<(Column, Template)>,
    pub(super) header_family: Option<String>,
    pub(super) field_family: Option<String>,
    /// Whether an event is written as a row, and not only counted.
    pub(super) has_puts: bool,
    pub(super) timestamp_header: Option<String>,
    /// HBase's number of the durability.
    pub(super) durability: i32,
    pub(super) counters: Vec<Counting>,
}

/// A column that is incremented for each event.
#[derive(Debug)]
pub(super) struct Counting {
    pub(super) row: Template,
    pub(super) column: Column,
    pub(super) by: i64,
}

/// Increments of the counters, by row and index of the counter.
pub(super) type Counts = BTreeMap<(Vec<u8>, usize), i64>;

/// The name of a batch, from which the ids of its events are derived.
pub(super) struct BatchName(Vec<u8>);

impl BatchName {
    /// Uses the batch's identity, which is the same for repetitions, or random bytes without one.
    pub(super) fn new(batch: &Batch, chance: impl FnOnce() -> [u8; 16]) -> Self {
        Self(match &batch.envelope.identity {
            Some(identity) => {
                let numbers = [identity.epoch.0.to_be_bytes(), identity.sequence.0.to_be_bytes()];
                [&identity.origin.0[..], &numbers.concat()].concat()
            }
            None => chance().to_vec(),
        })
    }

    /// Returns the id of an event, formatted as a UUID.
    pub(super) fn id(&self, place: usize) -> String {
        let hash = xxh3_128(&[&self.0[..], &(place as u64).to_be_bytes()].concat());
        let hex = format!("{hash:032x}");
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }

    /// Returns the nonce for an increment of a row, never 0.
    fn nonce(&self, row: &[u8], counter: usize) -> u64 {
        xxh3_64(&[&self.0[..], &counter.to_be_bytes(), row].concat()).max(1)
    }

    /// Returns the nonce group of all its increments.
    pub(super) fn nonce_group(&self) -> u64 {
        xxh3_64(&self.0).max(1)
    }
}

/// Adds a cell to its family.
fn add(cells: &mut Vec<ColumnValue>, family: &str, qualifier: &str, value: Vec<u8>) {
    let cell = QualifierValue { qualifier: Some(qualifier.into()), value: Some(value) };
    match cells.iter_mut().find(|of| of.family == family.as_bytes()) {
        Some(of) => of.qualifier_value.push(cell),
        None => cells.push(ColumnValue { family: family.into(), qualifier_value: vec![cell] }),
    }
}

impl Mapping {
    /// Converts an event to a row.
    ///
    /// # Errors
    /// The event cannot be converted, and why.
    pub(super) fn put(&self, event: EventRef<'_>, id: &str) -> Result<Mutation, String> {
        let body = self.format.read(event.body())?;
        let row = self.row_key.render(event, &body, id);
        let row = row.map_err(|Missing(what)| {
            format!(
                "`row_key` needs {what}, which the event does not have; set it with an \
                 interceptor, or change `row_key`"
            )
        })?;
        if row.is_empty() || row.len() > KEY_BYTES_MAX {
            let (bytes, max) = (row.len(), KEY_BYTES_MAX);
            return Err(format!(
                "the row key of the event has {bytes} bytes, but HBase accepts 1 to {max}; change \
                 `row_key`"
            ));
        }
        let mut cells = Vec::new();
        for (Column { family, qualifier }, template) in &self.columns {
            // If the event lacks the value, the cell is omitted.
            if let Ok(value) = template.render(event, &body, id) {
                add(&mut cells, family, qualifier, value);
            }
        }
        if let Some(family) = &self.header_family {
            event.headers().for_each(|(name, value)| add(&mut cells, family, name, value.into()));
        }
        if let (Some(family), Body::Json(fields)) = (&self.field_family, &body) {
            for (name, raw) in fields {
                if let Some(text) = json::text(raw) {
                    add(&mut cells, family, name, text.into_owned().into());
                }
            }
        }
        if cells.is_empty() {
            return Err(
                "the event has no value for any column of `columns`; correct the event, or \
                 `columns`"
                    .to_owned(),
            );
        }
        Ok(Mutation {
            row: Some(row),
            mutate_type: Some(PUT),
            column_value: cells,
            timestamp: self.timestamp(event)?,
            durability: Some(self.durability),
            nonce: None,
        })
    }

    fn timestamp(&self, event: EventRef<'_>) -> Result<Option<u64>, String> {
        let Some(name) = &self.timestamp_header else { return Ok(None) };
        let value = event.header(name).ok_or_else(|| {
            format!(
                "the event has no header `{name}` (`timestamp_header`); set it with an \
                 interceptor, or remove `timestamp_header`"
            )
        })?;
        let is_time = |time: &u64| *time < i64::MAX as u64;
        let time = value.parse().ok().filter(is_time);
        let problem = || {
            format!(
                "header `{name}` is `{value}`, not a time in milliseconds since 1970; set it with \
                 the interceptor `event_time`, or change `timestamp_header`"
            )
        };
        time.map(Some).ok_or_else(problem)
    }

    /// Counts a written event.
    pub(super) fn count(&self, event: EventRef<'_>, counts: &mut Counts) {
        let Ok(body) = self.format.read(event.body()) else { return };
        for (place, counter) in self.counters.iter().enumerate() {
            // An event without the row key is not counted there.
            if let Ok(row) = counter.row.render(event, &body, "")
                && (1..=KEY_BYTES_MAX).contains(&row.len())
            {
                let count = counts.entry((row, place)).or_default();
                *count = count.wrapping_add(counter.by);
            }
        }
    }

    /// Returns the increments of the counters.
    pub(super) fn increments(&self, counts: Counts, name: &BatchName) -> Vec<Mutation> {
        let increment = |((row, place), by): ((Vec<u8>, usize), i64)| {
            let Column { family, qualifier } = &self.counters[place].column;
            let mut cells = Vec::new();
            add(&mut cells, family, qualifier, by.to_be_bytes().into());
            let nonce = name.nonce(&row, place);
            Mutation {
                row: Some(row),
                mutate_type: Some(INCREMENT),
                column_value: cells,
                timestamp: None,
                durability: Some(self.durability),
                nonce: Some(nonce),
            }
        };
        counts.into_iter().map(increment).collect()
    }
}

#[cfg(test)]
mod tests {
    use pipeline::{BatchBuilder, Epoch, Identity, Origin, Sequence};

    use super::*;

    fn mapping(row_key: &str, columns: &[(&str, &str)]) -> Mapping {
        let template = |text: &str| Template::parse(text, None).unwrap();
        let of = |(column, text): &(&str, &str)| (Column::parse(column).unwrap(), template(text));
        Mapping {
            format: Format::Json,
            row_key: template(row_key),
            columns: columns.iter().map(of).collect(),
            header_family: None,
            field_family: None,
            has_puts: true,
            timestamp_header: None,
            durability: 0,
            counters: vec![Counting {
                row: template("n-%[k]"),
                column: Column::parse("c:n").unwrap(),
                by: 2,
            }],
        }
    }

    fn batch(bodies: &[&str], sequence: u64) -> Batch {
        let mut builder = BatchBuilder::default();
        bodies.iter().for_each(|body| builder.push(body.as_bytes(), &[("h", "1"), ("at", "77")]));
        let mut batch = builder.finish();
        let (origin, epoch) = (Origin([1; 16]), Epoch(1));
        batch.envelope.identity = Some(Identity { origin, epoch, sequence: Sequence(sequence) });
        batch
    }

    /// Returns `family:qualifier=value` of each cell.
    fn cells(mapping: &Mapping, body: &str) -> Result<Vec<String>, String> {
        let batch = batch(&[body], 0);
        let put = mapping.put(batch.iter().next().unwrap(), "ID")?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let of = |family: &ColumnValue| {
            let name = text(&family.family);
            let of = |cell: &QualifierValue| {
                let (qualifier, value) = (cell.qualifier.as_ref(), cell.value.as_ref());
                format!("{name}:{}={}", text(qualifier.unwrap()), text(value.unwrap()))
            };
            family.qualifier_value.iter().map(of).collect::<Vec<_>>()
        };
        Ok(put.column_value.iter().flat_map(of).collect())
    }

    #[test]
    fn cells_are_those_that_the_event_has_values_for() {
        let mut mapping = mapping("%[k]", &[("a:k", "%[k]"), ("b:x", "%[x]"), ("a:b:c", "%{h}")]);
        assert_eq!(cells(&mapping, r#"{"k":"1"}"#).unwrap(), ["a:k=1", "a:b:c=1"]);
        mapping.columns.clear();
        let error = cells(&mapping, r#"{"k":"1"}"#).unwrap_err();
        assert!(error.contains("for any column"), "{error}");
        (mapping.header_family, mapping.field_family) = (Some("h".into()), Some("f".into()));
        let all = cells(&mapping, r#"{"k":1.0,"n":null}"#).unwrap();
        assert_eq!(all, ["h:h=1", "h:at=77", "f:k=1.0"]);
    }

    #[test]
    fn reports_why_an_event_has_no_row() {
        let mut mapping = mapping("%[k]", &[("a:k", "x")]);
        let long = format!(r#"{{"k":"{}"}}"#, "k".repeat(KEY_BYTES_MAX + 1));
        for (body, expected) in [
            ("{}", "`row_key` needs field `k`, which the event does not have"),
            (r#"{"k":""}"#, "has 0 bytes"),
            (&*long, "has 32768 bytes"),
            ("x", "not a JSON object"),
        ] {
            let error = cells(&mapping, body).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        for (header, expected) in [("h2", "no header `h2`"), ("host", "no header")] {
            mapping.timestamp_header = Some(header.to_owned());
            assert!(cells(&mapping, r#"{"k":"1"}"#).unwrap_err().contains(expected));
        }
        mapping.timestamp_header = Some("at".to_owned());
        let batch = batch(&[r#"{"k":"1"}"#], 0);
        assert_eq!(mapping.put(batch.iter().next().unwrap(), "").unwrap().timestamp, Some(77));
    }

    #[test]
    fn a_batch_that_comes_again_has_the_ids_and_nonces_that_it_had() {
        let name = |sequence| BatchName::new(&batch(&["{}"], sequence), || unreachable!());
        assert_eq!(name(1).id(0), name(1).id(0));
        assert_eq!(name(1).id(0).len(), 36);
        assert_ne!(name(1).id(0), name(1).id(1));
        assert_ne!(name(1).id(0), name(2).id(0));
        assert_eq!(name(1).nonce(b"r", 0), name(1).nonce(b"r", 0));
        assert_ne!(name(1).nonce(b"r", 0), name(2).nonce(b"r", 0));
        assert_ne!(name(1).nonce(b"r", 0), name(1).nonce(b"r", 1));
        let without = BatchName::new(&Batch::of(["x"]), || [7; 16]);
        assert_eq!(without.id(0), BatchName(vec![7; 16]).id(0));
    }

    #[test]
    fn a_counter_is_raised_once_for_a_row_by_all_of_its_events() {
        let mapping = mapping("%[k]", &[]);
        let batch = batch(&[r#"{"k":"a"}"#, r#"{"k":"b"}"#, r#"{"k":"a"}"#, "{}"], 3);
        let (name, mut counts) = (BatchName::new(&batch, || [0; 16]), Counts::new());
        batch.iter().for_each(|event| mapping.count(event, &mut counts));
        let raised: Vec<_> = mapping
            .increments(counts, &name)
            .into_iter()
            .map(|it| {
                (it.row.unwrap(), it.column_value[0].qualifier_value[0].value.clone().unwrap())
            })
            .collect();
        let by = |by: i64| by.to_be_bytes().to_vec();
        assert_eq!(raised, [(b"n-a".to_vec(), by(4)), (b"n-b".to_vec(), by(2))]);
    }
}
