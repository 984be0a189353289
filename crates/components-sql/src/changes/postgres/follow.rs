//! Streams events from the slot into the channel, and confirms stored ones to the database.
//!
//! 1. A batch ends when it is full, or after a commit if no more messages are available.
//! 2. The database learns of a position when the channel has it. Confirmations continue while a
//!    batch waits for space in the channel, because the server disconnects silent readers.
//! 3. While only other tables change, batches without events advance the position.
//! 4. With each heartbeat, the source checks that the captured tables were not replaced by others.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kit::follow::Puts;
use metrics::FloatGauge;
use pipeline::SourceError;
use tokio::task::JoinError;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::super::Changes;
use super::super::assemble::{Assembler, Change, Column, Table};
use super::super::change::{Lsn, Xid};
use super::super::config::Options;
use super::super::position::State;
use super::catalog::{Catalog, known};
use super::pgoutput::{Frame, Message, Relation};
use super::replaced::Names;
use super::wire::{EPOCH_MICROS, Replication};
use crate::dialect::Dialect;
use crate::error::{SqlError, failed, refused};

/// Interval of confirmations. The server disconnects readers that are silent for
/// `wal_sender_timeout`, by default a minute.
const CONFIRM_INTERVAL: Duration = Duration::from_secs(5);
/// After this long without a message, the source requests one; after twice this long, it gives up.
const SILENCE: Duration = Duration::from_secs(45);

/// The stream, and the last confirmation.
struct Stream {
    wire: Replication,
    /// Position in the channel.
    stored: Lsn,
    word: Interval,
}

impl Changes {
    /// Reads changes until an error.
    ///
    /// # Errors
    /// An error of the database or the channel.
    pub(in crate::changes) async fn follow(
        &mut self,
        state: State,
        puts: &mut Puts,
    ) -> Result<(), SourceError> {
        let options = self.options.clone();
        let mut wire = Replication::open(&options.target).await.map_err(failed)?;
        wire.start(&start(&options, state.done)).await.map_err(failed)?;
        let watching = watch(options.clone(), self.lag.clone(), self.tables.clone());
        let mut watching = AbortOnDropHandle::new(tokio::spawn(watching));
        let mut word = interval(CONFIRM_INTERVAL.min(options.heartbeat));
        word.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stream = Stream { wire, stored: state.done, word };
        let mut assembler = Assembler::new(state);
        let (mut heard, mut moved) = (Instant::now(), Instant::now());
        loop {
            let frame = tokio::select! {
                frame = stream.wire.frame() => {
                    Some(frame.map_err(|error| failed(error.of_slot(&options.slot)))?)
                }
                _ = stream.word.tick() => None,
                replaced = &mut watching => {
                    // Store the received changes before reporting the error.
                    if !assembler.gather.is_empty() {
                        self.flush(&mut stream, &mut assembler, puts).await?;
                    }
                    let problem = |error: JoinError| refused(error.to_string());
                    return Err(replaced.map_or_else(problem, failed));
                }
            };
            let is_word = frame.is_none();
            let mut has_to_answer = false;
            match frame {
                Some(Frame::Message(message)) => {
                    heard = Instant::now();
                    self.message(&mut assembler, message).await?;
                    let is_full =
                        assembler.gather.is_full(options.batch_bytes, puts.batch_bytes_max());
                    let is_end = assembler.is_between() && !stream.wire.has_more();
                    if (is_full || is_end) && !assembler.gather.is_empty() {
                        self.flush(&mut stream, &mut assembler, puts).await?;
                        moved = Instant::now();
                    }
                    continue;
                }
                Some(Frame::Alive { end, wants_answer }) => {
                    heard = Instant::now();
                    assembler.alive(end);
                    has_to_answer = wants_answer;
                }
                None => {}
            }
            // A database that shuts down requests and awaits the final confirmation.
            let is_due = has_to_answer || moved.elapsed() >= options.heartbeat;
            if is_due && assembler.has_news() {
                self.flush(&mut stream, &mut assembler, puts).await?;
                moved = Instant::now();
            } else if has_to_answer || is_word {
                let asks = heard.elapsed() >= SILENCE;
                if heard.elapsed() >= 2 * SILENCE {
                    let (address, limit) = (options.target.address.clone(), 2 * SILENCE);
                    return Err(failed(SqlError::Silent { address, limit }));
                }
                stream.wire.confirm(stream.stored, asks).await.map_err(failed)?;
            }
        }
    }

