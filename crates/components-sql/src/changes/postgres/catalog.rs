//! Queries about the database: whether changes can be read, the publication, the slot, tables and
//! types.

use std::collections::HashMap;

use tokio_postgres::types::{FromSqlOwned, ToSql, Type};

use super::super::assemble::Column;
use super::super::change::Lsn;
use super::super::config::Options;
use super::slot::Slot;
use crate::connection::{Connection, Postgres};
use crate::database::Target;
use crate::dialect::Dialect;
use crate::error::SqlError;
use crate::meaning::{Element, Meaning};

/// The first version with `pgoutput`.
const VERSION_MIN: i32 = 100_000;
/// The first version with generated columns.
const GENERATED: i32 = 120_000;

/// A connection for queries.
pub(super) struct Catalog {
    pub(super) postgres: Postgres,
    pub(super) target: Target,
    version: i32,
    meanings: HashMap<u32, Meaning>,
}

/// A table of the publication.
pub(super) struct Published {
    pub(super) id: u32,
    pub(super) schema: String,
    pub(super) name: String,
    /// Its rows are in partitions, which are not published themselves.
    pub(super) is_partitioned: bool,
    /// Filter condition for rows.
    pub(super) filter: Option<String>,
}

type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

pub(super) fn misfit(problem: String) -> SqlError {
    SqlError::Misfit { problem }
}

pub(super) fn quote(name: &str) -> String {
    Dialect::Postgres.quote(name)
}

/// Returns a quoted table name.
pub(super) fn quoted(schema: &str, name: &str) -> String {
    format!("{}.{}", quote(schema), quote(name))
}

impl Catalog {
    /// Connects, and checks that the server can send changes.
    ///
    /// # Errors
    /// It cannot, with a hint; or the connection fails.
    pub(super) async fn open(target: &Target) -> Result<Self, SqlError> {
        let Connection::Postgres(postgres) = Connection::open(target).await? else {
            return Err(misfit("the server is not PostgreSQL; correct `database.url`".to_owned()));
        };
        let (target, meanings) = (target.clone(), HashMap::new());
        let mut catalog = Self { postgres, target, version: 0, meanings };
        let row = catalog.one(
            "SELECT current_setting('wal_level'), current_setting('server_version_num')::int4, \
             pg_is_in_recovery()",
            &[],
        );
        let row = row.await?.ok_or_else(|| {
            misfit(
                "the server returned no settings for `wal_level`; check that `database.url` names \
                 PostgreSQL itself, not a proxy"
                    .to_owned(),
            )
        })?;
        let (level, is_standby): (String, bool) = (catalog.get(&row, 0)?, catalog.get(&row, 2)?);
        catalog.version = catalog.get(&row, 1)?;
        let address = &catalog.target.address;
        if catalog.version < VERSION_MIN {
            let problem = format!(
                "{address} is older than PostgreSQL 10, which is required; upgrade it, or read its \
                 tables with the source `sql`"
            );
            return Err(misfit(problem));
        }
        if is_standby {
            return Err(misfit(format!(
                "{address} is a standby; set `database.url` to the primary, which has the slot"
            )));
        }
        if level != "logical" {
            return Err(misfit(format!(
                "`wal_level` of {address} is `{level}`, but must be `logical`; run `ALTER SYSTEM \
                 SET wal_level = 'logical'` and restart the server"
            )));
        }
        Ok(catalog)
    }

    pub(super) async fn rows(
        &self,
        text: &str,
        parameters: Parameters<'_>,
    ) -> Result<Vec<tokio_postgres::Row>, SqlError> {
        let rows = self.postgres.client.query(text, parameters).await;
        rows.map_err(|error| SqlError::postgres(&self.target.address, &error))
    }

    pub(super) async fn one(
        &self,
        text: &str,
        parameters: Parameters<'_>,
    ) -> Result<Option<tokio_postgres::Row>, SqlError> {
        Ok(self.rows(text, parameters).await?.into_iter().next())
    }

    pub(super) fn get<T: FromSqlOwned>(
        &self,
        row: &tokio_postgres::Row,
        at: usize,
    ) -> Result<T, SqlError> {
        row.try_get(at).map_err(|error| SqlError::postgres(&self.target.address, &error))
    }

    /// Returns whether the query returns `true`.
    async fn holds(&self, text: &str, parameters: Parameters<'_>) -> Result<bool, SqlError> {
        let row = self.one(text, parameters).await?;
        row.map_or(Ok(false), |row| self.get(&row, 0))
    }

