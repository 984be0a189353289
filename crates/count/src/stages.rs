//! The stages, each alone: built as an agent builds it, on real files, with the same events every
//! time. One thread drives them, so that nothing depends on the order of threads.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use clap::ValueEnum;
use pipeline::{
    Batch, BatchBuilder, BatchSize, BuildContext, Channel, Epoch, Identity, IntervalSet, Origin,
    Outcome, Role, Sequence, Settings, Sink, Source, SourceContext, Taken,
};
use prost::Message;
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;
use wire::v1::Put;
use wire::{Packing, pack, unpack};

use crate::error::{Error, Result};
use intake::Counter;

mod intake;

/// Events in a batch.
const BATCH: u64 = 1_000;
/// Values of the header that `bucket` tells events apart by.
const HOSTS: [&str; 4] = ["web-1", "web-2", "web-3", "web-4"];
const CONSUMER: &str = "count";

/// A stage of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stage {
    /// Files into batches.
    Tail,
    /// Batches into messages.
    Encode,
    /// Messages into batches.
    Decode,
    /// Into the durable channel.
    Put,
    /// Out of it.
    Take,
    /// Into files of a store.
    Write,
    /// Sorted by path on the way.
    Bucket,
}

impl Stage {
    /// As in the table and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tail => "tail",
            Self::Encode => "encode",
            Self::Decode => "decode",
            Self::Put => "put",
            Self::Take => "take",
            Self::Write => "write",
            Self::Bucket => "bucket",
        }
    }

    /// The stage of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::value_variants().iter().copied().find(|stage| stage.name() == name)
    }

    /// What an event goes through.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Tail => "`tail_dir` reads a file and cuts it into batches of lines",
            Self::Encode => "a batch becomes a `Put` with its digest, and that a message",
            Self::Decode => "a message becomes a `Put`, is checked, and becomes a batch",
            Self::Put => "a batch of 1,000 is put into a durable channel and committed",
            Self::Take => "it is taken out again and committed; on top of `put`",
            Self::Write => "the `hdfs` sink writes it as text below one path and commits the file",
            Self::Bucket => {
                "its events go to four paths by a header of their own; on top of `write`"
            }
        }
    }

    /// The stage whose work a run of this one does too.
    pub(crate) fn on_top_of(self) -> Option<Self> {
        match self {
            Self::Take => Some(Self::Put),
            Self::Bucket => Some(Self::Write),
            _ => None,
        }
    }
}

/// Does the work of a stage.
pub(crate) fn work(stage: Stage, events: u64, directory: &Path) -> Result<()> {
    let failed = |detail: String| Error::Stage { stage: stage.name(), detail };
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    let work = async {
        match stage {
            Stage::Tail => tail(events, directory).await,
            Stage::Encode => {
                encode(events);
                Ok(())
            }
            Stage::Decode => decode(events),
            Stage::Put => put(events, directory).await.map(drop),
            Stage::Take => take(events, directory).await,
            Stage::Write => write(events, directory, |_| HOSTS[0]).await,
            Stage::Bucket => write(events, directory, |event| HOSTS[event as usize % 4]).await,
        }
    };
    runtime.block_on(work).map_err(failed)
}

/// The body of an event: 188 bytes, about as the lines of access logs are.
fn body(event: u64) -> String {
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
    format!(
        "192.0.2.{:<3} - - [20/Nov/2026:12:00:00 +0000] \"GET /articles/index.html HTTP/1.1\" 200 \
         5120 \"-\" \"{agent}\" rt=0.123 {event:012}",
        event % 250
    )
}

/// Batch number `number`, with the header `host` of each event.
fn batch(number: u64, host: impl Fn(u64) -> &'static str) -> Batch {
    let mut builder = BatchBuilder::default();
    for event in number * BATCH..(number + 1) * BATCH {
        builder.push(body(event).as_bytes(), &[("host", host(event))]);
    }
    builder.finish()
}

fn identity(number: u64) -> Identity {
    Identity { origin: Origin([7; 16]), epoch: Epoch(1), sequence: Sequence(number) }
}

fn batches(events: u64) -> impl Iterator<Item = u64> {
    0..events / BATCH
}

/// Builds a component as an agent does.
fn build<R: Role + ?Sized>(
    kind: &str,
    settings: &Value,
    directory: &Path,
) -> Result<Box<R>, String> {
    let entry = catalogue::FULL.find::<R>(kind)?;
    let alone = BuildContext::alone(kind, &directory.join(kind), env::real());
    let cx = BuildContext { catalogue: catalogue::FULL, ..alone };
    (entry.build)(&Settings::from_json(settings), &cx).map_err(|error| error.to_string())
}

