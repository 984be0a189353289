//! The raw limits of this machine: plain disk, page cache and loopback. Each is measured in the
//! same run as its counterpart.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, FallocateFlags, OFlags, fadvise, fallocate};

use crate::error::{Doing, Result};

/// Alignment of addresses, offsets and sizes for O_DIRECT.
const BLOCK: usize = 4096;

/// Bytes and their time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moved {
    /// Payload bytes.
    pub(crate) bytes: u64,
    /// Seconds.
    pub(crate) seconds: f64,
}

impl Moved {
    /// Returns megabytes (10⁶) per second.
    pub(crate) fn mb_per_s(self) -> f64 {
        self.bytes as f64 / 1e6 / self.seconds
    }
}

/// A block-aligned buffer, filled with incompressible bytes.
#[derive(Debug)]
struct Aligned {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    /// Allocates at least `len` bytes, rounded up to whole blocks.
    fn new(len: usize) -> Self {
        let len = len.next_multiple_of(BLOCK);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut memory = vec![0; len + BLOCK];
        for byte in &mut memory {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state.to_le_bytes()[0];
        }
        let start = memory.as_ptr().align_offset(BLOCK);
        Self { memory, start, len }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

/// The blocks of a direct write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blocks {
    /// All written before, as in a recycled segment: no journal commit.
    Written,
    /// Allocated and never written, as for a growing backlog.
    Allocated,
}

/// A file written with O_DIRECT and O_DSYNC, from front to back, repeatedly; deleted on drop.
#[derive(Debug)]
pub(crate) struct DirectFile {
    path: PathBuf,
    file: File,
    buffer: Aligned,
    size: usize,
    file_bytes: u64,
    offset: u64,
    /// Number of times that the whole file was written.
    pub(crate) rounds: u64,
}

impl DirectFile {
    /// Creates a file of `file_bytes` in `folder`, for writes of at least `size` bytes each.
    pub(crate) fn create(
        folder: &Path,
        size: usize,
        file_bytes: u64,
        blocks: Blocks,
    ) -> Result<Self> {
        let path = folder.join("raw-direct");
        prepare(&path, file_bytes, blocks)?;
        let flags = (OFlags::DIRECT | OFlags::DSYNC).bits() as i32;
        let file =
            OpenOptions::new().write(true).custom_flags(flags).open(&path).at("open", &path)?;
        let buffer = Aligned::new(size);
        Ok(Self { path, file, buffer, size, file_bytes, offset: 0, rounds: 0 })
    }

    /// Writes repeatedly while `goes_on` returns true, which gets the time and the rounds so far.
    pub(crate) fn write_while(&mut self, goes_on: impl Fn(Duration, u64) -> bool) -> Result<Moved> {
        let (started, mut writes) = (Instant::now(), 0_u64);
        while goes_on(started.elapsed(), self.rounds) {
            self.write_next()?;
            writes += 1;
        }
        let seconds = started.elapsed().as_secs_f64();
        Ok(Moved { bytes: writes * self.size as u64, seconds })
    }

    /// Writes the next blocks durably.
    pub(crate) fn write_next(&mut self) -> Result<()> {
        self.file.write_all_at(self.buffer.bytes(), self.offset).at("write", &self.path)?;
        let step = self.buffer.len as u64;
        self.offset += step;
        if self.offset + step > self.file_bytes {
            self.offset = 0;
            self.rounds += 1;
        }
        Ok(())
    }
}

impl Drop for DirectFile {
    fn drop(&mut self) {
        // If this fails, the scratch folder is deleted anyway.
        let _ = fs::remove_file(&self.path);
    }
}

fn prepare(path: &Path, file_bytes: u64, blocks: Blocks) -> Result<()> {
    let file = File::create(path).at("create", path)?;
    let allocated = fallocate(&file, FallocateFlags::empty(), 0, file_bytes);
    allocated.map_err(Into::into).at("allocate", path)?;
    if blocks == Blocks::Written {
        let chunk = Aligned::new(4 << 20);
        let mut offset = 0;
        while offset < file_bytes {
            let len =
                chunk.bytes().len().min(usize::try_from(file_bytes - offset).unwrap_or(BLOCK));
            file.write_all_at(&chunk.bytes()[..len], offset).at("write", path)?;
            offset += len as u64;
        }
    }
    file.sync_all().at("sync", path)
}

/// Appends `size` bytes repeatedly, each followed by fdatasync, to a new file for `limit`.
pub(crate) fn synced_appends(folder: &Path, size: usize, limit: Duration) -> Result<Moved> {
    let path = folder.join("raw-append");
    let mut file = File::create(&path).at("create", &path)?;
    let buffer = Aligned::new(size);
    let mut bytes = 0;
    let started = Instant::now();
    while started.elapsed() < limit {
        file.write_all(&buffer.bytes()[..size]).at("write", &path)?;
        file.sync_data().at("sync", &path)?;
        bytes += size as u64;
    }
    let seconds = started.elapsed().as_secs_f64();
    fs::remove_file(&path).at("remove", &path)?;
    Ok(Moved { bytes, seconds })
}

/// Reads the first `most` bytes of these files, one after the other, with O_DIRECT in blocks of 1
/// MiB.
pub(crate) fn direct_reads(files: &[PathBuf], most: u64) -> Result<Moved> {
    let flags = OFlags::DIRECT.bits() as i32;
    let mut buffer = Aligned::new(1 << 20);
    let mut bytes = 0;
    let started = Instant::now();
    for path in files {
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).at("open", path)?;
        let mut offset = 0;
        while bytes < most {
            let read = file.read_at(buffer.bytes_mut(), offset).at("read", path)? as u64;
            if read == 0 {
                break;
            }
            (offset, bytes) = (offset + read, bytes + read);
        }
    }
    Ok(Moved { bytes, seconds: started.elapsed().as_secs_f64() })
}

