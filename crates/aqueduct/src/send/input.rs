//! Groups lines of a stream into batches. Memory is bounded: a few batches of some MiB each.

use std::io::Read;

use bytes::{BufMut, BytesMut};
use pipeline::{Batch, BatchBuilder, Frame, Framing};
use tokio::sync::mpsc;

/// Maximum length of a line, in bytes.
const LINE_MAX: usize = 16 << 20;

/// A batch of this size is sent, however few events it contains.
const BATCH_BYTES: usize = 4 << 20;

/// Bytes per read.
const READ_BYTES: usize = 256 << 10;

/// Batches that wait to be sent.
const AHEAD: usize = 2;

/// Result of a read.
#[derive(Debug)]
pub(super) enum Lines {
    /// The next lines.
    Batch(Batch),
    /// The input cannot be read, and why.
    Failed(String),
}

/// How lines become events.
#[derive(Debug)]
pub(super) struct Input {
    /// Headers of every event.
    pub(super) headers: Vec<(String, String)>,
    /// Maximum number of events in a batch.
    pub(super) batch: usize,
    /// Lines to skip at the beginning.
    pub(super) skip: u64,
}

/// Collects lines into batches.
struct Cutter<'a> {
    headers: Vec<(&'a str, &'a str)>,
    batch_max: usize,
    builder: BatchBuilder,
    /// Number of lines so far.
    lines: u64,
    skip: u64,
    given: &'a mpsc::Sender<Lines>,
}

/// The receiver of the batches is gone.
struct ReceiverGone;

impl Input {
    /// Reads in a new thread, which may block while the stream is open.
    pub(super) fn begin(self, stream: impl Read + Send + 'static) -> mpsc::Receiver<Lines> {
        let (given, lines) = mpsc::channel(AHEAD);
        std::thread::spawn(move || {
            if let Err(problem) = self.read(stream, &given) {
                // If the receiver is gone, the program is exiting.
                let _ = given.blocking_send(Lines::Failed(problem));
            }
        });
        lines
    }

    fn read(&self, mut stream: impl Read, given: &mpsc::Sender<Lines>) -> Result<(), String> {
        let headers = self.headers.iter().map(|(name, value)| (&**name, &**value));
        let mut cutter = Cutter {
            headers: headers.collect(),
            batch_max: self.batch,
            builder: BatchBuilder::default(),
            lines: 0,
            skip: self.skip,
            given,
        };
        let framing = catalogue::FULL.find::<dyn Framing>("lines")?;
        let cx = pipeline::BuildContext::alone("input", "".as_ref(), env::real());
        let framing = (framing.build)(&pipeline::Settings::empty(), &cx);
        let mut framer = framing.map_err(|error| error.to_string())?.begin(LINE_MAX);
        let (mut held, mut bytes) = (BytesMut::new(), vec![0; READ_BYTES]);
        loop {
            let read = match stream.read(&mut bytes) {
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(format!(
                        "cannot read standard input: {error}; redirect a file, as in `< events.log`"
                    ));
                }
            };
            if read == 0 {
                break;
            }
            held.put_slice(&bytes[..read]);
            while let Some(frame) = framer.next(&mut held).map_err(|lost| lost.to_string())? {
                if cutter.take(&frame)?.is_err() {
                    return Ok(());
                }
            }
            // Do not hold back the lines of a slow stream.
            if cutter.send_batch().is_err() {
                return Ok(());
            }
        }
        // The last line may lack a line feed.
        if let Some(last) = framer.rest(&mut held).map_err(|lost| lost.to_string())?
            && cutter.take(&last)?.is_err()
        {
            return Ok(());
        }
        if cutter.lines < self.skip {
            let (skip, lines) = (self.skip, cutter.lines);
            return Err(format!(
                "--skip {skip}: standard input has only {lines} lines; pass the same file as before"
            ));
        }
        let _ = cutter.send_batch();
        Ok(())
    }
}

