//! Order-independent sums of rows, and the rows in which two sets differ. Pure.
//!
//! ```text
//!   row ─► each value in one form ─► hash of all ─┬─► sum of all rows
//!           └─► hash of the key ─► one of 65,536 parts ─► sum of the part
//! ```
//!
//! Rows with the same key are in the same part on both sides. The first part with different sums
//! therefore contains a different row, and a second read of both sides finds it. This needs no
//! order of the keys, which only the database knows.

use std::collections::BTreeMap;

use components_sql::source::Kind;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Number of parts.
const PARTS: usize = 1 << 16;
/// Maximum number of rows reported for a part.
const NAMED_MAX: usize = 5;

/// The values of a row as text, in column order; `None` for NULL.
pub(super) type Values = Vec<Option<String>>;

/// The columns of both sides.
pub(super) struct Columns {
    pub(super) names: Vec<(String, Kind)>,
    /// Indexes of the key columns.
    pub(super) key: Vec<usize>,
    /// Whether the files have types. If so, values are normalized.
    pub(super) is_typed: bool,
}

/// Sums of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) rows: u64,
    pub(super) sum: u128,
    parts: Vec<(u64, u128)>,
}

impl Columns {
    /// Normalizes values so that both sides are equal.
    pub(super) fn canonical(&self, values: Values) -> Values {
        if !self.is_typed {
            return values;
        }
        let kinds = self.names.iter().map(|(_, kind)| *kind);
        values.into_iter().zip(kinds).map(|(it, kind)| it.map(|it| kind.canonical(it))).collect()
    }

    /// Returns the part of a row.
    pub(super) fn part(&self, values: &[Option<String>]) -> usize {
        let mut hash = Xxh3::new();
        self.key.iter().for_each(|at| add(&mut hash, values.get(*at).and_then(Option::as_deref)));
        (hash.digest() % PARTS as u64) as usize
    }

    /// Returns the name of a row for messages.
    fn name(&self, values: &[Option<String>]) -> String {
        let named = self.key.iter().map(|at| {
            let value = values.get(*at).cloned().flatten();
            format!("{} = {}", self.names[*at].0, value.as_deref().unwrap_or("NULL"))
        });
        named.collect::<Vec<_>>().join(", ")
    }
}

/// Hashes a value so that different rows never give the same bytes.
fn add(hash: &mut Xxh3, value: Option<&str>) {
    let length = value.map_or(u64::MAX, |value| value.len() as u64);
    hash.update(&length.to_le_bytes());
    hash.update(value.unwrap_or_default().as_bytes());
}

impl Sums {
    pub(super) fn new() -> Self {
        Self { rows: 0, sum: 0, parts: vec![(0, 0); PARTS] }
    }

    /// Adds a row in canonical form.
    pub(super) fn add(&mut self, columns: &Columns, values: &[Option<String>]) {
        let mut hash = Xxh3::new();
        values.iter().for_each(|value| add(&mut hash, value.as_deref()));
        let print = hash.digest128();
        self.rows += 1;
        self.sum = self.sum.wrapping_add(print);
        let part = &mut self.parts[columns.part(values)];
        *part = (part.0 + 1, part.1.wrapping_add(print));
    }

    /// Returns the parts that differ.
    pub(super) fn differing(&self, other: &Self) -> Vec<usize> {
        (0..PARTS).filter(|part| self.parts[*part] != other.parts[*part]).collect()
    }

    /// Formats the total sum.
    pub(super) fn shown(&self) -> String {
        format!("{:032x}", self.sum)
    }
}

/// The rows of one part of both sides, by name.
#[derive(Default)]
pub(super) struct Part(BTreeMap<String, [Vec<Print>; 2]>);

/// Hashes of the values of a row.
type Print = Vec<u64>;

/// A side of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Table,
    Files,
}

impl Part {
    /// Adds a row in canonical form.
    pub(super) fn add(&mut self, columns: &Columns, side: Side, values: &[Option<String>]) {
        let print = |value: &Option<String>| {
            // 0 is NULL: the lowest bit of every text hash is set.
            value.as_ref().map_or(0, |value| xxh3_64(value.as_bytes()) | 1)
        };
        let prints = values.iter().map(print).collect();
        self.0.entry(columns.name(values)).or_default()[side as usize].push(prints);
    }

