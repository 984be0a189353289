//! The source around a protocol.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metrics::Metrics;
use pipeline::{
    BuildContext, Classify, ErrorClass, Guarantee, IntakeError, ResendMode, Source, SourceContext,
    SourceError,
};
use support::mutant;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::broker::{GOODBYE, acknowledged, answered, received};
use super::round::{Filling, Message, Round};
use super::storing::{Storing, ended};
use super::{Arrived, Consume, Load, Problem, Verdict, not_received};
use crate::puts::Retries;

/// How long a stop waits for the put under way.
const DRAIN: Duration = Duration::from_secs(5);

/// A source that consumes messages.
pub struct Consumed<C: Consume> {
    name: Arc<str>,
    metrics: Metrics,
    consume: C,
    /// Opened, and not running yet.
    link: Option<C::Link>,
    /// A message for the next round.
    waiting: Option<Message<C::Ack>>,
    filling: Filling<C::Ack>,
    /// Rounds that are stored before the one that fills.
    ahead: VecDeque<Round<C::Ack>>,
    storing: Option<Storing<C::Ack>>,
    /// Messages of rounds that no channel stored.
    unstored: Vec<C::Ack>,
    /// Stops the source once everything before it is stored.
    ending: Option<C::Error>,
    /// Puts of rounds that some channels lack.
    retries: Retries,
}

impl<C: Consume> Consumed<C> {
    /// A source for this protocol.
    pub fn new(cx: &BuildContext, consume: C) -> Self {
        Self {
            name: cx.name.clone(),
            metrics: cx.metrics.clone(),
            consume,
            link: None,
            waiting: None,
            filling: Filling::default(),
            ahead: VecDeque::new(),
            storing: None,
            unstored: Vec::new(),
            ending: None,
            retries: Retries::new(cx.name.clone(), cx.env.entropy.clone()),
        }
    }

    /// Whether everything that arrived is stored.
    fn is_settled(&self) -> bool {
        self.unanswered() == 0 && self.storing.is_none()
    }

    fn unanswered(&self) -> usize {
        let rounds = self.storing.iter().map(|it| &it.round).chain(&self.ahead);
        rounds.map(|round| round.acks.len()).sum::<usize>()
            + self.filling.len()
            + usize::from(self.waiting.is_some())
    }

    /// Moves the waiting message into the round, if it fits.
    fn fill(&mut self, cx: &SourceContext) {
        let round_max = self.consume.round_max();
        let fits = |message: &mut Message<_>| {
            self.filling.has_room_for(message, round_max, cx.intake.batch_bytes_max())
        };
        if let Some(message) = self.waiting.take_if(fits) {
            self.filling.push(message);
        }
    }

    /// Begins to store the next round, if nothing is being stored.
    fn store(&mut self, cx: &SourceContext) {
        if self.storing.is_some() {
            return;
        }
        let round = match self.ahead.pop_front() {
            Some(round) => round,
            None if self.filling.len() == 0 => return,
            None => std::mem::take(&mut self.filling).finish(),
        };
        self.begin(round, cx);
    }

    fn begin(&mut self, mut round: Round<C::Ack>, cx: &SourceContext) {
        round.batch.envelope.positions = self.consume.positions(&round.acks);
        self.storing = Some(Storing::begin(round, cx));
    }

    /// Handles a delivery.
    async fn arrived(
        &mut self,
        arrived: Arrived<C::Ack>,
        link: &mut C::Link,
        stop: &CancellationToken,
    ) -> Result<(), SourceError> {
        if arrived.is_repeated {
            self.metrics.count_anomaly(&self.name, "message_repeated", 1);
        }
        match Message::new(arrived) {
            Ok(message) => self.waiting = Some(message),
            Err((ack, problem)) => {
                self.judge(ack, &Problem::NoEvent(problem), link, stop).await?;
            }
        }
        Ok(())
    }

