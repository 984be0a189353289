//! What a command prints on its standard error: each line is handed over, and the last one kept.

use std::sync::{Arc, Mutex, PoisonError};

use formats::framings::FramedStream;
use pipeline::Frame;
use pipeline::env::Printed;
use tokio::io::AsyncReadExt;
use tokio::time::{Duration, timeout};
use tokio_util::task::AbortOnDropHandle;

/// Bytes of a line that are handed over and kept.
const LINE_MAX: usize = 1024;
/// Bytes that are read at once.
const READ_BYTES: usize = 4 << 10;
/// How long after the end of its output a command's last errors are waited for. What it has started
/// and left behind may keep them open.
const LAST_WITHIN: Duration = Duration::from_millis(200);

/// Reads the errors of one command in a task of its own, so that a command is never held back by
/// them.
pub struct Errors {
    last: Arc<Mutex<Option<String>>>,
    reading: AbortOnDropHandle<()>,
}

impl Errors {
    /// Reads `printed` until it ends, or until this is dropped. Each line goes to `each`.
    pub fn read(printed: Printed, mut each: impl FnMut(&str) + Send + 'static) -> Self {
        let last = Arc::<Mutex<Option<String>>>::default();
        let keep = last.clone();
        let reading = tokio::spawn(read(printed, move |line| {
            each(&line);
            *keep.lock().unwrap_or_else(PoisonError::into_inner) = Some(line);
        }));
        Self { last, reading: AbortOnDropHandle::new(reading) }
    }

    /// The last line.
    pub async fn last(self) -> Option<String> {
        let _ = timeout(LAST_WITHIN, self.reading).await;
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

async fn read(mut printed: Printed, mut note: impl FnMut(String)) {
    let mut lines = FramedStream::lines(LINE_MAX);
    let mut note = |line: Frame| {
        let text = String::from_utf8_lossy(&line.message);
        let text = text.trim();
        if !text.is_empty() {
            note(text.to_owned());
        }
    };
    loop {
        lines.buffer().reserve(READ_BYTES);
        let read = printed.read_buf(lines.buffer()).await;
        // A line that never ends is known by its beginning.
        let is_over = !matches!(read, Ok(1..));
        while let Ok(Some(line)) = lines.next(is_over) {
            note(line);
        }
        if is_over {
            return;
        }
    }
}