async fn tail(events: u64, directory: &Path) -> Result<(), String> {
    let watched = directory.join("watched");
    fs::create_dir(&watched).map_err(|error| error.to_string())?;
    // The same thousand lines again and again: making new ones would cost more than reading them.
    let text: String = (0..BATCH).map(|event| body(event) + "\n").collect();
    let text = text.repeat((events / BATCH) as usize);
    fs::write(watched.join("access.log"), text).map_err(|error| error.to_string())?;
    let settings = json!({ "paths": [format!("{}/*.log", watched.display())] });
    let mut source = build::<dyn Source>("tail_dir", &settings, directory)?;
    let stop = CancellationToken::new();
    let counter = Arc::new(Counter::new(events, stop.clone()));
    let cx = SourceContext::new(counter, stop);
    source.open(&cx).await.map_err(|error| error.to_string())?;
    source.run(cx).await.map_err(|error| error.to_string())
}

fn encode(events: u64) {
    let batch = batch(0, |_| HOSTS[0]);
    for number in batches(events) {
        black_box(pack(identity(number), &batch, Packing::Plain).encode_to_vec());
    }
}

fn decode(events: u64) -> Result<(), String> {
    let batch = batch(0, |_| HOSTS[0]);
    let message = Bytes::from(pack(identity(0), &batch, Packing::Plain).encode_to_vec());
    for _ in batches(events) {
        let put = Put::decode(message.clone()).map_err(|error| error.to_string())?;
        let opened = unpack(put, 16 << 20).map_err(|error| error.to_string())?;
        assert_eq!(opened.len() as u64, BATCH, "a message holds what was put into it");
    }
    Ok(())
}

/// A durable channel that holds so many events.
async fn put(events: u64, directory: &Path) -> Result<Box<dyn Channel>, String> {
    let settings = json!({ "capacity": "1GiB" });
    let channel = build::<dyn Channel>("durable", &settings, directory)?;
    channel.open().await.map_err(|error| error.to_string())?;
    channel.register(&[Arc::from(CONSUMER)]).await.map_err(|error| error.to_string())?;
    let batch = batch(0, |_| HOSTS[0]);
    for _ in batches(events) {
        let size: BatchSize = batch.size();
        let mut put = channel.begin_put(size).await.map_err(|error| error.to_string())?;
        put.put(batch.clone());
        put.commit().await.map_err(|error| error.to_string())?;
    }
    Ok(channel)
}

async fn take(events: u64, directory: &Path) -> Result<(), String> {
    let channel = put(events, directory).await?;
    let mut taker = channel.begin_take(CONSUMER);
    for _ in batches(events) {
        let taken = taker.take().await.map_err(|error| error.to_string())?;
        taker.commit(&IntervalSet::from(taken.ticket..taken.ticket + 1));
    }
    Ok(())
}

async fn write(
    events: u64,
    directory: &Path,
    host: impl Fn(u64) -> &'static str,
) -> Result<(), String> {
    let settings = json!({ "url": format!("file://{}/store/%{{host}}", directory.display()) });
    let mut sink = build::<dyn Sink>("hdfs", &settings, directory)?;
    sink.open().await.map_err(|error| error.to_string())?;
    let batch = batch(0, host);
    let mut open = IntervalSet::EMPTY;
    for number in batches(events) {
        let mut batch = batch.clone();
        batch.envelope.identity = Some(identity(number));
        let taken = Taken { ticket: number, batch };
        sink.write(taken).await.map_err(|error| error.to_string())?;
        open.insert(number);
    }
    sink.flush();
    settle(&mut *sink, open).await?;
    sink.close().await;
    Ok(())
}

/// Waits until all of these are delivered.
async fn settle(sink: &mut dyn Sink, mut open: IntervalSet) -> Result<(), String> {
    while !open.is_empty() {
        let settlement = sink.settled().await;
        match settlement.outcome {
            Outcome::Delivered => open.remove_all(&settlement.tickets),
            other => return Err(format!("{other:?}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_does_its_work() {
        for stage in Stage::value_variants() {
            let directory = tempfile::tempdir().unwrap();
            work(*stage, 3 * BATCH, directory.path()).unwrap();
        }
    }

    #[test]
    fn an_event_is_as_long_as_a_line_of_an_access_log() {
        assert_eq!(body(0).len(), 188);
        assert_eq!(body(249).len(), 188);
        assert!(batch(0, |_| HOSTS[0]).is_uniform());
        assert!(batch(0, |event| HOSTS[event as usize % 4]).has_own("host"));
    }

    #[test]
    fn every_stage_has_a_name_of_its_own_on_the_command_line_and_in_the_table() {
        for stage in Stage::value_variants() {
            assert_eq!(Stage::named(stage.name()), Some(*stage));
            let value = stage.to_possible_value().unwrap();
            assert_eq!(value.get_name(), stage.name());
        }
    }
}
