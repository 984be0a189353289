//! Reads the existing rows, consistent with a position of the log.
//!
//! ```text
//!   MariaDB   START TRANSACTION WITH CONSISTENT SNAPSHOT ──► binlog_snapshot_file, …_position
//!
//!   MySQL     LOCK TABLES … READ ─────────────────────── SHOW BINARY LOG STATUS ── UNLOCK TABLES
//!                    └─ START TRANSACTION WITH CONSISTENT SNAPSHOT ─┘
//!
//!   channel   position "snapshot" ── rows ── rows ── position "changes, from that place"
//! ```
//!
//! MariaDB returns snapshot and position together, without a lock. For MySQL, a second connection
//! locks the captured tables for that moment.
//!
//! A snapshot lives as long as its connection. An unfinished one starts again, and sends a
//! `truncate` event for each table, which makes the earlier rows void.

use std::time::Duration;

use kit::follow::Puts;
use mysql_async::prelude::Queryable;
use pipeline::SourceError;
use pipeline::env::unix_millis;
use tokio::time::timeout;

use super::super::Changes;
use super::super::assemble::{Change, ChangePosition, Column, Gather, Table};
use super::super::change::{Cell, Lsn};
use super::super::position::{Part, Phase, State};
use super::server::Server;
use crate::dialect::Dialect;
use crate::error::{SqlError, failed, refused};
use crate::meaning::Meaning;
use crate::mysql;

/// Added to a statement's timeout for each row.
const ANSWER: Duration = Duration::from_secs(10);

impl Changes {
    /// Takes a position in the log, and stores the existing rows. Returns where changes begin.
    ///
    /// # Errors
    /// An error of the database or the channel.
    pub(in crate::changes) async fn snapshot_of_log(
        &mut self,
        mut state: State,
        is_void: bool,
        puts: &mut Puts,
    ) -> Result<State, SourceError> {
        state.phase = Phase::Snapshot { has_rows: is_void };
        (state.done, state.log) = (Lsn(0), None);
        self.store(&mut Gather::default(), &mut state, puts).await?;
        let options = self.options.clone();
        let mut server = Server::open(&options.target).await.map_err(failed)?;
        let (begin, log) = server.snapshot(&options).await.map_err(failed)?;
        if options.snapshot || is_void {
            self.rows_of_log(&mut server, &mut state, begin, puts).await?;
        }
        state.phase = Phase::Changes;
        (state.done, state.part, state.log) = (begin, None, Some(log));
        self.store(&mut Gather::default(), &mut state, puts).await?;
        tracing::info!(source = %self.name, lsn = %begin, "reading changes");
        Ok(state)
    }

    /// Reads every row of every table.
    async fn rows_of_log(
        &mut self,
        server: &mut Server,
        state: &mut State,
        begin: Lsn,
        puts: &mut Puts,
    ) -> Result<(), SourceError> {
        let is_void = state.phase == Phase::Snapshot { has_rows: true };
        let millis = unix_millis(self.env.clock.now()) as i64;
        // The first transaction comes later: its GTID is in between.
        let mut at = ChangePosition { lsn: begin, change: 0, xid: None, millis };
        if let Some(part) = state.part.filter(|part| part.commit == begin) {
            // An earlier snapshot at the same position has used these numbers.
            at.change = part.changes;
        }
        let mut gather = Gather::default();
        state.phase = Phase::Snapshot { has_rows: true };
        let options = self.options.clone();
        let address = options.target.address.clone();
        let limit = options.target.statement_timeout + ANSWER;
        for (schema, name) in &options.tables {
            let quote = |name: &str| Dialect::Mysql.quote(name);
            let from = format!("{}.{}", quote(schema), quote(name));
            let columns = server.columns(&from).await.map_err(failed)?;
            let names: Vec<String> = columns.iter().map(|(name, _)| quote(name)).collect();
            let columns = columns.into_iter().map(|(name, is_key)| Column {
                name,
                is_key,
                meaning: Meaning::Native,
            });
            let table = Table::new(schema.clone(), name.clone(), columns.collect());
            if is_void {
                self.metrics.count_anomaly(&self.name, "snapshot_repeated", 1);
                gather.push(&table, Change::Truncate, at).map_err(refused)?;
                at.change += 1;
            }
            let broken = |error| failed(SqlError::mysql(&address, &error));
            let silent = |_| failed(SqlError::Silent { address: address.clone(), limit });
            let text = format!("SELECT {} FROM {from}", names.join(", "));
            let rows = timeout(limit, server.connection.exec_iter(text, ())).await;
            let mut rows = rows.map_err(silent)?.map_err(broken)?;
            loop {
                let next = timeout(limit, rows.next()).await;
                let Some(row) = next.map_err(silent)?.map_err(broken)? else { break };
                let row = mysql::values(row).into_iter().map(Cell::Value).collect();
                gather.push(&table, Change::Snapshot(row), at).map_err(refused)?;
                at.change += 1;
                if gather.is_full(options.batch_bytes, puts.batch_bytes_max()) {
                    state.part = Some(Part { commit: begin, changes: at.change });
                    self.store(&mut gather, state, puts).await?;
                }
            }
        }
        if !gather.is_empty() {
            state.part = Some(Part { commit: begin, changes: at.change });
            self.store(&mut gather, state, puts).await?;
        }
        tracing::info!(source = %self.name, rows = at.change, "snapshot stored");
        Ok(())
    }
}
