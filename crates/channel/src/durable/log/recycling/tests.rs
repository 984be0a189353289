//! Reuse and removal of released segments' files, on a simulated disk.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use pipeline::env::Disk;

use super::*;
use crate::durable::log::seal::Keyring;
use crate::testkit::SimDisk;

const ROOMS: RangeInclusive<u64> = 64 << 10..=16 << 20;
const NO_TIME: Duration = Duration::ZERO;

#[test]
fn reuses_surplus_files_until_the_oldest_are_removed() -> io::Result<()> {
    let disk = SimDisk::new(1);
    let directory = PathBuf::from("/log");
    disk.create_dir_all(&directory)?;
    let room = 64 << 10;
    let files = Files::new(Arc::new(disk), directory, Keyring::empty(), ROOMS, 2, NO_TIME);
    for id in 1..=6 {
        files.next(id, 0)?;
    }
    (1..=5).for_each(|id| files.recycle(id, room));
    assert_eq!(files.idle_bytes(), Some(5 * room));
    assert!(files.release_surplus(room, false));
    let names = || Ok::<_, io::Error>(files.list()?.into_iter().map(|(id, _)| id).collect());
    let left: Vec<u64> = names()?;
    assert_eq!(left, [2, 3, 4, 5, 6]);
    files.next(7, 0)?;
    let left: Vec<u64> = names()?;
    assert_eq!(left, [2, 3, 4, 6, 7], "no file is made while there is one");
    assert!(files.release_surplus(u64::MAX, false) && !files.release_surplus(u64::MAX, false));
    let left: Vec<u64> = names()?;
    assert_eq!(left, [3, 4, 6, 7]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn keeps_emptied_files_that_are_reused_and_releases_idle_ones() -> io::Result<()> {
    let disk = SimDisk::new(1);
    let directory = PathBuf::from("/log");
    disk.create_dir_all(&directory)?;
    let (room, idle_max) = (64 << 10, Duration::from_secs(60));
    let disk = Arc::new(disk);
    let files = Files::new(disk, directory, Keyring::empty(), ROOMS, 2, idle_max);
    let mut next = 1..;
    // Eight segments are filled and then emptied together, repeatedly.
    for _ in 0..50 {
        let filled: Vec<u64> = next.by_ref().take(8).collect();
        for id in &filled {
            files.next(*id, 0)?;
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        filled.iter().for_each(|id| files.recycle(*id, room));
        assert!(!files.release_surplus(u64::MAX, false), "it is needed again");
        assert_eq!(files.list()?.len(), 8, "and nothing else is");
    }
    tokio::time::advance(idle_max).await;
    while files.release_surplus(u64::MAX, false) {}
    assert_eq!(files.list()?.len(), 2, "it was not needed for a while");
    (1000..1008).try_for_each(|id| files.next(id, 0).map(drop))?;
    (1000..1008).for_each(|id| files.recycle(id, room));
    while files.release_surplus(u64::MAX, true) {}
    assert_eq!(files.list()?.len(), 2, "the disk is short of room");
    Ok(())
}

#[test]
fn a_partly_released_file_is_removed_at_the_next_start() -> io::Result<()> {
    let (disk, directory) = (Arc::new(SimDisk::new(1)), PathBuf::from("/log"));
    disk.create_dir_all(&directory)?;
    let room = 64 << 10;
    let make = || Files::new(disk.clone(), directory.clone(), Keyring::empty(), ROOMS, 1, NO_TIME);
    let files = make();
    for id in 1..=3 {
        files.next(id, 0)?;
    }
    (1..=3).for_each(|id| files.recycle(id, room));
    assert!(files.release_surplus(room / 4, false) && files.release_surplus(room / 4, false));
    assert_eq!(files.idle_bytes(), Some(2 * room + room / 2));
    assert_eq!(files.list()?, [(2, room), (3, room)]);
    assert_eq!(disk.list(&directory)?.len(), 3);
    // Half of one is left by a life that ends here.
    let next = make();
    next.remove_trimmed()?;
    assert_eq!(next.list()?, [(2, room), (3, room)]);
    assert_eq!(disk.list(&directory)?.len(), 2);
    Ok(())
}