    /// Rejects a message that cannot be stored, or stops in front of it.
    async fn judge(
        &mut self,
        ack: C::Ack,
        problem: &Problem,
        link: &mut C::Link,
        stop: &CancellationToken,
    ) -> Result<(), SourceError> {
        match self.consume.verdict(&ack, problem) {
            Verdict::Hold(error) => {
                self.unstored.push(ack);
                self.ending = Some(error);
                Ok(())
            }
            Verdict::Reject => {
                self.metrics.count_anomaly(&self.name, "message_rejected", 1);
                let id = self.consume.describe(&ack);
                warn!(
                    source = %self.name, id, %problem,
                    "rejected a message that cannot be stored (`problem`); it is lost unless the \
                     broker has a dead letter queue for it; correct its sender, or follow `problem`"
                );
                answered(stop, self.consume.reject(link, ack, problem)).await
            }
        }
    }

    /// Handles the end of the put under way.
    async fn put_ended(
        &mut self,
        result: Result<(), IntakeError>,
        link: &mut C::Link,
        cx: &SourceContext,
    ) -> Result<(), SourceError> {
        let Some(storing) = self.storing.take() else { return Ok(()) };
        match result {
            Ok(()) => self.stored(storing.round, link, &cx.stop).await,
            Err(IntakeError::Partly { mut rest, source })
                if source.class() != ErrorClass::Fatal =>
            {
                storing.leave_out_stored(&mut rest, &self.name, cx);
                if rest.parts.is_empty() || mutant!("consume_partly_stored_is_stored") {
                    return self.stored(storing.round, link, &cx.stop).await;
                }
                let pause = self.retries.failed(&source);
                self.storing = Some(Storing::again(storing.round, *rest, pause, cx));
                Ok(())
            }
            Err(error) if error.class() == ErrorClass::Poison => {
                self.refused(storing.round, &error, link, &cx.stop).await
            }
            Err(error) => {
                self.unstored.extend(storing.round.acks);
                self.consume.put_failed();
                Err(not_stored(error))
            }
        }
    }

    /// Acknowledges a round.
    async fn stored(
        &mut self,
        mut round: Round<C::Ack>,
        link: &mut C::Link,
        stop: &CancellationToken,
    ) -> Result<(), SourceError> {
        if let Some(ack) = round.acks.pop_if(|_| mutant!("consume_stored_is_rejected")) {
            let problem = Problem::NoEvent("planted".into());
            answered(stop, self.consume.reject(link, ack, &problem)).await?;
        }
        self.retries.worked();
        answered(stop, self.consume.acknowledge(link, acknowledged(round.acks))).await
    }

    /// Finds the message that the channels refuse, and rejects it or stops in front of it.
    async fn refused(
        &mut self,
        round: Round<C::Ack>,
        error: &IntakeError,
        link: &mut C::Link,
        stop: &CancellationToken,
    ) -> Result<(), SourceError> {
        if round.acks.len() > 1 {
            debug!(source = %self.name, messages = round.acks.len(), "storing one by one");
            round.split().into_iter().rev().for_each(|part| self.ahead.push_front(part));
            return Ok(());
        }
        let problem = Problem::Refused(support::causes::chain(error));
        let mut acks = round.acks;
        let Some(ack) = acks.pop() else { return Err(refused_positions(&problem)) };
        self.judge(ack, &problem, link, stop).await?;
        // Messages after a held one are not stored before it.
        if let Some(error) = self.ending.take() {
            return Err(not_received(error));
        }
        Ok(())
    }

    /// Stores messages until the connection ends or the source must stop.
    async fn messages(
        &mut self,
        cx: &SourceContext,
        link: &mut C::Link,
    ) -> Result<(), SourceError> {
        if self.consume.begins_with_position() {
            self.begin(Round::of_positions(), cx);
        }
        loop {
            self.fill(cx);
            self.store(cx);
            // The next round has room now.
            self.fill(cx);
            let is_settled = self.is_settled() || mutant!("consume_held_before_stored");
            if is_settled && let Some(error) = self.ending.take() {
                return Err(not_received(error));
            }
            let is_storing = self.storing.is_some();
            let load = Load { unanswered: self.unanswered(), is_storing };
            answered(&cx.stop, self.consume.prepare(link, load)).await?;
            let reads = self.waiting.is_none() && self.ending.is_none();
            let Self { consume, storing, .. } = self;
            tokio::select! {
                biased;
                () = cx.stop.cancelled() => return Ok(()),
                result = ended(storing) => self.put_ended(result, link, cx).await?,
                arrived = received(consume, link, reads) => {
                    let arrived = arrived.map_err(not_received)?;
                    self.arrived(arrived, link, &cx.stop).await?;
                }
            }
        }
    }

