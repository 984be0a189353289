//! Starts the turns of the tailer.

use std::collections::BTreeSet;

use futures::FutureExt;
use futures::future::BoxFuture;
use pipeline::Env;
use pipeline::env::{Change, Moment};
use tokio::time::Instant;

use super::chunk::{Chunk, Part};
use super::tailer::{Room, Tailer};

type Turn = BoxFuture<'static, (Box<Tailer>, Vec<Chunk>)>;

/// Runs the tailer's turns, one at a time.
pub(super) struct Pace {
    env: Env,
    /// `None` during a turn.
    tailer: Option<Tailer>,
    turn: Option<Turn>,
}

impl Pace {
    pub(super) fn new(env: Env, tailer: Tailer) -> Self {
        Self { env, tailer: Some(tailer), turn: None }
    }

    /// Starts a turn if one is due, and passes it `settled` and `changes`.
    pub(super) fn start_turn(
        &mut self,
        settled: &mut Vec<Part>,
        changes: &mut BTreeSet<Change>,
        room: Room,
    ) {
        let due = |tailer: &mut Tailer| {
            let free = room.reads > 0 && room.bytes > 0;
            let can_read = free && (!settled.is_empty() || tailer.can_read());
            can_read || !changes.is_empty() || tailer.wake_at() <= Instant::now()
        };
        let Some(tailer) = self.tailer.take_if(due) else { return };
        let (settled, changes) = (std::mem::take(settled), std::mem::take(changes));
        let mut tailer = Box::new(tailer);
        let env = self.env.clone();
        let turn = async move {
            let turn = env.offload(move || {
                let chunks = tailer.turn(&settled, &changes, room);
                let deleted = tailer.handles.take_deleted();
                (tailer, chunks, deleted)
            });
            let (tailer, chunks, deleted) = turn.await;
            if !deleted.is_empty() {
                env.blocking.run(Box::new(move || drop(deleted)));
            }
            (tailer, chunks)
        };
        self.turn = Some(turn.boxed());
    }

    /// Returns [`Tailer::stored_before`]; `None` during a turn.
    pub(super) fn stored_before(&self) -> Option<Moment> {
        self.tailer.as_ref().and_then(Tailer::stored_before)
    }

    /// Waits for the current turn and returns its chunks. Without a turn, waits until the next is
    /// due and returns nothing. Cancel safe.
    pub(super) async fn next(&mut self) -> Vec<Chunk> {
        if let Some(turn) = &mut self.turn {
            let (tailer, chunks) = turn.await;
            (self.tailer, self.turn) = (Some(*tailer), None);
            return chunks;
        }
        if let Some(tailer) = &self.tailer {
            tokio::time::sleep_until(tailer.wake_at()).await;
        }
        Vec::new()
    }
}
