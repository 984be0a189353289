//! Changes that a survey stores in the channels without reading: where a file begins, or that it is
//! forgotten. All of them are in one batch without lines, so that a channel stores all or nothing.

use std::sync::Arc;

use pipeline::Batch;

use super::chunk::{Chunk, Part};
use super::file::{File, FileId};
use super::identity::Position;
use super::tailer::Tailer;

/// Notes of one survey. Their files have nothing in flight.
#[derive(Default)]
pub(super) struct Notes {
    batch: Batch,
    parts: Vec<Part>,
    /// The channels that receive them; `None` = all.
    targets: Option<Vec<usize>>,
}

impl Notes {
    /// Adds the position of a file.
    pub(super) fn add_at(
        &mut self,
        source: &Arc<str>,
        id: FileId,
        file: &mut File,
        position: &Position,
    ) {
        let mut stored = file.stored_position(source);
        stored.value = Some(position.encode(&file.place));
        self.batch.envelope.positions.push(stored);
        self.count(id, file, Some(position.offset));
    }

    fn count(&mut self, id: FileId, file: &mut File, end: Option<u64>) {
        file.outstanding += 1;
        file.stored = true;
        self.parts.push(Part { file: id, end, bytes: 0, ends_read: true });
    }

    /// Limits the notes to these channels.
    pub(super) fn only_for(&mut self, channels: Vec<usize>) {
        self.targets = Some(channels);
    }

    /// Returns the notes as one batch, if there are any.
    pub(super) fn finish(self) -> Option<Chunk> {
        let Self { batch, parts, targets } = self;
        (!parts.is_empty()).then_some(Chunk { batch, targets, parts })
    }
}

impl Tailer {
    /// Notes the position of a file, or that the channels must forget it.
    pub(super) fn note(&mut self, id: FileId, forget: bool, notes: &mut Notes) {
        let Some(file) = self.files.get_mut(id) else { return };
        let mut position = file.stored_position(&self.source);
        if forget {
            position.value = None;
        }
        notes.batch.envelope.positions.push(position);
        let end = (!forget).then_some(file.position.offset);
        notes.count(id, file, end);
    }
}
