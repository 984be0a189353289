//! A scan reads no byte twice, and hardly any bodies unless asked to.
//!
//! Method: frames of many sizes are laid out as by a leader, and scanned from a file that counts
//! the bytes read from it.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pipeline::env::{Disk, FileStat, OpenMode};

use super::*;
use crate::durable::log::frame::{Body, Frame};
use crate::durable::log::layout::{Layout, Part, Pen};
use crate::durable::log::seal::Keyring;
use crate::durable::log::segment::Kind;
use crate::testkit::SimDisk;

struct Counting {
    file: Arc<dyn DiskFile>,
    read: AtomicU64,
}

impl DiskFile for Counting {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.file.read_at(buffer, offset)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64, durable: bool) -> io::Result<()> {
        self.file.write_at(buffers, offset, durable)
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn stat(&self) -> io::Result<FileStat> {
        self.file.stat()
    }
}

/// Builds a segment with one group for each body; returns its end.
fn segment(bodies: &[usize], seed: Seed<'_>) -> io::Result<(Counting, u64)> {
    let mode = OpenMode { write: true, create: true, direct: true, ..OpenMode::default() };
    let file = SimDisk::new(1).open(Path::new("/segment"), mode)?;
    let (mut staging, mut end) = (Aligned::default(), BLOCK as u64);
    for (ticket, len) in (0..).zip(bodies) {
        let pieces = [Bytes::from(vec![ticket as u8; *len])];
        let body = Body::in_place(&pieces, 300, &crate::durable::log::aligned::buffers());
        let mut frames = [Frame::put(ticket, 1, vec![7; 200], body)];
        let mut pen = Pen { staging: &mut staging, seed, sealer: None };
        let layout = Layout::new(&mut frames, &mut pen, end);
        assert!(
            matches!(layout.parts[..], [Part::Own(0)]),
            "a frame in its place is written alone"
        );
        file.write_at(&[IoSlice::new(frames[0].bytes())], end, true)?;
        end = layout.end;
    }
    Ok((Counting { file, read: AtomicU64::new(0) }, end))
}

/// The results of a scan.
struct Scanning {
    /// Tickets of the frames that are found, and whether their bodies are sound.
    found: Vec<(u64, bool)>,
    /// Bytes that were read for that.
    read: u64,
    /// Bytes that there are.
    there: u64,
}

fn scanned(bodies: &[usize], with: Bodies) -> io::Result<Scanning> {
    let keys = Keyring::empty();
    let seed = Seed::new(&[1; 16], 3, &keys);
    let (file, end) = segment(bodies, seed)?;
    let found = scan_with(with, &file, seed, BLOCK as u64, end)?;
    assert_eq!((found.end, found.torn_bytes, found.damaged.len()), (end, 0, 0));
    let puts = found.frames.iter().filter(|frame| frame.header.kind == Kind::Put);
    let found = puts.map(|frame| (frame.header.ticket, frame.body_sound)).collect();
    let (read, there) = (file.read.load(Ordering::Relaxed), end - BLOCK as u64);
    Ok(Scanning { found, read, there })
}

#[test]
fn each_byte_is_read_once() -> io::Result<()> {
    let sizes = [580_000, 90, 57_000, 2_900_000, 130_000, 1_048_576, 4_096, 900_000];
    for bodies in [sizes.repeat(2), vec![57_300; 90], vec![580_000; 12], vec![2_900_000; 3]] {
        let expected: Vec<_> = (0..bodies.len() as u64).map(|ticket| (ticket, true)).collect();
        let Scanning { found, read, there } = scanned(&bodies, Bodies::Check)?;
        assert_eq!(found, expected);
        assert_eq!(read, there, "bodies of {bodies:?}");
        let Scanning { found, read, .. } = scanned(&bodies, Bodies::Trust)?;
        assert_eq!(found, expected);
        assert!(read <= there, "{read} of {there} bytes for bodies of {bodies:?}");
    }
    Ok(())
}

#[test]
fn large_bodies_that_are_trusted_are_not_read() -> io::Result<()> {
    let Scanning { found, read, there } = scanned(&[580_000; 30], Bodies::Trust)?;
    assert_eq!(found.len(), 30);
    // The first one is not known to be large before it is read.
    assert!(read < there / 10, "{read} of {there} bytes");
    Ok(())
}
