//! A reader finds each line once, at whichever step a merge is killed or stopped, and whatever
//! others do in the meantime; and each rule is necessary.
//!
//! Method: a disk over the real one that stops before each of its calls. There the reader checks,
//! and the process dies, or others act while it waits: every call is tried. With a planted bug some
//! check finds a line twice or not at all.
#![allow(clippy::disallowed_methods)] // The reader is another program.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, mpsc};

use pipeline::env::DiskFile;
use pipeline::env::over::DiskOver;
use tokio::runtime::Handle;

use super::super::Local;
use super::*;
use crate::{FileSystem, FsError};
use rig::{Rig, lines};

mod rig;

/// The stopped operation, and the actions of others in the meantime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    /// A merge; others publish files, and merge the same files and more.
    Merge,
    /// Publishing of a file; others merge.
    Publishing,
    /// A merge; others create a directory with a file in the merged directory.
    BeforeDirectory,
    /// A merge; a program from outside puts a file into the directory.
    BeforeOutside,
    /// A merge; a reader opens the directory, and lists it when all is over.
    BeforeReader,
    /// A merge; others tidy up.
    BeforeTidying,
}

const ALL: [Stopped; 6] = [
    Stopped::Merge,
    Stopped::Publishing,
    Stopped::BeforeDirectory,
    Stopped::BeforeOutside,
    Stopped::BeforeReader,
    Stopped::BeforeTidying,
];

impl Stopped {
    async fn others(self, rig: &Rig) {
        let other = rig.plain(0);
        match self {
            Self::Merge => {
                drop(rig.publish(&other, "x", "x").await);
                drop(rig.merge(&other, &["b", "c"]).await);
                drop(rig.publish(&other, "z", "z").await);
                drop(rig.merge(&other, &["x", "y", "z"]).await);
            }
            Self::Publishing => drop(rig.merge(&other, &["b", "c"]).await),
            Self::BeforeDirectory => {
                if other.mkdirs(&rig.path("day/deep")).await.is_ok() {
                    drop(rig.publish(&other, "w", "deep/w").await);
                }
            }
            Self::BeforeOutside => fs::write(rig.path("day/outside"), "outside\n").unwrap(),
            Self::BeforeReader => {}
            Self::BeforeTidying => rig.tidy(3_600_000).await,
        }
    }
}

/// Stops an operation before each of its calls in turn. Returns the error of a reader, or the
/// number of calls at which the stopped operation has failed.
async fn stopped(rules: Rules, stopped: Stopped) -> Result<u64, String> {
    let mut failed = 0;
    for at in 0.. {
        let rig = Rig::new(rules);
        let (own, handle, opened) = (rig.clone(), Handle::current(), Arc::new(Mutex::new(None)));
        let reader = opened.clone();
        let (one, calls) = rig.collector(0, move |number, _| {
            if number == at {
                *reader.lock().unwrap() = Some(File::open(own.path("day")).unwrap());
                handle.block_on(stopped.others(&own));
                own.look();
            }
            Ok(())
        });
        let done = match stopped {
            Stopped::Publishing => rig.publish(&one, "x", "x").await,
            _ => rig.merge(&one, &["b", "c"]).await,
        };
        failed += u64::from(done.is_err());
        if stopped == Stopped::BeforeOutside {
            rig.visible.lock().unwrap().insert("outside".to_owned());
        }
        let calls = calls.load(Ordering::SeqCst);
        if calls <= at {
            assert!(at > 4, "{stopped:?} has more calls than {at}");
            return Ok(failed);
        }
        let said = |problem| format!("{stopped:?} at {at}: {problem}");
        rig.found().map_err(said)?;
        if let Some(open) = opened.lock().unwrap().take()
            && stopped == Stopped::BeforeReader
        {
            rig.compare(&lines(Path::new(&format!("/proc/self/fd/{}", open.as_raw_fd()))));
        }
        // Retry operations that were refused in the meantime.
        let other = rig.plain(0);
        if stopped == Stopped::Merge {
            drop(rig.merge(&other, &["b", "c"]).await);
            rig.publish(&other, "x", "x").await.unwrap();
            rig.publish(&other, "z", "z").await.unwrap();
            drop(rig.merge(&other, &["x", "y", "z"]).await);
            assert_eq!(fs::read_dir(rig.path("day")).unwrap().count(), 1, "at {at}");
        }
        rig.tidy(3_600_000).await;
        rig.tidy(7_200_000).await;
        rig.found().map_err(said)?;
        assert_eq!(rig.on_desk(), 0, "{stopped:?} at {at}");
    }
    unreachable!("a merge has an end")
}