    /// Checks or creates the publication.
    ///
    /// # Errors
    /// It is missing and must not be created, lacks a table, or would do harm.
    pub(super) async fn publication(&self, options: &Options) -> Result<(), SqlError> {
        let (name, address) = (&options.publication, &self.target.address);
        let there = "SELECT EXISTS (SELECT FROM pg_publication WHERE pubname = $1)";
        let tables: Vec<String> =
            options.tables.iter().map(|(schema, table)| quoted(schema, table)).collect();
        let make = format!("CREATE PUBLICATION {} FOR TABLE {}", quote(name), tables.join(", "));
        if self.holds(there, &[name]).await? {
            let published = self.names(name).await?;
            let missing = options.tables.iter().find(|table| !published.contains_key(*table));
            return match missing {
                Some((schema, table)) => Err(self.not_published(options, schema, table)),
                None => Ok(()),
            };
        }
        if !options.create || tables.is_empty() {
            let make = match tables.is_empty() {
                true => format!("CREATE PUBLICATION {} FOR TABLE …", quote(name)),
                false => make,
            };
            return Err(misfit(format!(
                "{address} has no publication `{name}`; run `{make}`, or set `tables` and \
                 `create = true`"
            )));
        }
        for (schema, table) in &options.tables {
            self.check_identity(schema, table).await?;
        }
        let made = self.postgres.client.batch_execute(&make).await;
        made.map_err(|error| SqlError::postgres(address, &error))?;
        tracing::info!(publication = %name, "publication created");
        Ok(())
    }

    /// Checks that rows of the table have a replica identity. Without one, the database rejects
    /// updates and deletes by applications as soon as the table is published.
    async fn check_identity(&self, schema: &String, name: &String) -> Result<(), SqlError> {
        let text = "SELECT c.relreplident::text, EXISTS (SELECT FROM pg_index i WHERE \
                    i.indrelid = c.oid AND i.indisprimary) FROM pg_class c JOIN pg_namespace n ON \
                    n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2";
        let table = quoted(schema, name);
        let Some(row) = self.one(text, &[schema, name]).await? else {
            let problem = format!("{} has no table {table}; see `tables`", self.target.address);
            return Err(misfit(problem));
        };
        let (identity, has_key): (String, bool) = (self.get(&row, 0)?, self.get(&row, 1)?);
        match (&*identity, has_key) {
            ("f" | "i", _) | ("d", true) => Ok(()),
            _ => Err(misfit(format!(
                "the table {table} has no primary key: once it is published, the database rejects \
                 updates and deletes of its rows; add a primary key, or run `ALTER TABLE {table} \
                 REPLICA IDENTITY FULL`"
            ))),
        }
    }

    /// Returns the slot, if it exists.
    ///
    /// # Errors
    /// The connection fails.
    pub(super) async fn slot(&self, name: &String) -> Result<Option<Slot>, SqlError> {
        // Some columns were added in later versions.
        let text = "SELECT coalesce(s.plugin::text, ''), coalesce(s.database::text, ''), \
                    s.confirmed_flush_lsn::text, \
                    s.restart_lsn IS NULL OR coalesce(to_jsonb(s) ->> 'wal_status', '') = 'lost' \
                    OR to_jsonb(s) ->> 'invalidation_reason' IS NOT NULL \
                    FROM pg_replication_slots s WHERE s.slot_name = $1";
        let Some(row) = self.one(text, &[name]).await? else { return Ok(None) };
        let confirmed: Option<String> = self.get(&row, 2)?;
        Ok(Some(Slot {
            plugin: self.get(&row, 0)?,
            database: self.get(&row, 1)?,
            confirmed: confirmed.and_then(|text| Lsn::read(&text)).unwrap_or_default(),
            is_lost: self.get(&row, 3)?,
        }))
    }

    /// Drops the slot.
    ///
    /// # Errors
    /// It is in use, or the user may not drop it.
    pub(super) async fn drop_slot(&self, name: &String) -> Result<(), SqlError> {
        self.rows("SELECT pg_drop_replication_slot($1)", &[name]).await.map(drop)
    }

