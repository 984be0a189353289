//! The position of a commit ledger in a table: properties that each append sets in the same commit
//! as its snapshot.
//!
//! | property | content |
//! |---|---|
//! | `aqueduct.ledger.ID` | the next entry of the ledger that the table lacks |
//! | `aqueduct.ledger.ID.from` | the first entry that belongs to the table |
//! | `aqueduct.ledger.ID.rows` | rows of the entries in between |
//!
//! `ID` is the identity of the ledger. The rows stay true when other programs rewrite the files, so
//! they prove a table whose files the ledger does not know any more.

use crate::TableError;
use crate::metadata::Table;

/// How far a ledger got in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The table has all entries below this one.
    pub number: u64,
    /// The appended rows; `None` if a version that did not count them made the first append.
    pub appended: Option<Appended>,
}

/// Rows that were appended to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The first entry that belongs to the table.
    pub from: u64,
    /// The rows of the entries from there to the number.
    pub rows: u64,
}

impl Position {
    /// Returns the property with the number of this ledger.
    pub fn property(ledger: impl std::fmt::Display) -> String {
        format!("aqueduct.ledger.{ledger}")
    }

    /// Reads the position from the properties of a table; `None` if the table has no entry of the
    /// ledger.
    ///
    /// # Errors
    /// A property is not a number.
    pub fn read(table: &Table, property: &str) -> Result<Option<Self>, TableError> {
        let Some(number) = table.number(property)? else { return Ok(None) };
        let from = table.number(&format!("{property}.from"))?;
        let rows = table.number(&format!("{property}.rows"))?;
        let appended = from.zip(rows).map(|(from, rows)| Appended { from, rows });
        Ok(Some(Self { number, appended }))
    }

    /// Returns the position after an append of `rows` rows, of the entries from `from` to `number`.
    /// `before` is the position in the loaded table.
    #[must_use]
    pub fn after(before: Option<Self>, (from, number): (u64, u64), rows: u64) -> Self {
        let appended = match before {
            None => Some(Appended { from, rows }),
            Some(Self { appended, .. }) => {
                appended.map(|it| Appended { rows: it.rows.saturating_add(rows), ..it })
            }
        };
        Self { number, appended }
    }

    /// Returns its properties.
    pub fn properties(&self, property: &str) -> Vec<(String, String)> {
        let mut properties = vec![(property.to_owned(), self.number.to_string())];
        if let Some(Appended { from, rows }) = self.appended {
            properties.push((format!("{property}.from"), from.to_string()));
            properties.push((format!("{property}.rows"), rows.to_string()));
        }
        properties
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::partition::new_spec;
    use crate::request::{NewSnapshot, create};
    use crate::schema::new_schema;
    use crate::versions::{committed, created};

    #[test]
    fn rows_are_added_up_in_the_commits_that_append_them() {
        let schema = new_schema(&[], &["day".to_owned()]);
        let request = create("t", "file:///t", &schema, &new_spec(&schema, &[]));
        let mut version = created(&request, "u", 1);
        let property = Position::property("00ff");
        // The first commit only claims the entries from 3 on.
        let appends = [((3, 3), 0), ((3, 5), 70), ((5, 9), 5)];
        for (n, (entries, rows)) in appends.into_iter().enumerate() {
            let table = Table::from_metadata(version.to_string().as_bytes()).unwrap();
            let before = Position::read(&table, &property).unwrap();
            let properties = Position::after(before, entries, rows).properties(&property);
            let new = NewSnapshot {
                id: n as i64 + 1,
                at_ms: 2,
                manifest_list: "l",
                manifests: &[],
                properties: &properties,
            };
            version = committed(&version, "", &table.commit(&new)).unwrap();
        }
        let table = Table::from_metadata(version.to_string().as_bytes()).unwrap();
        let appended = Some(Appended { from: 3, rows: 75 });
        let expected = Position { number: 9, appended };
        assert_eq!(Position::read(&table, &property).unwrap(), Some(expected));
        assert_eq!(Position::read(&table, "aqueduct.ledger.01").unwrap(), None);
    }

    #[test]
    fn rows_of_a_table_of_an_older_version_stay_unknown() {
        let schema = new_schema(&[], &["day".to_owned()]);
        let request = create("t", "file:///t", &schema, &new_spec(&schema, &[]));
        let mut version = created(&request, "u", 1);
        version["properties"] = json!({"aqueduct.ledger.00": "7"});
        let table = Table::from_metadata(version.to_string().as_bytes()).unwrap();
        let before = Position::read(&table, "aqueduct.ledger.00").unwrap();
        assert_eq!(before, Some(Position { number: 7, appended: None }));
        let after = Position::after(before, (7, 8), 10);
        assert_eq!(after, Position { number: 8, appended: None });
        assert_eq!(after.properties("p"), [("p".to_owned(), "8".to_owned())]);
    }
}
