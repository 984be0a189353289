//! A free choice: one required channel for a whole batch, the first one with room.
//!
//! ```text
//!   order of the selector ─► room in the first that has some; none has: wait for all of them
//!                              └─► put ─► stored: the batch is there, and in no other channel
//!                                   └─► failed: nothing of it is stored; the next that has room
//! ```
//!
//! At most one put has begun at a time, so a batch is in one channel completely, or in none. A put
//! whose write has failed may still be stored: its batch waits for the answer, and later batches
//! skip the channel until there is one.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use futures::FutureExt;
use pipeline::{Batch, BatchSize, ChannelError, Classify, ErrorClass, PutTransaction};
use tokio::task::unconstrained;
use tokio::time::Instant;

use super::puts::{Committed, OpenPut};
use super::{AgentIntake, FedChannel};

/// Room for a batch in one channel.
pub(super) struct Chosen {
    /// The channel, among the required ones.
    at: usize,
    put: Box<dyn PutTransaction>,
    /// The other channels, in the order of attempts after a failed put.
    others: Vec<usize>,
}

/// A put that waits for room; with its channel.
type Waiting<'a> = Pin<
    Box<dyn Future<Output = Result<(usize, Box<dyn PutTransaction>), ChannelError>> + Send + 'a>,
>;

impl AgentIntake {
    /// Waits for room in one of these required channels: the first one with room now, else the
    /// first one that gets room. Cancel safe.
    ///
    /// # Errors
    /// Each of them is closed, or can never accept a batch of this size.
    pub(super) async fn choose(
        &self,
        order: Vec<usize>,
        size: BatchSize,
    ) -> Result<Chosen, ChannelError> {
        let room = |at: usize| -> Waiting<'_> {
            let fed = &self.required[at];
            Box::pin(async move {
                fed.boards.opened.wait().await;
                fed.boards.inflow.answers().await;
                Ok((at, fed.begin_put(size).await?))
            })
        };
        let mut rooms: Vec<Waiting<'_>> = order.iter().map(|at| room(*at)).collect();
        let mut refusal = None;
        let first = poll_fn(|cx| {
            let mut index = 0;
            while let Some(room) = rooms.get_mut(index) {
                match room.as_mut().poll(cx) {
                    Poll::Ready(Ok(begun)) => return Poll::Ready(Ok(begun)),
                    Poll::Ready(Err(error)) => {
                        drop(rooms.remove(index));
                        refusal = Some(combine_errors(refusal.take(), error));
                    }
                    Poll::Pending => index += 1,
                }
            }
            match refusal.take_if(|_| rooms.is_empty()) {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            }
        });
        // A task that has used up its turn would see each channel as full.
        let (at, put) = unconstrained(first).await?;
        let others = order.into_iter().filter(|other| *other != at).collect();
        Ok(Chosen { at, put, others })
    }

    /// Puts the part of the chosen channel; on failure, the part of the next channel with room now.
    pub(super) async fn put_to_first_with_room<'a>(
        &'a self,
        chosen: Chosen,
        parts: &[Batch],
        given: Instant,
        concurrent: bool,
    ) -> Committed<'a> {
        let Chosen { mut at, mut put, others } = chosen;
        let mut others = others.into_iter();
        let mut refusal = None;
        loop {
            let (to, part) = (&self.required[at], parts[at].clone());
            let mut begun = OpenPut::new(to, put, part, (&self.source, given));
            if concurrent {
                begun.put.concurrent();
            }
            let unanswered = self.required[at].boards.inflow.commit(Instant::now());
            let (to, volume, committed) = begun.commit().await;
            drop(unanswered);
            let Err((error, part)) = committed else { return (to, volume, Ok(())) };
            // A channel that closes leaves a put in doubt without an answer.
            let is_doubtful = matches!(error, ChannelError::Closed { .. });
            let error = combine_errors(refusal.take(), error);
            if is_doubtful {
                return (to, volume, Err((error, part)));
            }
            let next = others.by_ref();
            match next.find_map(|at| Some((at, self.required[at].try_begin_put(parts[at].size())?)))
            {
                Some(found) => (at, put) = found,
                None => return (to, volume, Err((error, part))),
            }
            refusal = Some(error);
        }
    }
}

impl FedChannel {
    /// Begins a put if the channel has room now.
    fn try_begin_put(&self, size: BatchSize) -> Option<Box<dyn PutTransaction>> {
        if !self.boards.opened.is_open() || self.boards.inflow.is_stuck(Instant::now()) {
            return None;
        }
        unconstrained(self.channel.begin_put(size)).now_or_never()?.ok()
    }
}

/// Combines the errors of several channels that did not accept a batch: a channel that may accept
/// it later has precedence over one that never can.
fn combine_errors(before: Option<ChannelError>, error: ChannelError) -> ChannelError {
    match before {
        Some(before) if before.class() == ErrorClass::Transient => before,
        Some(before) if error.class() != ErrorClass::Transient => before,
        _ => error,
    }
}
