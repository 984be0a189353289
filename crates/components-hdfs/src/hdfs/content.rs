//! What is written of one file: its events encoded, and compressed on several cores where its codec
//! allows that.
//!
//! ```text
//!  batches ─encode─► piece ─┬─► compressed ─┬─in order─► file
//!    the task that writes   ├─► compressed ─┤   the task that writes
//!                           └─► compressed ─┘
//!                     threads, as many as cores
//! ```
//!
//! A piece has a mebibyte, and less where so many files are open that all of theirs would take much
//! memory. It is a copy: a part of a batch would hold the buffer that all of it was read into.
//!
//! Each piece is a file of its codec by itself, and the pieces in a row are one, too: so it is with
//! codecs that [concatenate](Codec::concatenates), and the others compress in the task that writes.
//!
//! Invariants: the bytes of a file are in the order of its events. All files together have no more
//! pieces in work than there are cores. What is not compressed yet counts with the bytes that it
//! has; [`Content::settle`] makes that exact, before a file is ended for it.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use formats::codecs::compressed;
use formats::format::{Format, FormattedFile};
use pipeline::{Codec, Env, Events};
use support::mutant;
use tokio::sync::oneshot::{self, Receiver};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of one piece at most: the batch that reaches it is its last one.
const PIECE_MAX: usize = 1 << 20;
/// Bytes of one piece however many files are open: smaller ones compress less.
const PIECE_MIN: usize = 128 << 10;
/// Bytes of the pieces that all files gather, as long as each may have [`PIECE_MIN`].
const GATHERED_MAX: usize = 256 << 20;

/// Where pieces are compressed.
#[derive(Clone)]
pub(super) struct Cores {
    env: Env,
    free: Arc<Semaphore>,
    /// Each file that is compressed in pieces has one more of it.
    files: Arc<()>,
}

impl Cores {
    /// Those that this process may use.
    pub(super) fn of(env: &Env) -> Self {
        Self::new(env.clone(), env.blocking.cores())
    }

    fn new(env: Env, count: usize) -> Self {
        Self { env, free: Arc::new(Semaphore::new(count)), files: Arc::default() }
    }

    /// Bytes of a piece, with as many files as there are.
    fn piece(&self) -> usize {
        (GATHERED_MAX / Arc::strong_count(&self.files)).clamp(PIECE_MIN, PIECE_MAX)
    }

    async fn free(&self) -> OwnedSemaphorePermit {
        self.free.clone().acquire_owned().await.expect("it is never closed")
    }
}

/// What is written of one file.
pub(super) struct Content {
    format: FormattedFile,
    pieces: Option<Pieces>,
}

/// What is not compressed yet.
struct Pieces {
    codec: Arc<dyn Codec>,
    gathered: BytesMut,
    in_work: VecDeque<Piece>,
    /// Whether the file has a piece.
    begun: bool,
    _counted: Arc<()>,
}

struct Piece {
    /// Before compression.
    bytes: usize,
    compressed: Receiver<Bytes>,
}

impl Content {
    /// Begins a file.
    pub(super) fn begin(format: &Format, cores: &Cores) -> Self {
        match format.begin_in_pieces() {
            Some((format, codec)) => Self { format, pieces: Some(Pieces::new(codec, cores)) },
            None => Self { format: format.begin(), pieces: None },
        }
    }

    /// Adds events; gives the next bytes of the file, as far as there are any.
    pub(super) async fn encode(&mut self, events: &Events, cores: &Cores) -> Vec<Bytes> {
        let encoded = self.format.encode(events);
        let Some(pieces) = &mut self.pieces else { return vec![encoded] };
        pieces.gathered.extend_from_slice(&encoded);
        if pieces.gathered.len() >= cores.piece() {
            pieces.start(cores).await;
        }
        pieces.ready()
    }

    /// Bytes that it may still grow by without another event.
    pub(super) fn held(&self) -> u64 {
        self.format.held_back() + self.pieces.as_ref().map_or(0, Pieces::bytes)
    }

    /// Waits until all that was encoded is compressed.
    pub(super) async fn settle(&mut self, cores: &Cores) -> Vec<Bytes> {
        match &mut self.pieces {
            Some(pieces) => pieces.settle(cores).await,
            None => Vec::new(),
        }
    }

    /// The last bytes of the file.
    pub(super) async fn finish(&mut self, cores: &Cores) -> Vec<Bytes> {
        let end = match mutant!("file_not_finished") {
            true => Bytes::new(),
            false => self.format.finish(),
        };
        let Some(pieces) = &mut self.pieces else { return vec![end] };
        pieces.gathered.extend_from_slice(&end);
        if !pieces.begun {
            pieces.start(cores).await;
        }
        pieces.settle(cores).await
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

    /// Lets another thread compress what is gathered, once a core is free.
    async fn start(&mut self, cores: &Cores) {
        let core = cores.free().await;
        let (done, answer) = oneshot::channel();
        let (piece, codec) = (mem::take(&mut self.gathered).freeze(), self.codec.clone());
        let bytes = piece.len();
        cores.env.blocking.run(Box::new(move || {
            // The file may be gone.
            let _ = done.send(compressed(&*codec, piece).into());
            drop(core);
        }));
        self.in_work.push_back(Piece { bytes, compressed: answer });
        self.begun = true;
    }

    /// The first pieces, as far as they are compressed.
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

    /// Lines that differ, of about [`BATCH`] bytes.
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

    /// Threads that begin with the work that came last.
    #[derive(Default)]
    struct LastFirst(Mutex<Vec<Box<dyn FnOnce() + Send>>>);

    impl LastFirst {
        fn work(&self) {
            for work in mem::take(&mut *self.0.lock().unwrap()).into_iter().rev() {
                work();
            }
        }
    }

    impl Blocking for LastFirst {
        fn run(&self, work: Box<dyn FnOnce() + Send>) {
            self.0.lock().unwrap().push(work);
        }
    }

    #[tokio::test]
    async fn pieces_are_in_the_order_of_their_events_whichever_is_ready_first() {
        for kind in ["gzip", "zstd"] {
            let threads = Arc::new(LastFirst::default());
            let env = Env { blocking: threads.clone(), ..env::real() };
            let cores = Cores::new(env, 8);
            let mut content = Content::begin(&format(&json!(kind)), &cores);
            let (mut file, mut expected) = (Vec::new(), Vec::new());
            for number in 0..16 {
                let events = batch(number);
                expected.extend_from_slice(events.lines().unwrap());
                file.extend(content.encode(&events, &cores).await);
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
            file.extend(content.finish(&cores).await);
            working.abort();
            assert_eq!(content.held(), 0);
            assert_eq!(plain(kind, &file.concat()), expected, "{kind}");
        }
    }

    #[tokio::test]
    async fn no_more_pieces_are_in_work_than_there_are_cores() {
        let threads = Arc::new(LastFirst::default());
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
            let mut file = content.encode(&batch(1), &cores).await;
            file.extend(content.settle(&cores).await);
            assert_eq!(content.held(), 0, "{kind}");
            file.extend(content.encode(&batch(2), &cores).await);
            file.extend(content.finish(&cores).await);
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
            let file = Content::begin(&format(&json!(kind)), &cores).finish(&cores).await.concat();
            assert!(!file.is_empty(), "{kind}");
            assert_eq!(plain(kind, &file), b"", "{kind}");
        }
    }
}