    /// Describes the first rows that differ.
    pub(super) fn differing(mut self, columns: &Columns) -> Vec<String> {
        let mut found = Vec::new();
        for (name, sides) in &mut self.0 {
            sides.iter_mut().for_each(|rows| rows.sort());
            let [table, files] = &*sides;
            let what = match (&table[..], &files[..]) {
                (table, files) if table == files => continue,
                ([_, ..], []) => "the row is only in the table".to_owned(),
                ([], [_, ..]) => "the row is only in the files".to_owned(),
                ([table], [files]) => {
                    let names = columns.names.iter().zip(table.iter().zip(files));
                    let names = names.filter(|(_, (table, files))| table != files);
                    let names: Vec<_> = names.map(|((name, _), _)| format!("`{name}`")).collect();
                    format!("different value of {}", names.join(", "))
                }
                (table, files) => {
                    format!(
                        "{} times in the table, {} times in the files",
                        table.len(),
                        files.len()
                    )
                }
            };
            found.push(format!("{name}: {what}"));
            if found.len() == NAMED_MAX {
                break;
            }
        }
        found
    }
}

/// Returns the values of a JSON object from a row decoder, in order.
///
/// # Errors
/// The body is not an object, or does not have `columns` members.
pub(super) fn values(body: &[u8], columns: usize) -> Result<Values, String> {
    struct InOrder;
    impl<'de> Visitor<'de> for InOrder {
        type Value = Values;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Values, A::Error> {
            let mut values = Vec::new();
            while let Some((_, value)) = map.next_entry::<IgnoredAny, &RawValue>()? {
                values.push(match value.get() {
                    "null" => None,
                    raw if raw.starts_with('"') => {
                        Some(serde_json::from_str(raw).map_err(serde::de::Error::custom)?)
                    }
                    raw => Some(raw.to_owned()),
                });
            }
            Ok(values)
        }
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let values = json.deserialize_map(InOrder).map_err(|error| error.to_string())?;
    match values.len() == columns {
        true => Ok(values),
        false => {
            Err(format!("the row has {} values, but the table has {columns} columns", values.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Columns {
        let names = [("id", Kind::Int64), ("n", Kind::Decimal { precision: 9, scale: 2 })];
        let names = names.map(|(name, kind)| (name.to_owned(), kind)).to_vec();
        Columns { names, key: vec![0], is_typed: true }
    }

    fn row(id: &str, n: Option<&str>) -> Values {
        columns().canonical(vec![Some(id.to_owned()), n.map(str::to_owned)])
    }

    fn sums(rows: &[Values]) -> Sums {
        let mut sums = Sums::new();
        rows.iter().for_each(|row| sums.add(&columns(), row));
        sums
    }

    #[test]
    fn sums_are_those_of_the_rows_and_not_of_their_order() {
        let rows = [row("1", Some("1.50")), row("2", None), row("3", Some("")), row("3", None)];
        let mut others = rows.clone();
        others.reverse();
        assert_eq!(sums(&rows), sums(&others));
        others[3] = row("1", Some("1.5"));
        assert_eq!(sums(&rows), sums(&others), "the same number");
        for other in [row("1", Some("1.51")), row("1", None), row("11", Some("1.50"))] {
            others[3] = other;
            assert_ne!(sums(&rows).sum, sums(&others).sum);
            assert!(!sums(&rows).differing(&sums(&others)).is_empty());
        }
        // The same row twice must not cancel out.
        assert_ne!(sums(&[row("1", None), row("1", None)]).sum, sums(&[]).sum);
        // Value boundaries matter.
        let of = |a: &str, b: &str| sums(&[vec![Some(a.to_owned()), Some(b.to_owned())]]).sum;
        assert_ne!(of("ab", "c"), of("a", "bc"));
    }

    #[test]
    fn rows_that_differ_are_named_with_what_differs() {
        let columns = columns();
        let table = [row("1", None), row("2", Some("2")), row("3", None), row("4", None)];
        let files =
            [row("1", None), row("2", Some("3")), row("4", None), row("4", None), row("5", None)];
        let mut part = Part::default();
        table.iter().for_each(|row| part.add(&columns, Side::Table, row));
        files.iter().for_each(|row| part.add(&columns, Side::Files, row));
        let expected = [
            "id = 2: different value of `n`",
            "id = 3: the row is only in the table",
            "id = 4: 1 times in the table, 2 times in the files",
            "id = 5: the row is only in the files",
        ];
        assert_eq!(part.differing(&columns), expected);
    }

    #[test]
    fn an_object_has_its_values_in_their_order() {
        let body = br#"{"b":"x\"","a":null,"c":1.50,"d":{"e":[1]},"f":true}"#;
        let found = values(body, 5).unwrap();
        let expected = [Some("x\""), None, Some("1.50"), Some(r#"{"e":[1]}"#), Some("true")];
        assert_eq!(found, expected.map(|it| it.map(str::to_owned)));
        assert!(values(body, 4).unwrap_err().contains("has 5 values"));
        for body in ["\"{}\"", "[1]", "{\"a\":1", "x"] {
            assert!(values(body.as_bytes(), 1).is_err(), "{body}");
        }
    }
}
