//! Begins the next segment with a STATE that summarises all earlier ones, and marks the end of the
//! log.

use std::io;
use std::sync::{Arc, PoisonError};

use tracing::warn;

use super::request::PutFailure;
use crate::durable::core::Core;
use crate::durable::log::frame::Frame;
use crate::durable::log::records::{AckRecord, SegmentRecord};
use crate::durable::log::segment::Kind;
use crate::durable::log::writer::Log;
use crate::durable::space::open_segment::{Open, acks_room};

impl Core {
    /// Begins the next segment with room for `needed` bytes.
    pub(crate) fn roll(self: &Arc<Self>, log: &mut Log, needed: u64) -> io::Result<()> {
        let now_ms = self.now_ms();
        let (id, state_frame) = {
            let mut state = self.state();
            let id = state.next_segment;
            state.next_segment += 1;
            // The STATE contains all commits made so far.
            state.unwritten.all_in_write();
            let envelope = state.tickets.record(now_ms).encode();
            let frame = Frame::plain(Kind::State, state.tickets.in_flight.next(), envelope);
            (id, Frame { sealed: self.files.keys().is_sealing(), ..frame })
        };
        let begun = log.begin(id, &state_frame, needed);
        let (prepared, end) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                let mut state = self.state();
                state.unwritten.take_back();
                state.space.open.room = log.room();
                drop(state);
                self.note_full_disk(&error);
                return Err(error);
            }
        };
        let (sealed, in_doubt) = {
            let mut state = self.state();
            state.unwritten.written();
            let first = state.tickets.in_flight.next();
            let sealed = state
                .tickets
                .segments
                .back()
                .and_then(|segment| Some((segment.record.id, segment.index.clone()?)));
            let (room, since_ms) = (prepared.room, now_ms);
            state.space.open = Open {
                room,
                begun_at: end,
                acks: if prepared.is_reserve { room } else { acks_room(room, end) },
                short: self.files.is_short(room),
                next_ready: false,
            };
            state.durable_epoch = self.owner.epoch;
            let record =
                SegmentRecord { id, first, tickets: 0, end, room, since_ms, key: log.key() };
            state.tickets.begin_segment(record, prepared.file);
            // Starts, failed writes and commits fill segments without batches. Nothing would free
            // these while an older segment stays.
            self.release(&mut state, true);
            (sealed, std::mem::take(&mut state.in_doubt))
        };
        self.refresh_capacity();
        for (reply, error) in in_doubt {
            // The caller may be gone.
            let _ = reply.send(Err(PutFailure::Disk(error)));
        }
        let (files, store) = (self.files.clone(), self.store.clone());
        let core = Arc::downgrade(self);
        self.background.run(&self.env, move || {
            if let Some((id, index)) = sealed {
                store.save(id, &index);
            }
            files.fill_reserve();
            let prepared = files.prepare(id + 1, 0);
            if let Some(core) = core.upgrade() {
                match prepared {
                    Ok(()) => core.note_next_segment(id + 1),
                    Err(error) => core.note_full_disk(&error),
                }
                core.state().tickets.trim();
            }
        });
        Ok(())
    }

    /// Writes a last group without content. Damage in the group before it is then not mistaken for
    /// a write that a crash tore.
    pub(crate) fn write_end(&self) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let next = self.state().tickets.in_flight.next();
        let sealed = self.files.keys().is_sealing();
        let frame = Frame::plain(Kind::Ack, next, AckRecord::default().encode());
        let frame = Frame { sealed, ..frame };
        if log.has_room(frame.len() as u64)
            && let Err(error) = log.append(&mut [frame])
        {
            // The channel is whole without it.
            warn!(channel = %self.name, %error,
                "cannot write the end marker of the channel while closing it; no event is lost, no \
                 action needed");
        }
    }
}