    /// Returns how many bytes the slot lags behind; `None` if it does not exist.
    ///
    /// # Errors
    /// The connection fails.
    pub(super) async fn lag(&self, name: &String) -> Result<Option<(i64, bool)>, SqlError> {
        let text = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), s.confirmed_flush_lsn)::int8, \
                    coalesce(to_jsonb(s) ->> 'wal_status', '') = 'unreserved' \
                    FROM pg_replication_slots s \
                    WHERE s.slot_name = $1 AND s.confirmed_flush_lsn IS NOT NULL";
        let Some(row) = self.one(text, &[name]).await? else { return Ok(None) };
        Ok(Some((self.get(&row, 0)?, self.get(&row, 1)?)))
    }

    /// Returns the tables of a publication.
    ///
    /// # Errors
    /// The connection fails.
    pub(super) async fn published(&self, name: &String) -> Result<Vec<Published>, SqlError> {
        let text = "SELECT c.oid, t.schemaname::text, t.tablename::text, c.relkind::text = 'p', \
                    to_jsonb(t) ->> 'rowfilter' FROM pg_publication_tables t \
                    JOIN pg_namespace n ON n.nspname = t.schemaname \
                    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename \
                    WHERE t.pubname = $1 ORDER BY 2, 3";
        let mut tables = Vec::new();
        for row in self.rows(text, &[name]).await? {
            tables.push(Published {
                id: self.get(&row, 0)?,
                schema: self.get(&row, 1)?,
                name: self.get(&row, 2)?,
                is_partitioned: self.get(&row, 3)?,
                filter: self.get(&row, 4)?,
            });
        }
        Ok(tables)
    }

    /// Returns each published table and partition: its name, and the transactions that last altered
    /// or emptied it. If two results are equal, no such transaction committed in between.
    ///
    /// # Errors
    /// The connection fails.
    pub(super) async fn shapes(&self, name: &String) -> Result<Vec<(String, String)>, SqlError> {
        let text = "WITH RECURSIVE tables AS (SELECT c.oid FROM pg_publication_tables t \
                    JOIN pg_namespace n ON n.nspname = t.schemaname \
                    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename \
                    WHERE t.pubname = $1 \
                    UNION SELECT i.inhrelid FROM pg_inherits i \
                    JOIN tables ON i.inhparent = tables.oid) \
                    SELECT c.oid::regclass::text, concat(c.oid, ' ', c.xmin, ' ', \
                    (SELECT string_agg(concat(a.attnum, ' ', a.xmin), ' ' ORDER BY a.attnum) \
                    FROM pg_attribute a WHERE a.attrelid = c.oid)) \
                    FROM pg_class c JOIN tables ON tables.oid = c.oid ORDER BY c.oid";
        let rows = self.rows(text, &[name]).await?;
        rows.iter().map(|row| Ok((self.get(row, 0)?, self.get(row, 1)?))).collect()
    }

    /// Returns the published columns of a table.
    ///
    /// # Errors
    /// The connection fails.
    pub(super) async fn columns(
        &mut self,
        publication: &String,
        table: &Published,
    ) -> Result<Vec<Column>, SqlError> {
        let generated = if self.version < GENERATED { "" } else { "AND a.attgenerated = ''" };
        let text = format!(
            "SELECT a.attname::text, a.atttypid, {KEY} FROM pg_attribute a JOIN pg_class c ON \
             c.oid = a.attrelid WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped \
             {generated} AND coalesce((SELECT to_jsonb(t) -> 'attnames' FROM \
             pg_publication_tables t WHERE t.pubname = $2 AND t.schemaname = $3 AND \
             t.tablename = $4) ? a.attname::text, true) ORDER BY a.attnum"
        );
        let rows = self.rows(&text, &[&table.id, publication, &table.schema, &table.name]).await?;
        let mut columns = Vec::new();
        for row in rows {
            let meaning = self.meaning(self.get(&row, 1)?).await?;
            columns.push(Column { name: self.get(&row, 0)?, is_key: self.get(&row, 2)?, meaning });
        }
        Ok(columns)
    }

    /// Returns the key columns of a table whose whole old rows are sent.
    ///
    /// # Errors
    /// The connection fails.
    pub(super) async fn key(&self, table: u32) -> Result<Vec<String>, SqlError> {
        let text = format!(
            "SELECT a.attname::text FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
             WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND {KEY}"
        );
        let rows = self.rows(&text, &[&table]).await?;
        rows.iter().map(|row| self.get(row, 0)).collect()
    }

    /// Returns how to interpret texts of a type.
    ///
    /// # Errors
    /// The connection fails.
    pub(super) async fn meaning(&mut self, kind: u32) -> Result<Meaning, SqlError> {
        if let Some(meaning) = known(kind) {
            return Ok(meaning);
        }
        if let Some(meaning) = self.meanings.get(&kind) {
            return Ok(meaning.clone());
        }
        let base = self.base(kind).await?;
        let text = "SELECT typelem, typcategory::text = 'A' AND typelem <> 0, typdelim::text \
                    FROM pg_type WHERE oid = $1";
        let meaning = match (known(base), self.one(text, &[&base]).await?) {
            (Some(meaning), _) => meaning,
            (None, Some(row)) if self.get(&row, 1)? => {
                let (element, sign): (u32, String) = (self.get(&row, 0)?, self.get(&row, 2)?);
                let element = Type::from_oid(self.base(element).await?);
                let element = element.map_or(Element::Text, |kind| Element::from_type(&kind));
                Meaning::Array(element, sign.chars().next().unwrap_or(','))
            }
            // An enumeration, a composite, or a dropped type.
            (None, _) => Meaning::Native,
        };
        self.meanings.insert(kind, meaning.clone());
        Ok(meaning)
    }

    /// Returns the base type of a domain, or the type itself.
    async fn base(&self, mut kind: u32) -> Result<u32, SqlError> {
        let text = "SELECT typbasetype FROM pg_type WHERE oid = $1 AND typtype = 'd'";
        while Type::from_oid(kind).is_none() {
            let Some(row) = self.one(text, &[&kind]).await? else { break };
            kind = self.get(&row, 0)?;
        }
        Ok(kind)
    }
}

/// Whether a column is part of the key: of the chosen index, or the primary key.
const KEY: &str = "EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND \
                   a.attnum = ANY (i.indkey) AND CASE c.relreplident WHEN 'i' THEN \
                   i.indisreplident ELSE i.indisprimary END)";

/// Returns the meaning of a built-in type.
pub(super) fn known(kind: u32) -> Option<Meaning> {
    Type::from_oid(kind).map(|kind| Meaning::from_type(&kind))
}
