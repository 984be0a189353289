//! The size of the next segments, and files that are made late, on a simulated disk.

use std::io::IoSlice;

use super::*;
use crate::testkit::SimDisk;

const ROOMS: RangeInclusive<u64> = 64 << 10..=16 << 20;
const NO_TIME: Duration = Duration::ZERO;

#[test]
fn segments_grow_with_their_first_group_and_release_other_sizes() -> io::Result<()> {
    let directory = PathBuf::from("/log");
    let disk = SimDisk::new(1);
    disk.create_dir_all(&directory)?;
    let files = Files::new(Arc::new(disk), directory, Keyring::empty(), ROOMS, 2, NO_TIME);
    let room = |id| files.next(id, 0).map(|prepared| prepared.room);
    let small = room(1)?;
    files.recycle(1, small);
    for (opening, expected) in [
        (200 << 10, 64 << 10), // little
        (300 << 10, 8 << 20),
        (9 << 20, 16 << 20), // no more than may be
        (270 << 10, 16 << 20),
        (100 << 10, 64 << 10),
    ] {
        files.resize_for(opening);
        assert_eq!(room(2)?, expected, "beginning with {opening} bytes");
        assert_eq!(files.reserve_bytes(u64::MAX), 4 * expected);
    }
    files.recycle(2, 16 << 20);
    assert!(files.release_surplus(u64::MAX, false), "it is of no use to small ones");
    Ok(())
}

#[test]
fn a_file_that_is_prepared_late_does_not_replace_its_segment() -> io::Result<()> {
    let disk = SimDisk::new(1);
    disk.set_direct(false); // so that any bytes can be written anywhere
    let directory = PathBuf::from("/log");
    disk.create_dir_all(&directory)?;
    let files = Files::new(Arc::new(disk), directory, Keyring::empty(), ROOMS, 2, NO_TIME);
    files.recycle(3, files.next(3, 0)?.room);
    // Two segments are begun one after the other before the first's preparation gets to run.
    let (first, second) = (files.next(4, 0)?, files.next(5, 0)?);
    for (segment, text) in [(&first, b"released now"), (&second, b"acknowledged")] {
        segment.file.write_at(&[IoSlice::new(text)], 0, true)?;
    }
    files.recycle(4, first.room);
    files.prepare(5, 0)?;
    let mut found = [0; 12];
    files.open(5, false)?.read_at(&mut found, 0)?;
    assert_eq!(&found, b"acknowledged");
    files.prepare(6, 0)?;
    assert_eq!(files.next(6, 0)?.id, 6);
    Ok(())
}
