//! A source built from a configuration, for one input: a client sends the input in pieces and
//! closes, or it is a file; the source stores what it accepts, and is stopped.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use channel::testkit::SimDisk;
use pipeline::env::{Blocking, Clock, Disk, OpenMode};
use pipeline::testkit::{plain_context, position_context};
use pipeline::{
    Batch, BuildContext, Catalogue, Env, Intake, IntakeError, PositionIntake, Settings, Source,
    SourceError,
};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::net::OneClient;

/// The sources to fuzz, with their components.
const CATALOGUE: Catalogue = Catalogue {
    groups: &[
        &components::GROUP,
        &components_files::GROUP,
        &components_grpc::GROUP,
        &components_otlp::GROUP,
        &components_shippers::GROUP,
    ],
    unavailable: &[],
};

/// Timeout for a source after its client has disconnected, by the runtime's clock, which skips idle
/// time.
const END_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a source may poll files that do not change, by the same clock.
const LOOKS_FOR: Duration = Duration::from_secs(10);

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O is always built");
}

/// A stored event.
pub(crate) type Event = (Vec<u8>, BTreeMap<String, String>);

/// Returns the events of a batch, with headers by name: their order depends on which headers all
/// events of a batch share.
pub(crate) fn events(batch: &Batch) -> Vec<Event> {
    let text = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    batch.iter().map(|event| (event.body().to_vec(), event.headers().map(text).collect())).collect()
}

/// Result of an input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Stored events, in order.
    pub(crate) events: Vec<Event>,
    /// Responses received by the client.
    pub(crate) answers: Vec<u8>,
}

impl Outcome {
    /// Returns the concatenated bodies, without bytes that end messages.
    pub(crate) fn text(&self) -> Vec<u8> {
        without_ends(&self.events.iter().map(|(body, _)| &**body).collect::<Vec<_>>().concat())
    }

    /// Counts this text in the responses.
    pub(crate) fn answered(&self, text: &[u8]) -> usize {
        self.answers.windows(text.len()).filter(|window| *window == text).count()
    }
}

/// Removes line feeds, carriage returns and NULs.
pub(crate) fn without_ends(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r' | 0)).collect()
}

/// Sends the pieces to a source of this kind, one by one, from a client that then closes.
pub(crate) fn outcome<'a>(
    kind: &str,
    settings: &serde_json::Value,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Outcome {
    outcome_of(kind, settings, &OneClient::new(pieces.map(Bytes::copy_from_slice)))
}

/// Same with a client that waits for the source to close.
pub(crate) fn outcome_waited_for<'a>(
    kind: &str,
    settings: &serde_json::Value,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Outcome {
    let client = OneClient::new(pieces.map(Bytes::copy_from_slice));
    outcome_of(kind, settings, &client.waiting())
}

fn outcome_of(kind: &str, settings: &serde_json::Value, client: &OneClient) -> Outcome {
    let stored = Arc::new(Stored::default());
    let entry = CATALOGUE.find::<dyn Source>(kind).expect("the kind is known");
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let env = Env { net: Arc::new(client.clone()), ..ENV.clone() };
            let alone = BuildContext::alone("in", Path::new("d"), env);
            let cx = BuildContext { catalogue: CATALOGUE, ..alone };
            let mut source =
                (entry.build)(&Settings::from_json(settings), &cx).expect("the settings are valid");
            let stop = CancellationToken::new();
            let cx = plain_context(stored.clone(), stop.clone());
            source.open(&cx).await.expect("it listens");
            let client_ends = async {
                client.over.cancelled().await;
                stop.cancel();
            };
            let both = async { tokio::join!(source.run(cx), client_ends).0 };
            let ended = timeout(END_MAX, both).await.expect("it ends after its client");
            ended.expect("no client makes a source fail");
        });
    });
    Outcome { events: stored.take().events, answers: client.answers() }
}

/// Files, and their state in the channel.
pub(crate) struct Files {
    disk: Arc<SimDisk>,
    stored: Arc<Stored>,
}

impl Files {
    /// Creates the file `/d/a` with this content. The channel has `positions`, with arbitrary keys.
    pub(crate) fn new(content: &[u8], positions: &[(Bytes, Bytes)]) -> Self {
        let (disk, stored) = (Arc::new(SimDisk::new(0)), Stored::default());
        stored.lock().positions.extend(positions.iter().cloned());
        let files = Self { disk, stored: Arc::new(stored) };
        files.disk.create_dir_all(Path::new("/d")).expect("the disk is empty");
        files.put("/d/a", content);
        files
    }

