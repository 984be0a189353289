//! Creates the slot, and reads the existing rows, consistent with the slot's start.
//!
//! ```text
//!   replication   CREATE_REPLICATION_SLOT ──► consistent point, name of a snapshot
//!   catalog       BEGIN; SET TRANSACTION SNAPSHOT ──► every row as of that point
//!   channel       position "snapshot" ── rows ── rows ── position "changes, from that point"
//! ```
//!
//! The server starts to read its log before the consistent point, and does so on each start of the
//! stream. It may therefore know the definition of a table only from transactions that it has not
//! seen completely. If one of them alters or empties a table, the server may assign later rows to
//! the old table, or drop them. So the source drops a slot if a table was altered during its
//! creation.
//!
//! A snapshot lives as long as its connection. An unfinished one starts again with a new slot, and
//! sends a `truncate` event for each table, which makes the earlier rows void.

use std::pin::pin;
use std::time::Duration;

use futures::TryStreamExt;
use kit::follow::Puts;
use pipeline::SourceError;
use pipeline::env::unix_millis;
use tokio::time::timeout;
use tokio_postgres::SimpleQueryMessage;

use super::super::Changes;
use super::super::assemble::{Change, ChangePosition, Gather, Table};
use super::super::change::{Cell, Lsn};
use super::super::position::{Phase, State};
use super::catalog::{Catalog, Published, quoted};
use super::wire::Replication;
use crate::dialect::Dialect;
use crate::error::{SqlError, failed, refused};

/// Added to a statement's timeout for each row.
const ANSWER: Duration = Duration::from_secs(10);