/// Reads a file, or every file below a folder, so that the measured program finds it in the page
/// cache like recently written data: the system may evict data that was unused for seconds.
pub(crate) fn warm(path: &Path) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path).at("list", path)? {
            warm(&entry.at("list", path)?.path())?;
        }
        return Ok(());
    }
    let mut file = BufReader::with_capacity(1 << 20, File::open(path).at("open", path)?);
    io::copy(&mut file, &mut io::sink()).at("read", path)?;
    Ok(())
}

/// Evicts every file below `folder` from the page cache, so that the next reader starts cold.
pub(crate) fn evict(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).at("list", folder)? {
        let path = entry.at("list", folder)?.path();
        if path.is_dir() {
            evict(&path)?;
        } else {
            let file = File::open(&path).at("open", &path)?;
            file.sync_all().at("sync", &path)?;
            let advised = fadvise(&file, 0, None, Advice::DontNeed);
            advised.map_err(Into::into).at("evict", &path)?;
        }
    }
    Ok(())
}

/// Reads a file in blocks of 1 MiB and finds every line end with memchr; returns the lines, too.
pub(crate) fn scan_lines(path: &Path) -> Result<(Moved, u64)> {
    let mut file = File::open(path).at("open", path)?;
    let mut block = vec![0; 1 << 20];
    let (mut bytes, mut lines) = (0, 0);
    let started = Instant::now();
    loop {
        let read = file.read(&mut block).at("read", path)?;
        if read == 0 {
            break;
        }
        bytes += read as u64;
        lines += memchr::memchr_iter(b'\n', &block[..read]).count() as u64;
    }
    Ok((Moved { bytes, seconds: started.elapsed().as_secs_f64() }, lines))
}

/// Sends `count` messages of `size` bytes over one loopback connection; the receiver responds to
/// each with one byte, and the sender waits for all responses at the end.
pub(crate) fn loopback(size: usize, count: u64) -> Result<Moved> {
    let describe = || "send over loopback".to_owned();
    let listener = TcpListener::bind(("127.0.0.1", 0)).doing(describe)?;
    let address = listener.local_addr().doing(describe)?;
    let receiver = thread::spawn(move || receive(&listener, size, count));
    let mut stream = TcpStream::connect(address).doing(describe)?;
    stream.set_nodelay(true).doing(describe)?;
    let mut answers = stream.try_clone().doing(describe)?;
    let message = Aligned::new(size);
    let started = Instant::now();
    let awaited = thread::spawn(move || {
        let mut answer = [0];
        (0..count).try_for_each(|_| answers.read_exact(&mut answer))
    });
    for _ in 0..count {
        stream.write_all(&message.bytes()[..size]).doing(describe)?;
    }
    let panicked = "the threads of the loopback test do not panic";
    awaited.join().expect(panicked).doing(describe)?;
    let seconds = started.elapsed().as_secs_f64();
    receiver.join().expect(panicked).doing(describe)?;
    Ok(Moved { bytes: size as u64 * count, seconds })
}

fn receive(listener: &TcpListener, size: usize, count: u64) -> io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut message = vec![0; size];
    for _ in 0..count {
        stream.read_exact(&mut message)?;
        stream.write_all(&[1])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direct_buffer_starts_at_a_block_and_is_whole_blocks() {
        let buffer = Aligned::new(57_000);
        assert_eq!(buffer.bytes().len() % BLOCK, 0);
        assert!(buffer.bytes().len() >= 57_000);
        assert_eq!(buffer.bytes().as_ptr().align_offset(BLOCK), 0);
    }

    #[test]
    fn every_message_over_loopback_is_answered() {
        assert_eq!(loopback(10_000, 20).unwrap().bytes, 200_000);
    }

    #[test]
    fn a_scan_counts_bytes_and_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "a\nbc\n\n").unwrap();
        let (moved, lines) = scan_lines(&path).unwrap();
        assert_eq!((moved.bytes, lines), (6, 3));
    }

    #[test]
    fn appends_count_what_they_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let moved = synced_appends(folder.path(), 1000, Duration::from_millis(20)).unwrap();
        assert!(moved.bytes >= 1000 && moved.bytes.is_multiple_of(1000));
    }
}
