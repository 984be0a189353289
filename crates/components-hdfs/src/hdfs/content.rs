//! Encodes the events of a file, and compresses them on several cores if the codec allows it.
//!
//! ```text
//!  batches ─encode─► piece ─┬─► compressed ─┬─in order─► file
//!    task of the writer     ├─► compressed ─┤   task of the writer
//!                           └─► compressed ─┘
//!                     threads, one per core
//! ```
//!
//! A piece has a mebibyte, or less if many files are open, to limit memory. It is a copy: a slice
//! of a batch would keep its whole read buffer alive.
//!
//! Each piece is a valid file of its codec, and so are concatenated pieces, for codecs that
//! [concatenate](Codec::concatenates). Other codecs compress in the writer's task.
//!
//! Invariants: the bytes of a file are in the order of its events. All files together have at most
//! as many pieces in progress as there are cores. Uncompressed data counts with its uncompressed
//! size; [`Content::settle`] makes the size exact before a file is ended because of it.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use formats::codecs::compressed;
use formats::format::{Format, FormattedFile};
use pipeline::{Codec, Env, Events, SinkError};
use support::mutant;
use tokio::sync::oneshot::{self, Receiver};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Maximum size of a piece; the batch that reaches it is its last one.
const PIECE_MAX: usize = 1 << 20;
/// Minimum size of a piece, however many files are open: smaller pieces compress worse.
const PIECE_MIN: usize = 128 << 10;
/// Maximum bytes in the pieces of all files, unless each is at [`PIECE_MIN`].
const GATHERED_MAX: usize = 256 << 20;

/// The compression threads.
#[derive(Clone)]
pub(super) struct Cores {
    env: Env,
    free: Arc<Semaphore>,
    /// Its reference count is the number of files compressed in pieces.
    files: Arc<()>,
}

impl Cores {
    /// Returns the cores of this process.
    pub(super) fn from_env(env: &Env) -> Self {
        Self::new(env.clone(), env.blocking.cores())
    }

    fn new(env: Env, count: usize) -> Self {
        Self { env, free: Arc::new(Semaphore::new(count)), files: Arc::default() }
    }

    /// Returns the piece size for the current number of files.
    fn piece(&self) -> usize {
        (GATHERED_MAX / Arc::strong_count(&self.files)).clamp(PIECE_MIN, PIECE_MAX)
    }

    async fn free(&self) -> OwnedSemaphorePermit {
        self.free.clone().acquire_owned().await.expect("it is never closed")
    }
}

/// The content of a file.
pub(super) struct Content {
    format: FormattedFile,
    pieces: Option<Pieces>,
}

/// Data that is not yet compressed.
struct Pieces {
    codec: Arc<dyn Codec>,
    gathered: BytesMut,
    in_work: VecDeque<Piece>,
    /// Whether the file has a piece.
    begun: bool,
    _counted: Arc<()>,
}

struct Piece {
    /// Size before compression.
    bytes: usize,
    compressed: Receiver<Bytes>,
}

impl Content {
    /// Starts a file.
    pub(super) fn begin(format: &Format, cores: &Cores) -> Self {
        match format.begin_in_pieces() {
            Some((format, codec)) => Self { format, pieces: Some(Pieces::new(codec, cores)) },
            None => Self { format: format.begin(), pieces: None },
        }
    }

    /// Adds events. Returns the next available bytes of the file.
    ///
    /// # Errors
    /// The encoder is remote and has failed.
    pub(super) async fn encode(
        &mut self,
        events: &Events,
        cores: &Cores,
    ) -> Result<Vec<Bytes>, SinkError> {
        let encoded = self.format.encode(events).await?;
        let Some(pieces) = &mut self.pieces else { return Ok(vec![encoded]) };
        pieces.gathered.extend_from_slice(&encoded);
        if pieces.gathered.len() >= cores.piece() {
            pieces.start(cores).await;
        }
        Ok(pieces.ready())
    }

    /// Returns how many bytes the file may still grow without another event.
    pub(super) fn held(&self) -> u64 {
        self.format.held_back() + self.pieces.as_ref().map_or(0, Pieces::bytes)
    }