impl Cutter<'_> {
    /// Adds a line.
    ///
    /// # Errors
    /// The line is too long.
    fn take(&mut self, frame: &Frame) -> Result<Result<(), ReceiverGone>, String> {
        self.lines += 1;
        if self.lines <= self.skip {
            return Ok(Ok(()));
        }
        if frame.is_cut {
            let problem = format!("line {} has more than {LINE_MAX} bytes; divide it", self.lines);
            // The lines before it are sent.
            return if self.send_batch().is_err() { Ok(Err(ReceiverGone)) } else { Err(problem) };
        }
        self.builder.push(&frame.message, &self.headers);
        let is_full =
            self.builder.len() >= self.batch_max || self.builder.body_bytes() >= BATCH_BYTES;
        Ok(if is_full { self.send_batch() } else { Ok(()) })
    }

    /// Sends the current batch.
    fn send_batch(&mut self) -> Result<(), ReceiverGone> {
        if self.builder.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.builder).finish();
        self.given.blocking_send(Lines::Batch(batch)).map_err(|_| ReceiverGone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the batch sizes, the bodies, and the error.
    fn read(
        stream: impl Read + Send + 'static,
        (batch, skip): (usize, u64),
    ) -> (Vec<usize>, Vec<String>, Option<String>) {
        let headers = vec![("a".to_owned(), "1".to_owned())];
        let mut lines = Input { headers, batch, skip }.begin(stream);
        let (mut sizes, mut bodies, mut failed) = (Vec::new(), Vec::new(), None);
        while let Some(read) = lines.blocking_recv() {
            match read {
                Lines::Batch(batch) => {
                    sizes.push(batch.len());
                    for event in batch.iter() {
                        assert_eq!(event.headers().collect::<Vec<_>>(), [("a", "1")]);
                        bodies.push(String::from_utf8_lossy(event.body()).into_owned());
                    }
                }
                Lines::Failed(problem) => failed = Some(problem),
            }
        }
        (sizes, bodies, failed)
    }

    #[test]
    fn lines_are_events_also_empty_ones_and_a_last_one_without_its_end() {
        let (sizes, bodies, failed) = read(&b"one\r\n\n\xfftwo\nthree"[..], (2, 0));
        assert_eq!((sizes, failed), (vec![2, 1, 1], None));
        assert_eq!(bodies, ["one", "", "\u{fffd}two", "three"]);
        assert_eq!(read(&b""[..], (2, 0)), (vec![], vec![], None));
    }

    #[test]
    fn skipped_lines_are_omitted_and_must_exist() {
        let (_, bodies, failed) = read(&b"a\nb\nc\n"[..], (100, 2));
        assert_eq!((bodies, failed), (vec!["c".to_owned()], None));
        let (_, bodies, failed) = read(&b"a\nb\nc\n"[..], (100, 3));
        assert_eq!((bodies, failed), (vec![], None));
        let (_, bodies, failed) = read(&b"a\nb\nc\n"[..], (100, 4));
        assert_eq!(bodies, Vec::<String>::new());
        assert_eq!(
            failed.unwrap(),
            "--skip 4: standard input has only 3 lines; pass the same file as before"
        );
    }

    #[test]
    fn batches_and_lines_have_limits() {
        let many = vec![b'\n'; 1_001];
        assert_eq!(read(std::io::Cursor::new(many), (100, 0)).0.len(), 11);
        let large = [vec![b'x'; BATCH_BYTES / 2], b"\n".to_vec()].concat().repeat(5);
        let (sizes, _, failed) = read(std::io::Cursor::new(large), (100, 0));
        assert!(sizes.iter().all(|size| *size <= 2) && failed.is_none(), "{sizes:?}");
        let most = vec![b'x'; LINE_MAX];
        let (sizes, ..) = read(std::io::Cursor::new(most.clone()), (100, 0));
        assert_eq!(sizes, [1], "the longest line, without its end");
        for end in [&b"x"[..], b"x\nmore\n"] {
            let long = [b"first\n", &most[..], end].concat();
            let (_, bodies, failed) = read(std::io::Cursor::new(long), (100, 0));
            assert!(bodies == ["first"], "{} lines", bodies.len());
            assert_eq!(
                failed.unwrap(),
                format!("line 2 has more than {LINE_MAX} bytes; divide it")
            );
        }
    }
}
