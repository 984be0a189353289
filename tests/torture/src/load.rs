//! An application that logs: lines with serial numbers, appended and rotated.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const TICK: Duration = Duration::from_millis(20);
/// Lines in a file before it is renamed.
const LINES_PER_FILE: u64 = 20_000;
/// Number of lines after which long and short ones alternate: short ones take another path through
/// an edge.
const LINES_ALIKE: u64 = 1_000;

/// Returns line `serial` of the writer `name`.
pub(crate) fn line(name: &str, serial: u64) -> String {
    format!("{name} {serial:012} {}\n", rest_of_line(serial))
}

/// Returns the part of a line after its number.
pub(crate) fn rest_of_line(serial: u64) -> &'static str {
    if (serial / LINES_ALIKE).is_multiple_of(2) {
        "GET /shop/cart HTTP/1.1 200 5120"
    } else {
        "GET /"
    }
}

/// A thread that writes until it is stopped.
pub(crate) struct Writer {
    name: String,
    folder: PathBuf,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    writing: AtomicBool,
    over: AtomicBool,
    /// Number of complete lines in the files.
    written: AtomicU64,
}

impl Writer {
    /// Writes `lines_per_second` to `folder`, from [`Writer::go`] on.
    pub(crate) fn new(name: &str, folder: &Path, lines_per_second: u64) -> Self {
        fs::create_dir_all(folder).expect("the folder of the logs");
        let shared = Arc::new(Shared::default());
        let (name, folder) = (name.to_owned(), folder.to_owned());
        let thread = {
            let (name, folder, shared) = (name.clone(), folder.clone(), shared.clone());
            let per_tick = lines_per_second * TICK.as_millis() as u64 / 1_000;
            thread::spawn(move || write(&name, &folder, per_tick, &shared))
        };
        Self { name, folder, shared, thread: Some(thread) }
    }

    /// Returns the prefix of its lines.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Starts writing.
    pub(crate) fn go(&self) {
        self.shared.writing.store(true, Ordering::SeqCst);
    }

    /// Pauses writing. Returns the number of lines so far.
    pub(crate) fn rest(&self) -> u64 {
        self.shared.writing.store(false, Ordering::SeqCst);
        // Wait for the end of the current tick.
        thread::sleep(TICK * 3);
        self.shared.written.load(Ordering::SeqCst)
    }

    /// Deletes renamed files, like log rotation. Call only after all of them are delivered.
    pub(crate) fn remove_old(&self) {
        let entries = fs::read_dir(&self.folder).expect("the folder of the logs");
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            if !path.ends_with("app.log") {
                fs::remove_file(&path).expect("a log is removed");
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

fn open(path: &Path) -> File {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.unwrap_or_else(|e| panic!("open {}: {e}", path.display()))
}

fn write(name: &str, folder: &Path, per_tick: u64, shared: &Shared) {
    let path = folder.join("app.log");
    let mut file = open(&path);
    let mut next = 0;
    while !shared.over.load(Ordering::SeqCst) {
        thread::sleep(TICK);
        if !shared.writing.load(Ordering::SeqCst) {
            continue;
        }
        let text: String = (next..next + per_tick).map(|serial| line(name, serial)).collect();
        file.write_all(text.as_bytes()).expect("a log is written");
        next += per_tick;
        shared.written.store(next, Ordering::SeqCst);
        if next % LINES_PER_FILE < per_tick {
            fs::rename(&path, folder.join(format!("app.log.{next:012}"))).expect("a log rotates");
            file = open(&path);
        }
    }
}