    /// Acknowledges what is stored, returns the rest to the broker, and closes the connection.
    async fn finish(&mut self, mut link: C::Link) {
        let _gone = timeout(GOODBYE, self.consume.pause(&mut link)).await;
        let mut stored = Vec::new();
        if let Some(mut storing) = self.storing.take() {
            storing.put.stop_waiting();
            self.storing = Some(storing);
            // A put that takes longer ends before the next connection is opened.
            if let Ok(result) = timeout(DRAIN, ended(&mut self.storing)).await
                && let Some(Storing { round, .. }) = self.storing.take()
            {
                match result {
                    Ok(()) if !mutant!("consume_stored_is_returned") => stored = round.acks,
                    _ => {
                        self.consume.put_failed();
                        self.unstored.extend(round.acks);
                    }
                }
            }
        }
        let unstored = self.forget();
        let consume = &mut self.consume;
        let answers = async {
            if !stored.is_empty() {
                consume.acknowledge(&mut link, acknowledged(stored)).await?;
            }
            match unstored.is_empty() {
                true => Ok(()),
                false => consume.release(&mut link, unstored).await,
            }
        };
        if let Ok(Ok(())) = timeout(GOODBYE, answers).await {
            self.consume.close(link, GOODBYE).await;
        }
    }

    /// Forgets every message that is not being stored.
    fn forget(&mut self) -> Vec<C::Ack> {
        self.ending = None;
        let mut acks = std::mem::take(&mut self.unstored);
        acks.extend(self.ahead.drain(..).flat_map(|round| round.acks));
        acks.extend(std::mem::take(&mut self.filling).into_acks());
        acks.extend(self.waiting.take().map(|message| message.ack));
        acks
    }

    /// Waits for the put of a connection that has ended. One that waits for room ends now.
    async fn settle(&mut self) {
        self.forget();
        if mutant!("consume_last_put_forgotten") {
            self.storing = None;
        }
        if let Some(storing) = &mut self.storing {
            storing.put.stop_waiting();
        } else {
            return;
        }
        let result = ended(&mut self.storing).await;
        let Some(Storing { round, .. }) = self.storing.take() else { return };
        let (messages, is_stored) = (round.acks.len(), result.is_ok());
        debug!(source = %self.name, messages, is_stored, "the last put has ended");
        match result {
            Ok(()) => self.consume.stored_unacknowledged(round.acks),
            Err(_) => self.consume.put_failed(),
        }
    }
}

#[async_trait]
impl<C: Consume> Source for Consumed<C> {
    fn guarantee(&self) -> Guarantee {
        self.consume.guarantee()
    }

    fn resend_mode(&self) -> ResendMode {
        self.consume.resend_mode()
    }

    fn batch_bytes(&self) -> u64 {
        self.consume.batch_bytes()
    }

    async fn open(&mut self, cx: &SourceContext) -> Result<(), SourceError> {
        self.link = None;
        self.settle().await;
        self.link = Some(self.consume.open(cx).await?);
        Ok(())
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let mut link = self.link.take().expect("a source is opened before it runs");
        let ended = self.messages(&cx, &mut link).await;
        match &ended {
            Ok(()) => self.finish(link).await,
            Err(error) if self.consume.is_open(&link) => {
                debug!(source = %self.name, %error, "closing the connection");
                self.finish(link).await;
            }
            Err(_) => {}
        }
        ended
    }
}

fn not_stored(error: IntakeError) -> SourceError {
    let message = "cannot store messages; the broker keeps them; the cause is the next error of \
                   the channel"
        .to_owned();
    SourceError { class: error.class(), message, source: Some(Box::new(error)) }
}

fn refused_positions(problem: &Problem) -> SourceError {
    let message = format!("cannot store the position of the source: {problem}");
    SourceError { class: ErrorClass::Blocked, message, source: None }
}
