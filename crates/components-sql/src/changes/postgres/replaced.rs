//! Detects tables that were replaced by another one with the same name. The publication still names
//! the earlier one, so that changes of the new one are missing.

use std::collections::BTreeMap;

use super::super::config::Options;
use super::catalog::{Catalog, misfit, quote, quoted};
use crate::error::SqlError;

/// Oids of the tables, by schema and name.
pub(in crate::changes) type Names = BTreeMap<(String, String), u32>;

impl Catalog {
    /// Returns the error for a table that is not, or no longer, published.
    pub(super) fn not_published(&self, options: &Options, schema: &str, table: &str) -> SqlError {
        let (name, slot, address) = (&options.publication, &options.slot, &self.target.address);
        let (table, publication) = (quoted(schema, table), quote(name));
        misfit(format!(
            "the publication `{name}` of {address} lacks the table {table}: it was dropped and \
             recreated, or renamed; run `ALTER PUBLICATION {publication} ADD TABLE {table}`; to \
             read its existing rows too, run `SELECT pg_drop_replication_slot('{slot}')` and set \
             `on_lost = \"snapshot\"`; or remove it from `tables`"
        ))
    }

    /// Returns each published table, or table with published partitions, with its oid.
    ///
    /// # Errors
    /// The connection fails.
    pub(super) async fn names(&self, publication: &String) -> Result<Names, SqlError> {
        let text = "SELECT n.nspname::text, c.relname::text, c.oid FROM pg_class c \
                    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE EXISTS (SELECT FROM \
                    pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid WHERE \
                    p.pubname = $1 AND r.prrelid = c.oid) OR EXISTS (SELECT FROM \
                    pg_publication_tables t WHERE t.pubname = $1 AND t.schemaname = n.nspname AND \
                    t.tablename = c.relname)";
        let rows = self.rows(text, &[publication]).await?;
        rows.iter()
            .map(|row| Ok(((self.get(row, 0)?, self.get(row, 1)?), self.get(row, 2)?)))
            .collect()
    }

    /// Checks that no captured table was replaced by another one with the same name. `known` are
    /// the tables as last seen.
    ///
    /// # Errors
    /// A table was replaced, with a hint; or the connection fails.
    pub(super) async fn not_replaced(
        &self,
        options: &Options,
        known: &mut Names,
    ) -> Result<(), SqlError> {
        let published = self.names(&options.publication).await?;
        if let Some((schema, table)) =
            options.tables.iter().find(|table| !published.contains_key(*table))
        {
            return Err(self.not_published(options, schema, table));
        }
        let text = "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                    WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')";
        for ((schema, table), before) in &*known {
            let now = match published.get(&(schema.clone(), table.clone())) {
                Some(now) => {
                    if now != before {
                        tracing::warn!(
                            publication = %options.publication, schema, table,
                            "a table was replaced by another one with the same name; rows from \
                             before it was published are not read: to read them, set `on_lost = \
                             \"snapshot\"` and drop the slot",
                        );
                    }
                    continue;
                }
                None => self.one(text, &[schema, table]).await?,
            };
            // A table that is merely no longer published was removed on purpose.
            let now = now.map(|row| self.get::<u32>(&row, 0)).transpose()?;
            if now.is_some_and(|now| now != *before) {
                return Err(self.not_published(options, schema, table));
            }
        }
        *known = published;
        Ok(())
    }
}
