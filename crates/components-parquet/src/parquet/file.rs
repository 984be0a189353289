//! A file being written: a row group in memory, and the finished ones.

use std::mem;
use std::sync::Arc;

use ::parquet::file::writer::SerializedFileWriter;
use bytes::Bytes;
use pipeline::{Events, FileEncoder};

use super::Form;
use super::account::Share;
use super::buffer::Buffer;

/// Panic message: writing to memory cannot fail, and the types match the schema.
const NEVER: &str = "memory takes every row of the schema";

pub(super) struct File {
    form: Arc<Form>,
    /// `None` after it is finished.
    writer: Option<SerializedFileWriter<Vec<u8>>>,
    buffers: Vec<Buffer>,
    /// Rows in the buffers.
    rows: u64,
    /// Size of the buffered rows.
    held: u64,
    /// Totals of the finished row groups, for the footer.
    written: Written,
    share: Share,
}

#[derive(Default)]
struct Written {
    groups: u64,
    rows: u64,
    bytes: u64,
}

impl File {
    /// Creates a file without rows.
    pub(super) fn new(form: Arc<Form>, share: Share) -> Self {
        let (schema, properties) = (Arc::clone(&form.schema), Arc::clone(&form.properties));
        let writer = SerializedFileWriter::new(Vec::new(), schema, properties).expect(NEVER);
        let buffers = form.rows.leaves().iter().map(Buffer::new).collect();
        let (writer, written) = (Some(writer), Written::default());
        Self { form, writer, buffers, rows: 0, held: 0, written, share }
    }

    /// Writes the buffered rows as a row group.
    fn close_group(&mut self) {
        let Some(writer) = self.writer.as_mut().filter(|_| self.rows > 0) else { return };
        let mut group = writer.next_row_group().expect(NEVER);
        for buffer in &mut self.buffers {
            let mut column = group.next_column().expect(NEVER).expect("one for each buffer");
            buffer.write(&mut column).expect(NEVER);
            column.close().expect(NEVER);
        }
        group.close().expect(NEVER);
        self.written.groups += 1;
        self.written.rows += mem::take(&mut self.rows);
        self.written.bytes += mem::take(&mut self.held);
    }

    /// Returns the bytes that were not yet returned. The library counts offsets itself.
    fn ready(&mut self) -> Bytes {
        self.writer.as_mut().map_or_else(Bytes::new, |it| mem::take(it.inner_mut()).into())
    }
}

impl FileEncoder for File {
    fn encode(&mut self, events: &Events) -> Bytes {
        let form = Arc::clone(&self.form);
        let costs: Vec<u64> = form.rows.leaves().iter().map(|leaf| leaf.kind.cost()).collect();
        form.rows.read(events, |_, row| {
            let fits = row.each(|cell| {
                let leaf = cell.leaf;
                self.held += costs[leaf] + self.buffers[leaf].push(cell) as u64;
            });
            fits.unwrap_or_else(|misfit| unreachable!("an event is unwritable: {misfit}"));
            self.rows += 1;
            if self.held >= form.group_bytes {
                self.close_group();
            }
        });
        self.share.set(self.held);
        if self.share.is_over() {
            self.close_group();
            self.share.set(0);
        }
        self.ready()
    }

    fn held_back(&self) -> u64 {
        let Some(writer) = &self.writer else { return 0 };
        let Written { groups, rows, bytes } = self.written;
        let all = self.form.bound(bytes + self.held, rows + self.rows, groups + 1);
        // Values already written are not part of the footer.
        writer.inner().len() as u64 + all - bytes - bytes / 6
    }

    fn finish(&mut self) -> Bytes {
        self.close_group();
        if let Some(writer) = &mut self.writer {
            writer.finish().expect(NEVER);
        }
        let end = self.ready();
        self.writer = None;
        self.share.set(0);
        end
    }
}
