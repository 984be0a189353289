//! Turns rows into events of a batch.

use ::rows::SCHEMA_HEADER;
use formats::rows::PROBLEM;
use peers::limits::Cut;
use pipeline::{Batch, BatchBuilder};

use super::body::{BodyEncoder, BodyHeaders};
use super::config::Options;
use super::rows::Row;
use crate::error::SqlError;
use crate::value::{Tuple, Value, digest};

/// A batch in progress.
#[derive(Default)]
pub(super) struct RowBatch {
    builder: BatchBuilder,
    body: Vec<u8>,
    /// Value of the header `key` of the last row.
    key: String,
    bytes: usize,
    /// The last row of the batch.
    pub(super) last: Option<Tuple>,
    /// Digests of its rows.
    pub(super) digests: Vec<u128>,
}

/// A batch to store in one write.
pub(super) struct Gathered {
    pub(super) batch: Batch,
    pub(super) rows: usize,
    /// Size of the bodies.
    pub(super) bytes: usize,
    pub(super) last: Option<Tuple>,
    pub(super) digests: Vec<u128>,
}

impl RowBatch {
    pub(super) fn is_empty(&self) -> bool {
        self.builder.is_empty()
    }

    /// Returns whether the batch has reached its size limit.
    pub(super) fn is_full(&self, options: &Options, batch_bytes_max: Option<u64>) -> bool {
        let cut = batch_bytes_max.map(Cut::within);
        let bytes = cut.as_ref().map_or(options.batch_bytes as u64, |cut| {
            cut.body_bytes.min(options.batch_bytes as u64)
        });
        self.bytes as u64 >= bytes || cut.is_some_and(|cut| self.builder.len() as u64 >= cut.events)
    }

    /// Adds a row.
    ///
    /// # Errors
    /// A value of the row is malformed.
    pub(super) fn push(
        &mut self,
        row: Row,
        options: &Options,
        encoder: &BodyEncoder,
    ) -> Result<(), SqlError> {
        let BodyHeaders { schema, problem } = encoder.encode(&row.values, &mut self.body)?;
        let timestamp = row.timestamp.map(|millis| millis.to_string());
        // The key is at the end of the order.
        let of_key = row.order.len() - options.key.len().min(row.order.len());
        self.key.clear();
        for (at, value) in row.order[of_key..].iter().enumerate() {
            self.key.push_str(if at > 0 { "," } else { "" });
            match value {
                Value::Text(text) | Value::Raw(text) => self.key.push_str(text),
                value => self.key.push_str(&value.text()),
            }
        }
        let mut headers: Vec<(&str, &str)> = Vec::new();
        headers.extend(options.table.as_deref().map(|table| ("table", table)));
        headers.extend((!options.key.is_empty()).then_some(("key", &*self.key)));
        headers.extend(timestamp.as_deref().map(|millis| ("timestamp", millis)));
        headers.extend(schema.as_deref().map(|schema| (SCHEMA_HEADER, schema)));
        headers.extend(problem.as_deref().map(|problem| (PROBLEM, problem)));
        self.builder.push(&self.body, &headers);
        self.bytes += self.body.len() + headers.iter().map(|(_, value)| value.len()).sum::<usize>();
        if options.overlap.is_some() {
            self.digests.push(digest(&row.order));
        }
        self.last = Some(row.order);
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Gathered {
        let Self { builder, bytes, last, digests, .. } = std::mem::take(self);
        let rows = builder.len();
        Gathered { batch: builder.finish(), rows, bytes, last, digests }
    }
}