impl Changes {
    /// Creates the slot, and stores the existing rows. Returns where changes begin.
    ///
    /// # Errors
    /// An error of the database or the channel.
    pub(in crate::changes) async fn snapshot(
        &mut self,
        mut state: State,
        is_void: bool,
        puts: &mut Puts,
    ) -> Result<State, SourceError> {
        // From here on, an existing slot belongs to this source.
        state.phase = Phase::Snapshot { has_rows: is_void };
        (state.done, state.part) = (Lsn(0), None);
        self.store(&mut Gather::default(), &mut state, puts).await?;
        let options = self.options.clone();
        let mut catalog = Catalog::open(&options.target).await.map_err(failed)?;
        if catalog.slot(&options.slot).await.map_err(failed)?.is_some() {
            catalog.drop_slot(&options.slot).await.map_err(failed)?;
        }
        let mut replication = Replication::open(&options.target).await.map_err(failed)?;
        let made = self.make_slot(&mut catalog, &mut replication).await.map_err(failed)?;
        let (begin, snapshot) = made;
        if options.snapshot || is_void {
            // The snapshot exists while the replication connection is idle.
            let sql = format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
                 SET TRANSACTION SNAPSHOT '{snapshot}'; SET LOCAL statement_timeout = 0"
            );
            let begun = catalog.postgres.client.batch_execute(&sql).await;
            begun.map_err(|error| failed(SqlError::postgres(&options.target.address, &error)))?;
            drop(replication);
            self.rows(&mut catalog, &mut state, begin, puts).await?;
        }
        state.phase = Phase::Changes;
        state.done = begin;
        self.store(&mut Gather::default(), &mut state, puts).await?;
        tracing::info!(source = %self.name, slot = %options.slot, lsn = %begin, "reading changes");
        Ok(state)
    }

    /// Creates a slot. Returns its consistent point and the name of its snapshot.
    async fn make_slot(
        &self,
        catalog: &mut Catalog,
        wire: &mut Replication,
    ) -> Result<(Lsn, String), SqlError> {
        let (slot, publication) = (&self.options.slot, &self.options.publication);
        let before = catalog.shapes(publication).await?;
        let text = format!("CREATE_REPLICATION_SLOT {slot} LOGICAL pgoutput EXPORT_SNAPSHOT");
        let rows = wire.command(&text).await?;
        if let Some(table) = altered(&before, catalog.shapes(publication).await?) {
            catalog.drop_slot(slot).await?;
            return Err(SqlError::Altered { table, slot: slot.clone() });
        }
        let mut row = rows.into_iter().next().unwrap_or_default().into_iter().skip(1).flatten();
        match (row.next().as_deref().and_then(Lsn::read), row.next()) {
            (Some(begin), Some(snapshot)) => Ok((begin, snapshot)),
            _ => {
                let problem = format!(
                    "the server created the slot `{slot}` without a log position; drop it with \
                     `SELECT pg_drop_replication_slot('{slot}')`"
                );
                Err(SqlError::Misfit { problem })
            }
        }
    }

    /// Reads every row of every table.
    async fn rows(
        &mut self,
        catalog: &mut Catalog,
        state: &mut State,
        begin: Lsn,
        puts: &mut Puts,
    ) -> Result<(), SourceError> {
        let is_void = state.phase == Phase::Snapshot { has_rows: true };
        let millis = unix_millis(self.env.clock.now()) as i64;
        let mut at = ChangePosition { lsn: begin, change: 0, xid: None, millis };
        let mut gather = Gather::default();
        state.phase = Phase::Snapshot { has_rows: true };
        let publication = self.options.publication.clone();
        for published in catalog.published(&publication).await.map_err(failed)? {
            let columns = catalog.columns(&publication, &published).await.map_err(failed)?;
            let names: Vec<String> =
                columns.iter().map(|it| Dialect::Postgres.quote(&it.name)).collect();
            let text = select(&published, &names);
            let table = Table::new(published.schema, published.name, columns);
            if is_void {
                self.metrics.count_anomaly(&self.name, "snapshot_repeated", 1);
                gather.push(&table, Change::Truncate, at).map_err(refused)?;
                at.change += 1;
            }
            let address = self.options.target.address.clone();
            let limit = self.options.target.statement_timeout + ANSWER;
            let broken = |error| failed(SqlError::postgres(&address, &error));
            let rows = catalog.postgres.client.simple_query_raw(&text).await.map_err(broken)?;
            let mut rows = pin!(rows);
            loop {
                let next = timeout(limit, rows.try_next()).await;
                let silent = |_| failed(SqlError::Silent { address: address.clone(), limit });
                let Some(message) = next.map_err(silent)?.map_err(broken)? else { break };
                let SimpleQueryMessage::Row(row) = message else { continue };
                let cell = |at| row.get(at).map_or(Cell::Null, |text| Cell::Text(text.to_owned()));
                let row = (0..row.len()).map(cell).collect();
                gather.push(&table, Change::Snapshot(row), at).map_err(refused)?;
                at.change += 1;
                if gather.is_full(self.options.batch_bytes, puts.batch_bytes_max()) {
                    self.store(&mut gather, state, puts).await?;
                }
            }
        }
        if !gather.is_empty() {
            self.store(&mut gather, state, puts).await?;
        }
        tracing::info!(source = %self.name, rows = at.change, "snapshot stored");
        Ok(())
    }
}

/// Returns a table that was altered or created in between.
fn altered(before: &[(String, String)], after: Vec<(String, String)>) -> Option<String> {
    let gone = before.iter().find(|(name, _)| !after.iter().any(|(there, _)| there == name));
    let gone = gone.map(|(name, _)| name.clone());
    after.into_iter().find(|shape| !before.contains(shape)).map(|(name, _)| name).or(gone)
}

/// Selects all rows of a table, without tables that inherit from it: those are published
/// themselves.
fn select(table: &Published, names: &[String]) -> String {
    let only = if table.is_partitioned { "" } else { "ONLY " };
    let filter = table.filter.as_ref().map(|filter| format!(" WHERE {filter}"));
    let (names, from) = (names.join(", "), quoted(&table.schema, &table.name));
    format!("SELECT {names} FROM {only}{from}{}", filter.unwrap_or_default())
}
