//! Measures the disk itself during another measurement: repeated direct, synchronous writes of one
//! block. No durable pipeline can be faster.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::raw::Blocks;
use crate::raw::DirectFile;

/// Pause between two writes: long enough not to disturb the measurement.
const PAUSE: Duration = Duration::from_millis(25);
/// Size of the file, whose blocks were written before.
const FILE_BYTES: u64 = 4 << 20;

/// Runs `work`. Returns its result, and the milliseconds of each block write meanwhile.
pub(super) fn alongside<T>(
    folder: &Path,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Vec<f64>)> {
    let file = DirectFile::create(folder, 1, FILE_BYTES, Blocks::Written)?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer: ScopedJoinHandle<'_, Result<Vec<f64>>> = scope.spawn(|| {
            let mut millis = Vec::new();
            let mut file = file;
            while !over.load(Ordering::Relaxed) {
                let began = Instant::now();
                file.write_next()?;
                millis.push(began.elapsed().as_secs_f64() * 1e3);
                thread::sleep(PAUSE);
            }
            Ok(millis)
        });
        let result = work();
        over.store(true, Ordering::Relaxed);
        let millis = writer.join().expect("the writer does not panic")?;
        Ok((result?, millis))
    })
}
