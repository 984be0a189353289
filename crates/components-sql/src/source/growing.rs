//! The modes `append` and `modified`, for growing tables.
//!
//! ```text
//!   floor            cursor - overlap          cursor
//!     |  not read again  |  window: late rows    |  new rows  ->
//! ```
//!
//! A pass reads the window first, then the rows after the cursor. The database makes all
//! comparisons, because only it knows the order of values.

use kit::follow::Puts;
use pipeline::SourceError;
use tokio::time::Instant;

use super::gather::RowBatch;
use super::position::{self, STATE};
use super::rows::Rows;
use super::{Opened, Sql, failed, refused};
use crate::connection::Connection;
use crate::value::digest;

/// Maximum number of remembered rows in the window. With more rows, the window starts again.
const WINDOW_ROWS_MAX: usize = 100_000;

/// Interval between reports of rows with a time in the future.
const WARNED_EACH: std::time::Duration = std::time::Duration::from_secs(3600);

/// Do not keep connections during longer pauses: a middlebox may drop them.
const KEPT_MAX: std::time::Duration = std::time::Duration::from_secs(60);

impl Sql {
    /// Reads one or more passes.
    ///
    /// # Errors
    /// An error of the database or the channels.
    pub(super) async fn grow(
        &mut self,
        mut opened: Opened,
        puts: &mut Puts,
    ) -> Result<(), SourceError> {
        loop {
            if self.options.overlap.is_some() {
                self.late_rows(&mut opened, puts).await?;
            }
            self.new_rows(&mut opened, puts).await?;
            self.rows_ahead(&mut opened).await?;
            self.at_end();
            if self.options.once {
                tracing::info!(source = %self.name,
                    "the single pass is complete: all rows are stored");
                return Ok(());
            }
            tokio::time::sleep(self.options.interval).await;
            if self.options.interval > KEPT_MAX {
                let connection = Connection::open(&self.options.target).await;
                opened.connection = connection.map_err(failed)?;
            }
        }
    }

    /// Reads rows after the cursor, page by page.
    async fn new_rows(&mut self, opened: &mut Opened, puts: &mut Puts) -> Result<(), SourceError> {
        let rows_max = self.options.fetch_size;
        loop {
            let statement = opened.table.page(opened.state.cursor.as_ref(), None, rows_max);
            let target = &self.options.target;
            let reading = Rows::of(&mut opened.connection, target, &statement).await;
            let mut rows = reading.map_err(failed)?;
            let (mut gather, mut found) = (RowBatch::default(), 0);
            while let Some(row) = rows.row(&opened.table).await.map_err(failed)? {
                found += 1;
                gather.push(row, &self.options, &opened.encoder).map_err(failed)?;
                if gather.is_full(&self.options, opened.intake.batch_bytes_max()) {
                    opened.state.cursor.clone_from(&gather.last);
                    self.store((&mut opened.state, &mut opened.window), &mut gather, puts).await?;
                }
            }
            if !gather.is_empty() {
                opened.state.cursor.clone_from(&gather.last);
                self.store((&mut opened.state, &mut opened.window), &mut gather, puts).await?;
            }
            if found < rows_max {
                return Ok(());
            }
        }
    }

    /// Reports rows that are excluded because their time is after the database's clock.
    async fn rows_ahead(&mut self, opened: &mut Opened) -> Result<(), SourceError> {
        let Some(statement) = opened.table.ahead() else { return Ok(()) };
        let reading = Rows::of(&mut opened.connection, &self.options.target, &statement).await;
        let row = reading.map_err(failed)?.next().await.map_err(failed)?;
        let rows = row.and_then(|row| row.first()?.text().parse::<u64>().ok()).unwrap_or_default();
        self.ahead.set(rows as f64);
        let is_due = self.warned.is_none_or(|at| at.elapsed() >= WARNED_EACH);
        if rows > 0 && is_due {
            self.warned = Some(Instant::now());
            let column = self.options.order.first().map_or("", |name| &**name);
            tracing::warn!(
                source = %self.name, rows, column,
                "rows have a time in `check_column` after the clock of the database, so they are \
                 read later; correct these rows, or the clocks of the applications that write them",
            );
        }
        Ok(())
    }

    /// Reads rows of the window that were committed late.
    async fn late_rows(&mut self, opened: &mut Opened, puts: &mut Puts) -> Result<(), SourceError> {
        let (Some(overlap), Some(cursor)) = (self.options.overlap, opened.state.cursor.clone())
        else {
            return Ok(());
        };
        opened.window.begin();
        let (mut after, rows_max) = (None, self.options.fetch_size);
        let floor = opened.state.floor.clone();
        loop {
            let sides = (after.as_ref(), floor.as_ref());
            let statement = opened.table.window(sides, &cursor, overlap, rows_max);
            let target = &self.options.target;
            let reading = Rows::of(&mut opened.connection, target, &statement).await;
            let mut rows = reading.map_err(failed)?;
            let (mut gather, mut found) = (RowBatch::default(), 0);
            while let Some(row) = rows.row(&opened.table).await.map_err(failed)? {
                found += 1;
                after = Some(row.order.clone());
                if opened.window.is_stored(digest(&row.order)) {
                    continue;
                }
                gather.push(row, &self.options, &opened.encoder).map_err(failed)?;
                if gather.is_full(&self.options, opened.intake.batch_bytes_max()) {
                    self.store((&mut opened.state, &mut opened.window), &mut gather, puts).await?;
                }
            }
            if !gather.is_empty() {
                self.store((&mut opened.state, &mut opened.window), &mut gather, puts).await?;
            }
            if opened.state.floor != floor {
                // The window now starts at the cursor.
                return Ok(());
            }
            if found < rows_max {
                opened.window.end();
                return Ok(());
            }
        }
    }

    /// Stores a batch with its end position, in one write.
    async fn store(
        &mut self,
        (state, window): (&mut super::State, &mut super::Window),
        gather: &mut RowBatch,
        puts: &mut Puts,
    ) -> Result<(), SourceError> {
        let mut gathered = gather.finish();
        let mut positions = Vec::new();
        if self.options.overlap.is_some() {
            if window.len() + gathered.digests.len() > WINDOW_ROWS_MAX {
                state.floor.clone_from(&state.cursor);
                window.clear();
                self.window_cut();
            } else {
                positions = window.add(&self.name, &gathered.digests);
            }
            positions.extend(window.forget(&self.name));
        }
        state.number += 1;
        positions.push(position::stored(&self.name, STATE, state).map_err(refused)?);
        gathered.batch.envelope.positions = positions;
        self.put(gathered, puts).await;
        Ok(())
    }
}
