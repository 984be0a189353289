//! Streams transactions into the channel.
//!
//! 1. A batch ends when it is full, or after a commit if no more events are available.
//! 2. While only other tables change, batches without events advance the position.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use kit::follow::Puts;
use metrics::FloatGauge;
use mysql_async::BinlogStream;
use pipeline::SourceError;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::super::Changes;
use super::super::assemble::{Assembler, Change, Table};
use super::super::change::Lsn;
use super::super::config::Options;
use super::super::position::{self, State};
use super::log::{self, Held, Log, Step};
use super::proof::Proof;
use super::row;
use super::server::{self, Server};
use super::table::MappedTable;
use crate::error::{SqlError, failed, refused};

/// Interval of server heartbeats while no table changes.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// Timeout without any message from the server.
const SILENCE: Duration = Duration::from_secs(45);

/// State of the stream.
struct Reading {
    log: Log,
    assembler: Assembler,
    /// Proof of the position after the received events.
    proof: Proof,
    /// Tables, as of their last rows.
    tables: BTreeMap<u64, Arc<MappedTable>>,
    /// Position in the channel.
    stored: Arc<AtomicU64>,
}

async fn begin(
    options: &Options,
    state: &State,
    base: &str,
) -> Result<(BinlogStream, Log), SqlError> {
    let target = &options.target;
    let mut server = Server::open(target).await?;
    let charsets = server.charsets().await?;
    if let Some(sql) = server.flavour.reader() {
        server.run(sql).await?;
    }
    server
        .run(&format!("SET @master_heartbeat_period = {}", HEARTBEAT_INTERVAL.as_nanos()))
        .await?;
    let file = server::file(base, state.done);
    let stream = server.stream(options.server_id, &file, state.done, false).await?;
    Ok((stream, Log::new((base.to_owned(), state.done.0 >> 32), options.tables.clone(), charsets)))
}

impl Changes {
    /// Reads changes until an error.
    ///
    /// # Errors
    /// An error of the database or the channel.
    pub(in crate::changes) async fn follow_log(
        &mut self,
        state: State,
        puts: &mut Puts,
    ) -> Result<(), SourceError> {
        let options = self.options.clone();
        let known = state
            .log
            .clone()
            .unwrap_or_else(|| position::Log { base: String::new(), proof: String::new() });
        let (mut stream, log) = begin(&options, &state, &known.base).await.map_err(failed)?;
        let stored = Arc::new(AtomicU64::new(state.done.0));
        let watching = watch(options.clone(), stored.clone(), self.lag.clone());
        let _lag = AbortOnDropHandle::new(tokio::spawn(watching));
        let (proof, tables) = (Proof::read(&known.proof), BTreeMap::new());
        let assembler = Assembler::new(state);
        let mut reading = Reading { log, assembler, proof, tables, stored };
        let (mut heard, mut moved) = (Instant::now(), Instant::now());
        loop {
            let next = match stream.next().now_or_never() {
                Some(next) => Ok(next),
                None => {
                    if reading.assembler.is_between() && !reading.assembler.gather.is_empty() {
                        self.flush_log(&mut reading, puts).await?;
                        (heard, moved) = (Instant::now(), Instant::now());
                    }
                    timeout(HEARTBEAT_INTERVAL.min(options.heartbeat), stream.next()).await
                }
            };
            let address = options.target.address.clone();
            match next {
                Ok(Some(Ok(event))) => {
                    heard = Instant::now();
                    match reading.log.take(event).map_err(refused)? {
                        Step::Nothing => {}
                        Step::Alive(end, head) => {
                            reading.assembler.alive(end);
                            reading.proof.enter(head);
                        }
                        Step::Changes(changes) => {
                            self.changes(&mut reading, changes, puts).await?;
                        }
                    }
                }
                Ok(Some(Err(error))) => return Err(failed(SqlError::mysql(&address, &error))),
                Ok(None) => {
                    let problem =
                        "the server closed the stream of the binary log; see its log".to_owned();
                    return Err(failed(SqlError::Broken { address, problem }));
                }
                Err(_) if heard.elapsed() >= SILENCE => {
                    return Err(failed(SqlError::Silent { address, limit: SILENCE }));
                }
                Err(_) => {}
            }
            if moved.elapsed() >= options.heartbeat && reading.assembler.has_news() {
                self.flush_log(&mut reading, puts).await?;
                (heard, moved) = (Instant::now(), Instant::now());
            }
        }
    }

    /// Turns the changes of a transaction into events.
    async fn changes(
        &mut self,
        reading: &mut Reading,
        changes: log::Changes,
        puts: &mut Puts,
    ) -> Result<(), SourceError> {
        if changes.is_begin {
            reading.assembler.begin(changes.lsn, changes.millis, changes.xid);
        }
        for held in changes.held {
            let (index, made) = match held {
                Held::Truncate(index) => {
                    let known = reading.tables.contains_key(&index);
                    if !known && let Some((schema, name)) = self.options.tables.get(index as usize)
                    {
                        // Its columns follow with its first rows.
                        let table = Table::new(schema.clone(), name.clone(), Vec::new());
                        reading.assembler.relation(index, table);
                    }
                    (index, vec![Change::Truncate])
                }
                Held::Rows(mapped, event) => {
                    let made = row::changes(&mapped, &event).map_err(refused)?;
                    let known = reading.tables.insert(mapped.index, mapped.clone());
                    if known.is_none_or(|known| !Arc::ptr_eq(&known, &mapped)) {
                        let changes = reading.assembler.relation(mapped.index, mapped.table());
                        self.count_schema(changes);
                    }
                    (mapped.index, made)
                }
            };
            for change in made {
                reading.assembler.change(index, change).map_err(refused)?;
                let gather = &reading.assembler.gather;
                if gather.is_full(self.options.batch_bytes, puts.batch_bytes_max()) {
                    self.flush_log(reading, puts).await?;
                }
            }
        }
        if let Some(end) = changes.end {
            reading.assembler.commit(end);
            reading.proof.pass(changes.xid);
        }
        Ok(())
    }

    /// Stores the events so far.
    async fn flush_log(
        &mut self,
        reading: &mut Reading,
        puts: &mut Puts,
    ) -> Result<(), SourceError> {
        let (base, proof) = (reading.log.base.clone(), reading.proof.to_string());
        reading.assembler.log = Some(position::Log { base, proof });
        let (gathered, state) = reading.assembler.flush(&self.name).map_err(refused)?;
        self.put(gathered, puts).await;
        reading.stored.store(state.done.0, Ordering::Relaxed);
        if let Some(millis) = reading.assembler.committed_millis {
            self.committed.set(millis as f64 / 1000.0);
        }
        Ok(())
    }
}

/// Measures periodically how much of the log is not stored yet.
async fn watch(options: Arc<Options>, stored: Arc<AtomicU64>, lag: FloatGauge) {
    let mut server = None;
    loop {
        if server.is_none() {
            server = Server::open(&options.target).await.ok();
        }
        let asked = match &mut server {
            Some(server) => server.lag(Lsn(stored.load(Ordering::Relaxed))).await.ok(),
            None => None,
        };
        match asked {
            Some(bytes) => {
                lag.set(bytes as f64);
            }
            None => server = None,
        }
        sleep(options.heartbeat).await;
    }
}