/// Stops a publisher between opening its directory and locking it, and again `later` calls after
/// that, until another merge is before its call `at`.
async fn overtaken(rules: Rules, later: u64, at: u64) -> Result<(), String> {
    let rig = Rig::new(rules);
    let (reached, has_reached) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let (reached, may_go_on) = (Mutex::new(Some(reached)), Mutex::new(may_go_on));
    let second = rig.collector(0, move |number, _| {
        if number == at
            && let Some(reached) = reached.lock().unwrap().take()
        {
            let _ = reached.send(());
            let _ = may_go_on.lock().unwrap().recv();
        }
        Ok(())
    });
    let (own, handle, second) = (rig.clone(), Handle::current(), Mutex::new(Some(second.0)));
    let (has_reached, merging) = (Mutex::new(has_reached), Arc::new(Mutex::new(None)));
    let (begun, since) = (merging.clone(), AtomicU64::new(u64::MAX));
    let (one, _) = rig.collector(0, move |number, holds| {
        if holds && since.load(Ordering::SeqCst) == u64::MAX {
            since.store(number, Ordering::SeqCst);
            drop(handle.block_on(own.merge(&own.plain(0), &["b"])));
        } else if number == since.load(Ordering::SeqCst).saturating_add(later)
            && let Some(second) = second.lock().unwrap().take()
        {
            let own = own.clone();
            *begun.lock().unwrap() =
                Some(handle.spawn(async move { drop(own.merge(&second, &["c"]).await) }));
            // It has reached the call, or has ended.
            let _ = has_reached.lock().unwrap().recv();
        }
        Ok(())
    });
    let published = rig.publish(&one, "x", "x").await;
    rig.look();
    drop(go_on);
    let merging = merging.lock().unwrap().take();
    if let Some(merging) = merging {
        merging.await.unwrap();
    }
    if published.is_err() {
        // The other operation was in the way.
        rig.publish(&rig.plain(0), "x", "x").await.map_err(|error| error.to_string())?;
    }
    rig.found()
}

