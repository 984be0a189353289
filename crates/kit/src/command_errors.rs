//! Standard error of a command: passes on each line, and keeps the last one.

use std::sync::{Arc, Mutex, PoisonError};

use formats::framings::FramedStream;
use pipeline::Frame;
use pipeline::env::Printed;
use tokio::io::AsyncReadExt;
use tokio::time::{Duration, timeout};
use tokio_util::task::AbortOnDropHandle;

/// Maximum length of a line.
const LINE_MAX: usize = 1024;
/// Read size.
const READ_BYTES: usize = 4 << 10;
/// How long to wait for the last lines after the end of a command's output. Background processes of
/// the command may keep its standard error open.
const LAST_WITHIN: Duration = Duration::from_millis(200);

/// Reads the standard error of a command in its own task, so that the command never blocks on it.
pub struct Errors {
    last: Arc<Mutex<Option<String>>>,
    reading: AbortOnDropHandle<()>,
}

impl Errors {
    /// Reads `printed` until it ends, or until this is dropped. Calls `each` with each line.
    pub fn read(printed: Printed, mut each: impl FnMut(&str) + Send + 'static) -> Self {
        let last = Arc::<Mutex<Option<String>>>::default();
        let keep = last.clone();
        let reading = tokio::spawn(read(printed, move |line| {
            each(&line);
            *keep.lock().unwrap_or_else(PoisonError::into_inner) = Some(line);
        }));
        Self { last, reading: AbortOnDropHandle::new(reading) }
    }

    /// Returns the last line.
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
        // An endless line is cut after its beginning.
        let is_over = !matches!(read, Ok(1..));
        while let Ok(Some(line)) = lines.next(is_over) {
            note(line);
        }
        if is_over {
            return;
        }
    }
}