    /// Waits until everything encoded is compressed.
    pub(super) async fn settle(&mut self, cores: &Cores) -> Vec<Bytes> {
        match &mut self.pieces {
            Some(pieces) => pieces.settle(cores).await,
            None => Vec::new(),
        }
    }

    /// Returns the last bytes of the file.
    ///
    /// # Errors
    /// The encoder is remote and has failed.
    pub(super) async fn finish(&mut self, cores: &Cores) -> Result<Vec<Bytes>, SinkError> {
        let end = match mutant!("file_not_finished") {
            true => Bytes::new(),
            false => self.format.finish().await?,
        };
        let Some(pieces) = &mut self.pieces else { return Ok(vec![end]) };
        pieces.gathered.extend_from_slice(&end);
        if !pieces.begun {
            pieces.start(cores).await;
        }
        Ok(pieces.settle(cores).await)
    }
}

impl Pieces {
    fn new(codec: Arc<dyn Codec>, cores: &Cores) -> Self {
        let (gathered, in_work) = Default::default();
        Self { codec, gathered, in_work, begun: false, _counted: cores.files.clone() }
    }

    fn bytes(&self) -> u64 {
        let in_work: usize = self.in_work.iter().map(|piece| piece.bytes).sum();
        (self.gathered.len() + in_work) as u64
    }

    /// Compresses the gathered data on another thread, as soon as a core is free.
    async fn start(&mut self, cores: &Cores) {
        let core = cores.free().await;
        let (done, answer) = oneshot::channel();
        let (piece, codec) = (mem::take(&mut self.gathered).freeze(), self.codec.clone());
        let bytes = piece.len();
        cores.env.blocking.run(Box::new(move || {
            // The receiver may have been dropped.
            let _ = done.send(compressed(&*codec, piece).into());
            drop(core);
        }));
        self.in_work.push_back(Piece { bytes, compressed: answer });
        self.begun = true;
    }

    /// Returns the first pieces that are already compressed.
    fn ready(&mut self) -> Vec<Bytes> {
        let mut ready = Vec::new();
        while let Some(first) = self.in_work.front_mut()
            && let Ok(compressed) = first.compressed.try_recv()
        {
            ready.push(compressed);
            self.in_work.pop_front();
        }
        ready
    }

