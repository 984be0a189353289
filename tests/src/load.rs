//! A steady load: logs that grow until a test is finished.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Logs per second, and lines per log.
const LOGS: u32 = 10;
const LINES: usize = 200;

/// Writes 2,000 lines per second into new `*.log` files of a folder.
#[derive(Debug)]
pub struct Load {
    ends: Arc<AtomicBool>,
    written: JoinHandle<Vec<u8>>,
}

impl Load {
    /// Starts. Each line has `width` bytes after its unique number.
    ///
    /// # Panics
    ///
    /// When a log cannot be written, at [`Load::end`].
    pub fn begin(dir: &Path, width: usize) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let (dir, is_over, filler) = (dir.to_owned(), ends.clone(), "x".repeat(width));
        let written = thread::spawn(move || {
            let mut written = Vec::new();
            for name in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let line = |number| format!("{name} {number} {filler}\n");
                let text: String = (0..LINES).map(line).collect();
                written.extend_from_slice(text.as_bytes());
                fs::write(dir.join(format!("{name}.log")), text).expect("a log is written");
                thread::sleep(Duration::from_secs(1) / LOGS);
            }
            written
        });
        Self { ends, written }
    }

    /// Stops. Returns all written lines.
    ///
    /// # Panics
    ///
    /// When a log could not be written.
    pub fn end(self) -> Vec<u8> {
        self.ends.store(true, Ordering::Relaxed);
        self.written.join().expect("the load ends")
    }
}