async fn overtaken_anywhere(rules: Rules) -> Result<(), String> {
    for later in 1..6 {
        for at in 0..30 {
            let found = overtaken(rules, later, at).await;
            found.map_err(|problem| format!("{later} later, at {at}: {problem}"))?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_is_killed_at_any_call_is_done_by_another_or_was_done() {
    for at in 0.. {
        let rig = Rig::new(Rules::IN_FORCE);
        let (one, calls) = rig.collector(0, move |number, _| match number < at {
            true => Ok(()),
            false => Err(io::Error::other("killed")),
        });
        let killed = rig.merge(&one, &["b", "c"]).await.is_err();
        drop(one);
        rig.found().unwrap();
        let other = rig.plain(1);
        match rig.merge(&other, &["b", "c"]).await {
            Ok(()) => assert!(killed),
            Err(error) => assert!(error.is_not_found(), "at {at}: {error}"),
        }
        rig.publish(&other, "x", "x").await.unwrap();
        assert_eq!(fs::read_to_string(rig.path("day/a")).unwrap(), "a\nb\nc\n");
        assert_eq!(fs::read_dir(rig.path("day")).unwrap().count(), 3, "at {at}");
        rig.tidy(KEPT_MILLIS).await;
        rig.tidy(3 * KEPT_MILLIS).await;
        assert_eq!(rig.on_desk(), 0, "at {at}");
        rig.found().unwrap();
        if calls.load(Ordering::SeqCst) <= at {
            assert!(at > 20, "{at} calls");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_finds_each_line_once_while_a_merger_is_suspended() {
    for one in ALL {
        let failed = stopped(Rules::IN_FORCE, one).await.unwrap();
        // Before it is locked, the built directory looks like a leftover.
        let failed_max = match one {
            Stopped::Publishing | Stopped::BeforeOutside | Stopped::BeforeReader => 0,
            Stopped::BeforeTidying => 3,
            Stopped::Merge | Stopped::BeforeDirectory => u64::MAX,
        };
        assert!(failed <= failed_max, "{one:?} has failed at {failed} calls");
    }
    overtaken_anywhere(Rules::IN_FORCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rule_is_needed() {
    let rules = Rules::IN_FORCE;
    for (name, planted, finds) in [
        ("publishers", Rules { publishers_hold: false, ..rules }, Stopped::Merge),
        ("mergers", Rules { mergers_hold_alone: false, ..rules }, Stopped::Merge),
        ("parts", Rules { parts_are_looked_for: false, ..rules }, Stopped::Merge),
        (
            "directories",
            Rules { directories_are_refused: false, ..rules },
            Stopped::BeforeDirectory,
        ),
        ("outside", Rules { old_is_looked_through: false, ..rules }, Stopped::BeforeOutside),
        ("readers", Rules { old_is_kept: false, ..rules }, Stopped::BeforeReader),
    ] {
        assert!(stopped(planted, finds).await.is_err(), "{name}");
    }
    let planted = Rules { desk_is_held: false, ..rules };
    assert!(stopped(planted, Stopped::BeforeTidying).await.unwrap() > 3, "the desk");
    let planted = Rules { path_is_looked_at_again: false, ..rules };
    assert!(overtaken_anywhere(planted).await.is_err(), "the path");
}

#[tokio::test]
async fn rejects_an_impossible_exchange_before_any_change() {
    let rig = Rig::new(Rules::IN_FORCE);
    let local = rig.plain(0);
    local.can_concat(&rig.path("desk")).await.unwrap();
    assert_eq!(rig.on_desk(), 0);
    local.can_concat_in(&rig.path("day"), &rig.path("desk")).await.unwrap();
    std::os::unix::fs::symlink(rig.path("day"), rig.path("link")).unwrap();
    fs::create_dir(rig.path("day/deep")).unwrap();
    for directory in ["link", "day"] {
        let refused =
            local.can_concat_in(&rig.path(directory), &rig.path("desk")).await.unwrap_err();
        assert!(matches!(refused, FsError::Unfit { .. }), "{refused}");
    }
    assert!(matches!(rig.merge(&local, &["b"]).await, Err(FsError::Unfit { .. })));
    assert_eq!(rig.on_desk(), 0, "nothing is left of it");
    rig.found().unwrap();
}

/// On a disk of a network, or of a system without such calls, files are published as before.
#[tokio::test]
async fn where_directories_cannot_be_held_files_are_published_and_not_merged() {
    struct Without(Arc<dyn Disk>);
    impl DiskOver for Without {
        fn below(&self) -> &dyn Disk {
            &*self.0
        }
        fn open_over(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
            self.0.open(path, mode)
        }
        fn open_directory_over(&self, _path: &Path) -> io::Result<Box<dyn OpenDirectory>> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
    let (rig, mut env) = (Rig::new(Rules::IN_FORCE), env::real());
    env.disk = Arc::new(Without(env.disk.clone()));
    let local = Local::new(env);
    let refused = local.can_concat(&rig.path("desk")).await.unwrap_err();
    let FsError::Unfit { source, .. } = refused else { panic!("{refused}") };
    assert!(source.to_string().contains("ext4"), "{source}");
    rig.publish(&local, "x", "x").await.unwrap();
    assert!(rig.merge(&local, &["b"]).await.is_err());
    assert_eq!(rig.on_desk(), 0);
    rig.found().unwrap();
}

#[tokio::test]
async fn a_directory_that_is_held_for_long_refuses_files_for_now() {
    let rig = Rig::new(Rules::IN_FORCE);
    let local = rig.plain(0);
    let merger = env::real().disk.open_directory(Path::new(&rig.path("day"))).unwrap();
    assert!(merger.try_lock(true).unwrap());
    let refused = rig.publish(&local, "x", "x").await.unwrap_err();
    let FsError::Unavailable { source, .. } = refused else { panic!("{refused}") };
    assert!(source.to_string().contains("suspended"), "{source}");
    drop(merger);
    rig.publish(&local, "x", "x").await.unwrap();
}