    /// Adds a file.
    pub(crate) fn put(&self, path: &str, content: &[u8]) {
        let mode = OpenMode { write: true, create: true, ..OpenMode::default() };
        let file = self.disk.open(Path::new(path), mode).expect("the disk has room");
        file.write_at(&[IoSlice::new(content)], 0, true).expect("the disk has room");
    }

    /// Runs a source of this kind, until this many batches are stored, or there was enough time to
    /// read everything.
    ///
    /// # Errors
    /// The source does not open.
    pub(crate) fn read(
        &self,
        kind: &str,
        settings: &serde_json::Value,
        batches: usize,
    ) -> Result<(), SourceError> {
        let entry = CATALOGUE.find::<dyn Source>(kind).expect("the kind is known");
        let full = CancellationToken::new();
        self.stored.lock().until = Some((batches, full.clone()));
        RUNTIME.with(|runtime| {
            runtime.block_on(async {
                let env = Env { disk: self.disk.clone(), ..ENV.clone() };
                let alone = BuildContext::alone("in", Path::new("d"), env);
                let cx = BuildContext { catalogue: CATALOGUE, ..alone };
                let settings = Settings::from_json(settings);
                let mut source = (entry.build)(&settings, &cx).expect("the settings are valid");
                let stop = CancellationToken::new();
                let cx = position_context(self.stored.clone(), stop.clone());
                source.open(&cx).await?;
                let is_read = async {
                    full.run_until_cancelled(sleep(LOOKS_FOR)).await;
                    stop.cancel();
                };
                let both = async { tokio::join!(source.run(cx), is_read).0 };
                timeout(END_MAX, both).await.expect("it ends when it is stopped")
            })
        })
    }

    /// Returns the events of all runs.
    pub(crate) fn events(self) -> Vec<Event> {
        self.stored.take().events
    }
}

/// Asserts that the whole input, and pieces of `piece` bytes, give the same result. The settings
/// must disable `repeat_window`: a call counts as repeated if an equal one before it was not
/// answered, and when the source notices that the client is gone depends on the pieces.
pub(crate) fn in_any_pieces(
    kind: &str,
    settings: &serde_json::Value,
    input: &[u8],
    piece: usize,
) -> Outcome {
    let at_once = outcome(kind, settings, std::iter::once(input));
    let in_pieces = outcome(kind, settings, input.chunks(piece.max(1)));
    assert_eq!(at_once.events, in_pieces.events, "the same events in pieces of {piece} bytes");
    at_once
}

/// An environment with a constant time, and without files, variables and programs.
pub(crate) static ENV: LazyLock<Env> = LazyLock::new(|| Env {
    clock: Arc::new(Noon),
    disk: Arc::new(SimDisk::new(0)),
    blocking: Arc::new(InPlace),
    ..env::real()
});

/// A channel that accepts everything.
#[derive(Default)]
struct Stored(Mutex<Kept>);

/// The content of the channel.
#[derive(Default)]
struct Kept {
    events: Vec<Event>,
    positions: BTreeMap<Bytes, Bytes>,
    /// The token to cancel after this many further batches.
    until: Option<(usize, CancellationToken)>,
}

impl Stored {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Kept {
        std::mem::take(&mut *self.lock())
    }
}

#[async_trait]
impl Intake for Stored {
    async fn accept(&self, batch: Batch) -> Result<(), IntakeError> {
        let mut kept = self.lock();
        kept.events.extend(events(&batch));
        for position in &batch.envelope.positions {
            match &position.value {
                Some(value) => kept.positions.insert(position.key.clone(), value.clone()),
                None => kept.positions.remove(&position.key),
            };
        }
        if let Some((left, full)) = &mut kept.until {
            *left = left.saturating_sub(1);
            if *left == 0 {
                full.cancel();
            }
        }
        Ok(())
    }
}

#[async_trait]
impl PositionIntake for Stored {
    fn positions(&self, _source: &str) -> Vec<Vec<(Bytes, Bytes)>> {
        vec![self.lock().positions.clone().into_iter().collect()]
    }
}

/// The same time for every input.
struct Noon;

impl Clock for Noon {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_608_000)
    }
}

/// Blocking work runs inline: there is only one thread.
struct InPlace;

impl Blocking for InPlace {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }
}