    async fn settle(&mut self, cores: &Cores) -> Vec<Bytes> {
        if !self.gathered.is_empty() {
            self.start(cores).await;
        }
        let mut ready = Vec::new();
        while let Some(first) = self.in_work.pop_front() {
            ready.push(first.compressed.await.expect("a piece ends with its bytes"));
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Mutex;

    use pipeline::env::Blocking;
    use pipeline::{Batch, Choice, Settings};
    use serde_json::{Value, json};

    use super::*;

    const BATCH: usize = 300 << 10;

    fn format(codec: &Value) -> Format {
        let cx = formats::alone("out", std::path::Path::new("unused"), env::real());
        let codec = Settings::from_json(codec).read::<Choice<_>>().unwrap();
        let text = Settings::from_json(&json!("text")).read::<Choice<_>>().unwrap();
        Format::new(&text, &codec, &cx).unwrap()
    }

    /// Returns distinct lines, of about [`BATCH`] bytes.
    fn batch(number: usize) -> Batch {
        let lines: Vec<String> =
            (0..BATCH / 32).map(|at| format!("{number:08} {at:022}")).collect();
        Batch::of(lines.iter().map(String::as_str))
    }

    fn plain(kind: &str, bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        match kind {
            "gzip" => flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut plain),
            _ => zstd::Decoder::new(bytes).unwrap().read_to_end(&mut plain),
        }
        .unwrap();
        plain
    }

    /// Threads that run the most recent work first.
    #[derive(Default)]
    struct LifoThreads(Mutex<Vec<Box<dyn FnOnce() + Send>>>);

    impl LifoThreads {
        fn work(&self) {
            for work in mem::take(&mut *self.0.lock().unwrap()).into_iter().rev() {
                work();
            }
        }
    }

    impl Blocking for LifoThreads {
        fn run(&self, work: Box<dyn FnOnce() + Send>) {
            self.0.lock().unwrap().push(work);
        }
    }

    #[tokio::test]
    async fn pieces_are_in_the_order_of_their_events_whichever_is_ready_first() {
        for kind in ["gzip", "zstd"] {
            let threads = Arc::new(LifoThreads::default());
            let env = Env { blocking: threads.clone(), ..env::real() };
            let cores = Cores::new(env, 8);
            let mut content = Content::begin(&format(&json!(kind)), &cores);
            let (mut file, mut expected) = (Vec::new(), Vec::new());
            for number in 0..16 {
                let events = batch(number);
                expected.extend_from_slice(events.lines().unwrap());
                file.extend(content.encode(&events, &cores).await.unwrap());
            }
            assert!(file.is_empty(), "{kind}: nothing is compressed yet");
            assert_eq!(threads.0.lock().unwrap().len(), 4, "{kind}: pieces of four batches each");
            assert_eq!(content.held(), expected.len() as u64);
            let working = tokio::spawn(async move {
                loop {
                    threads.work();
                    tokio::task::yield_now().await;
                }
            });
            file.extend(content.finish(&cores).await.unwrap());
            working.abort();
            assert_eq!(content.held(), 0);
            assert_eq!(plain(kind, &file.concat()), expected, "{kind}");
        }
    }

    #[tokio::test]
    async fn no_more_pieces_are_in_work_than_there_are_cores() {
        let threads = Arc::new(LifoThreads::default());
        let cores = Cores::new(Env { blocking: threads.clone(), ..env::real() }, 2);
        let mut files: Vec<_> =
            (0..3).map(|_| Content::begin(&format(&json!("zstd")), &cores)).collect();
        for (number, content) in files.iter_mut().enumerate() {
            let (mut added, large) = (0, batch(number));
            while added < 4 {
                let encoding = content.encode(&large, &cores);
                let waits = tokio::time::timeout(std::time::Duration::from_millis(50), encoding);
                assert_eq!(waits.await.is_err(), (number, added) == (2, 3), "{number} {added}");
                added += 1;
            }
        }
        assert_eq!(threads.0.lock().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn pieces_are_smaller_while_many_files_are_open() {
        let cores = Cores::new(env::real(), 2);
        let zstd = format(&json!("zstd"));
        let open = |count| Vec::from_iter((0..count).map(|_| Content::begin(&zstd, &cores)));
        for (count, piece) in [(1, 1 << 20), (255, 1 << 20), (511, 512 << 10), (9_000, 128 << 10)] {
            let files = open(count);
            assert_eq!(cores.piece(), piece, "{count}");
            drop(files);
            assert_eq!(cores.piece(), 1 << 20, "as before {count} files");
        }
    }

    #[tokio::test]
    async fn a_settled_file_counts_as_what_it_has_and_goes_on() {
        let cores = Cores::new(env::real(), 2);
        for kind in ["gzip", "zstd", "deflate", "none"] {
            let mut content = Content::begin(&format(&json!(kind)), &cores);
            let mut file = content.encode(&batch(1), &cores).await.unwrap();
            file.extend(content.settle(&cores).await);
            assert_eq!(content.held(), 0, "{kind}");
            file.extend(content.encode(&batch(2), &cores).await.unwrap());
            file.extend(content.finish(&cores).await.unwrap());
            let expected = [batch(1).lines().unwrap().clone(), batch(2).lines().unwrap().clone()];
            if ["gzip", "zstd"].contains(&kind) {
                assert_eq!(plain(kind, &file.concat()), expected.concat(), "{kind}");
            }
        }
    }

    #[tokio::test]
    async fn a_file_without_a_byte_is_still_one_of_its_codec() {
        let cores = Cores::new(env::real(), 1);
        for kind in ["gzip", "zstd"] {
            let mut content = Content::begin(&format(&json!(kind)), &cores);
            let file = content.finish(&cores).await.unwrap().concat();
            assert!(!file.is_empty(), "{kind}");
            assert_eq!(plain(kind, &file), b"", "{kind}");
        }
    }
}