    async fn message(
        &mut self,
        assembler: &mut Assembler,
        message: Message,
    ) -> Result<(), SourceError> {
        let done = match message {
            Message::Begin { commit, micros, xid } => {
                let millis = (micros + EPOCH_MICROS).div_euclid(1000);
                assembler.begin(commit, millis, Some(Xid::Number(xid)));
                Ok(())
            }
            Message::Commit { end } => {
                assembler.commit(end);
                Ok(())
            }
            Message::Relation(relation) => {
                let columns = self.columns(&relation).await.map_err(failed)?;
                let table = Table::new(relation.schema, relation.name, columns);
                self.count_schema(assembler.relation(relation.id.into(), table));
                Ok(())
            }
            Message::Insert { relation, new } => {
                assembler.change(relation.into(), Change::Insert(new))
            }
            Message::Update { relation, old, new } => {
                assembler.change(relation.into(), Change::Update { old, new })
            }
            Message::Delete { relation, old } => {
                assembler.change(relation.into(), Change::Delete(old))
            }
            Message::Truncate { relations } => relations
                .into_iter()
                .try_for_each(|relation| assembler.change(relation.into(), Change::Truncate)),
            Message::Other => Ok(()),
        };
        done.map_err(refused)
    }

    /// Returns the columns of a table. Queries the database only for details missing in the
    /// message.
    async fn columns(&self, relation: &Relation) -> Result<Vec<Column>, SqlError> {
        let kinds: Vec<u32> = relation.columns.iter().map(|column| column.kind).collect();
        let is_asked = relation.is_full || kinds.iter().any(|kind| known(*kind).is_none());
        let mut catalog = match is_asked {
            true => Some(Catalog::open(&self.options.target).await?),
            false => None,
        };
        let key = match &catalog {
            Some(catalog) if relation.is_full => Some(catalog.key(relation.id).await?),
            _ => None,
        };
        let mut columns = Vec::new();
        for column in &relation.columns {
            let meaning = match (known(column.kind), &mut catalog) {
                (Some(meaning), _) => meaning,
                (None, Some(catalog)) => catalog.meaning(column.kind).await?,
                (None, None) => crate::meaning::Meaning::Native,
            };
            let is_key = match &key {
                Some(key) => key.contains(&column.name),
                None => column.is_key,
            };
            columns.push(Column { name: column.name.clone(), is_key, meaning });
        }
        Ok(columns)
    }

    /// Stores the events so far and confirms them. While it waits for the channel, it repeats the
    /// earlier confirmation.
    async fn flush(
        &mut self,
        stream: &mut Stream,
        assembler: &mut Assembler,
        puts: &mut Puts,
    ) -> Result<(), SourceError> {
        let (gathered, state) = assembler.flush(&self.name).map_err(refused)?;
        let mut broken = None;
        {
            let mut storing = pin!(self.put(gathered, puts));
            loop {
                tokio::select! {
                    () = &mut storing => break,
                    // Finish storing the batch even after a connection error: otherwise another
                    // attempt would not find it in the channel, and store it again.
                    _ = stream.word.tick(), if broken.is_none() => {
                        broken = stream.wire.confirm(stream.stored, false).await.err();
                    }
                }
            }
        }
        stream.stored = state.done;
        if let Some(millis) = assembler.committed_millis {
            self.committed.set(millis as f64 / 1000.0);
        }
        match broken {
            Some(error) => Err(failed(error)),
            None => stream.wire.confirm(stream.stored, false).await.map_err(failed),
        }
    }
}

/// Returns the command that starts the stream.
fn start(options: &Options, from: Lsn) -> String {
    let publication = Dialect::Postgres.quote(&options.publication).replace('\'', "''");
    format!(
        "START_REPLICATION SLOT {} LOGICAL {from} (proto_version '1', publication_names \
         '{publication}')",
        options.slot
    )
}

/// Measures the slot's lag periodically, and checks for replaced tables. Returns when it finds one.
async fn watch(options: Arc<Options>, lag: FloatGauge, tables: Arc<Mutex<Names>>) -> SqlError {
    let mut catalog = None;
    let mut known = tables.lock().unwrap_or_else(PoisonError::into_inner).clone();
    loop {
        if catalog.is_none() {
            catalog = Catalog::open(&options.target).await.ok();
        }
        let asked = match &catalog {
            Some(catalog) => Some(catalog.lag(&options.slot).await),
            None => None,
        };
        match asked {
            Some(Ok(Some((bytes, is_near_its_end)))) => {
                lag.set(bytes as f64);
                if is_near_its_end {
                    tracing::warn!(
                        slot = %options.slot, bytes,
                        "the database will soon discard changes that are not stored yet, and they \
                         would be lost; raise its `max_slot_wal_keep_size`, or find out why the \
                         channel accepts events slowly",
                    );
                }
            }
            Some(Ok(None)) => {}
            Some(Err(_)) | None => catalog = None,
        }
        if let Some(asked) = &catalog {
            match asked.not_replaced(&options, &mut known).await {
                Ok(()) => {
                    tables.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&known);
                }
                Err(error @ SqlError::Misfit { .. }) => return error,
                Err(_) => catalog = None,
            }
        }
        sleep(options.heartbeat).await;
    }
}
