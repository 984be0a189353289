//! The ledger is deleted, emptied, truncated or replaced by others: a collector that remembers it
//! stops, a collector without a memory is stopped by visible files, and an operator's decision lets
//! it continue.

use std::sync::Arc;

use aqueduct_ledger::{
    Change, Committed, Dataset, Decided, DecisionError, Known, Ledger, Memory, Turns,
};

use crate::harness::{author, key, options, put, roll, whole};
use crate::site::{ENTRY, LEDGER, NAME, Site};

/// Returns a site with the copy of its ledger that lacks the last two of five batches.
async fn restored() -> Site {
    let site = Site::new();
    let mut ledger = site.open(1).await.unwrap();
    site.commit(&mut ledger, 0..3).await;
    let copy = site.copy().await;
    site.commit(&mut ledger, 3..5).await;
    site.restore(copy).await;
    site
}

fn settled(decided: &Decided) -> u64 {
    decided.standing.view.settled().keys.count()
}

#[tokio::test]
async fn an_unchanged_ledger_is_taken_up_again_through_every_generation() {
    let site = Site::new();
    for n in 0..6 {
        let mut ledger = site.start(1, Known::default(), 2).await.unwrap();
        let identity = ledger.identity();
        site.commit(&mut ledger, n..n + 1).await;
        ledger.compact().await.unwrap();
        let mut other = site.open(2).await.unwrap();
        assert_eq!(other.identity(), identity, "all of them speak of one ledger");
        site.commit(&mut other, n + 100..n + 101).await;
        let again = site.reopen(1, ledger.into_known()).await.unwrap();
        assert_eq!((again.identity(), again.view().next()), (identity, other.view().next()));
    }
    assert!(site.open(1).await.unwrap().view().generation() > 1);
}

#[tokio::test]
async fn a_ledger_that_is_gone_or_emptied_is_not_begun_anew() {
    for path in [LEDGER, "/logs/_aqueduct"] {
        let site = Site::new();
        site.of_five().await;
        site.fs.delete(path).await.unwrap();
        let missing = Change::Missing { generation: 0, entries: 5 };
        assert_eq!(site.refused(1).await, missing, "{path}");
        let Change::Unrecorded { file } = site.refused(2).await else {
            panic!("files are visible")
        };
        assert!(file.starts_with("/logs/day/host-1-store-"), "{file}");
        assert!(!site.store.files().keys().any(|path| path.starts_with(LEDGER)));
    }
    let site = Site::new();
    site.of_five().await;
    for n in 0..5 {
        site.fs.delete(&format!("{ENTRY}{n}")).await.unwrap();
    }
    assert!(matches!(site.refused(1).await, Change::Shorter { expected: 5, found: 0, .. }));
    assert!(matches!(site.refused(2).await, Change::Unrecorded { .. }));
    site.fs.delete(&format!("{LEDGER}/g0")).await.unwrap();
    let error = site.open(1).await.err().unwrap();
    assert!(error.wants_decision(), "{error}");
}

#[tokio::test]
async fn entries_that_are_missing_in_front_or_between_are_a_hole_for_everybody() {
    for gone in [0, 2] {
        let site = Site::new();
        site.of_five().await;
        site.fs.delete(&format!("{ENTRY}{gone}")).await.unwrap();
        for number in [1, 2] {
            let hole = Change::Hole { generation: 0, index: gone, last: 4 };
            assert_eq!(site.refused(number).await, hole);
        }
    }
}

#[tokio::test]
async fn an_older_copy_is_refused_also_when_it_has_grown_again() {
    let site = restored().await;
    let shorter = site.refused(1).await;
    assert!(matches!(shorter, Change::Shorter { expected: 5, found: 3, .. }), "{shorter:?}");
    // A collector without a memory is stopped by visible files; without those it cannot know.
    let behind = site.refused(2).await;
    assert!(matches!(behind, Change::Behind { entries: 3, index: 3 | 4, .. }), "{behind:?}");
    let shown = site.operator(2).stored().await.unwrap().problems;
    assert!(shown.iter().any(|problem| problem.contains("-store-")), "{shown:?}");
    site.fs.delete("/logs/day").await.unwrap();
    let mut other = site.open(2).await.unwrap();
    site.commit(&mut other, 10..14).await;
    assert_eq!(site.refused(1).await, Change::Differs { generation: 0, index: 3 });
    let mut other = site.start(2, Known::default(), 1).await.unwrap();
    site.commit(&mut other, 14..15).await;
    other.compact().await.unwrap();
    let forgets = site.refused(1).await;
    assert_eq!(forgets, Change::Forgets { generation: 1, batches: 2 });
}

#[tokio::test]
async fn another_ledger_in_its_place_is_refused() {
    let site = Site::new();
    site.of_five().await;
    site.fs.delete("/logs").await.unwrap();
    let mut other = site.open(2).await.unwrap();
    site.commit(&mut other, 10..20).await;
    assert!(matches!(site.refused(1).await, Change::Other { .. }));
    site.fs.delete(&format!("{LEDGER}/identity")).await.unwrap();
    assert!(matches!(site.refused(1).await, Change::Nameless { .. }));
}

/// The ledger of an earlier program gets its identity from its first opening.
#[tokio::test]
async fn a_ledger_without_an_identity_gets_one() {
    let site = Site::new();
    let mut ledger = crate::harness::open(site.fs.clone(), 3).await.unwrap();
    site.commit(&mut ledger, 0..2).await;
    site.fs.delete(&format!("{LEDGER}/identity")).await.unwrap();
    let (one, other) = tokio::join!(site.open(1), site.open(2));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!((one.identity(), one.view().next()), (other.identity(), 2));
}

/// Whatever is done to the ledger below a collector at work, its next commit stores nothing, and so
/// does the next opening in the same process.
#[tokio::test]
async fn a_change_below_a_collector_at_work_stops_its_next_commit() {
    let changes: [(&str, &[&str]); 4] = [
        ("deleted", &["/logs/_aqueduct"]),
        ("emptied", &["/logs/_aqueduct/store/ledger/g0"]),
        ("cut", &[]),
        ("moved", &["/logs"]),
    ];
    for (what, paths) in changes {
        let site = Site::new();
        let mut ledger = site.open(1).await.unwrap();
        site.commit(&mut ledger, 0..3).await;
        if paths.is_empty() {
            site.fs.delete(&format!("{ENTRY}2")).await.unwrap();
        }
        for path in paths {
            site.fs.delete(path).await.unwrap();
        }
        let before = site.visible();
        let rolled = roll(&*site.fs, 1, 3..4).await;
        let error = ledger.commit(rolled, whole()).await.unwrap_err();
        assert!(error.wants_decision(), "{what}: {error}");
        let error = site.reopen(1, ledger.into_known()).await.err().unwrap();
        assert!(error.wants_decision(), "{what}: {error}");
        assert_eq!(site.visible(), before, "{what}");
    }
}

#[tokio::test]
async fn two_collectors_that_begin_a_dataset_together_are_not_asked() {
    for delay in 0..20 {
        let site = Site::new();
        let slow = site.store.with_latency(std::time::Duration::from_millis(1));
        let late = async {
            tokio::time::sleep(std::time::Duration::from_micros(400 * delay)).await;
            let memory =
                Memory::load(&site.env, &site.directory(2), NAME, &Turns::default()).await.unwrap();
            let dataset = Dataset::new("/logs", "store");
            let options = options(2, 1_000);
            Ledger::open(Arc::new(slow), dataset, author(2), options, Known::default(), memory)
                .await
        };
        let first = async {
            let mut ledger = site.open(1).await.unwrap();
            site.commit(&mut ledger, 0..1).await;
            ledger
        };
        let (first, late) = tokio::join!(first, late);
        assert_eq!(first.identity(), late.unwrap().identity());
    }
}

#[tokio::test]
async fn a_rebuilt_ledger_is_complete_and_others_continue() {
    for path in [LEDGER, "/logs/_aqueduct"] {
        let site = Site::new();
        let mut other = site.open(2).await.unwrap();
        site.of_five().await;
        let committed = other.commit(roll(&*site.fs, 2, 4..5).await, whole()).await.unwrap();
        assert_eq!(committed, Committed::ByAnother);
        site.fs.delete(path).await.unwrap();
        let error = other.commit(roll(&*site.fs, 2, 7..8).await, whole()).await.unwrap_err();
        assert!(error.wants_decision(), "{error}");
        let decided = site.operator(1).rebuild().await.unwrap();
        assert_eq!((settled(&decided), decided.standing.problems.len()), (5, 0));
        let mut one = site.open(1).await.unwrap();
        let mut other = site.reopen(2, other.into_known()).await.unwrap();
        for ledger in [&mut one, &mut other] {
            let again = ledger.commit(roll(&*site.fs, 1, 0..5).await, whole()).await.unwrap();
            assert_eq!(again, Committed::ByAnother);
        }
        site.commit(&mut one, 7..8).await;
        assert_eq!(site.visible(), 6);
        site.open(3).await.unwrap();
    }
}

#[tokio::test]
async fn rebuilding_mends_holes_and_damage_from_what_is_remembered() {
    let site = Site::new();
    site.of_five().await;
    site.fs.delete(&format!("{ENTRY}0")).await.unwrap();
    site.fs.delete(&format!("{ENTRY}4")).await.unwrap();
    put(&*site.fs, &format!("{ENTRY}4"), "AQLEDGER").await;
    let Err(DecisionError::Refused(why)) = site.operator(1).adopt().await else { panic!("holes") };
    assert!(why.contains("aqueduct ledger rebuild"), "{why}");
    assert_eq!(settled(&site.operator(1).rebuild().await.unwrap()), 5);
    // A collector without a memory repairs the readable part.
    let site = Site::new();
    site.of_five().await;
    site.fs.delete(&format!("{ENTRY}0")).await.unwrap();
    let decided = site.operator(2).rebuild().await.unwrap();
    assert_eq!(settled(&decided), 4);
    assert!(decided.notes.iter().any(|note| note.contains("commit records 0 to 0")), "{decided:?}");
    assert_eq!(site.refused(1).await, Change::Forgets { generation: 1, batches: 1 });
    assert_eq!(settled(&site.operator(1).rebuild().await.unwrap()), 5);
    site.open(1).await.unwrap();
    let nothing = Site::new();
    let refused = nothing.operator(1).rebuild().await;
    assert!(matches!(refused, Err(DecisionError::Refused(_))), "{refused:?}");
}

/// A collector that was behind, or has no memory, rebuilds from what it knows: no file name is
/// reused, and the command reports that batches are missing.
#[tokio::test]
async fn an_incomplete_rebuild_continues_the_numbers_and_reports_it() {
    for remembers in [true, false] {
        let site = Site::new();
        let mut ledger = site.open(1).await.unwrap();
        site.commit(&mut ledger, 0..3).await;
        let copy = site.copy().await;
        if remembers {
            site.open(2).await.unwrap();
        }
        site.commit(&mut ledger, 3..5).await;
        site.restore(copy).await;
        let decided = site.operator(2).rebuild().await.unwrap();
        let said =
            |note: &String| note.contains("host-1-store-4-0.log was published by commit record 4");
        assert!(decided.notes.iter().any(said), "{decided:?}");
        let mut other = site.open(2).await.unwrap();
        assert!(other.view().next() >= 5, "no file name comes again");
        site.commit(&mut other, 7..8).await;
        assert_eq!(site.visible(), 6);
        assert!(matches!(site.refused(1).await, Change::Forgets { batches: 2, .. }));
        site.operator(1).rebuild().await.unwrap();
        let mut ledger = site.open(1).await.unwrap();
        let again = ledger.commit(roll(&*site.fs, 1, 0..5).await, whole()).await.unwrap();
        assert_eq!(again, Committed::ByAnother);
    }
}

/// An operator rebuilds with each data directory in turn, following the command's instruction.
#[tokio::test]
async fn a_ledger_rebuilt_with_each_data_directory_counts_each_file_once() {
    let site = Site::new();
    let mut ledger = site.start(1, Known::default(), 2).await.unwrap();
    site.commit(&mut ledger, 0..2).await;
    ledger.compact().await.unwrap();
    site.commit(&mut ledger, 2..5).await;
    site.open(2).await.unwrap();
    site.fs.delete(LEDGER).await.unwrap();
    for number in [1, 2, 1] {
        let decided = site.operator(number).rebuild().await.unwrap();
        let files = decided.standing.view.totals().files;
        assert_eq!((settled(&decided), files), (5, 5), "with that of {number}");
    }
}

/// Other datasets below the prefix, with a sink of the same name, are no part of this one.
#[tokio::test]
async fn a_dataset_inside_of_another_one_stops_nobody() {
    let site = Site::new();
    site.of_five().await;
    site.fs.mkdirs("/logs/app/_aqueduct/store/ledger").await.unwrap();
    put(&*site.fs, "/logs/app/host-9-store-99-0.log", "line\n").await;
    let mut other = site.open(2).await.unwrap();
    site.commit(&mut other, 5..6).await;
}

/// Files that an entry names and that were not published are not lost with the entry. Batches whose
/// staged file is missing do not count as committed.
#[tokio::test]
async fn a_rebuild_publishes_committed_files_or_drops_their_entry() {
    for staged_is_gone in [false, true] {
        let site = Site::new();
        site.of_five().await;
        let visible = "/logs/day/host-1-store-4-0.log";
        let files = site.store.files();
        let entry = aqueduct_ledger::Entry::decode(files[&format!("{ENTRY}4")].clone(), 4);
        let aqueduct_ledger::Kind::Commit { files, .. } = entry.unwrap().kind else {
            panic!("a commit")
        };
        let staged = Dataset::new("/logs", "store").staged(&files[0].temp);
        site.fs.mkdirs(storage::split(&staged).0).await.unwrap();
        site.fs.rename(visible, &staged).await.unwrap();
        if staged_is_gone {
            site.fs.delete(&staged).await.unwrap();
        }
        site.fs.delete(LEDGER).await.unwrap();
        let decided = site.operator(1).rebuild().await.unwrap();
        assert_eq!(settled(&decided), if staged_is_gone { 4 } else { 5 });
        assert_eq!(site.store.files().contains_key(visible), !staged_is_gone);
        let mut ledger = site.open(1).await.unwrap();
        assert_eq!(ledger.view().is_settled(key(4)), !staged_is_gone);
        if staged_is_gone {
            site.commit(&mut ledger, 4..5).await;
        }
        assert_eq!(site.visible(), 5);
    }
}

#[tokio::test]
async fn an_adopted_ledger_is_taken_as_it_is_and_numbered_on() {
    let site = restored().await;
    assert_eq!(settled(&site.operator(1).adopt().await.unwrap()), 3);
    let mut ledger = site.open(1).await.unwrap();
    assert!(ledger.view().next() >= 5, "no file name comes again");
    // Batches that only the lost part named are stored again.
    site.commit(&mut ledger, 3..4).await;
    assert_eq!(site.visible(), 6);

    let site = Site::new();
    site.of_five().await;
    site.fs.delete("/logs/_aqueduct").await.unwrap();
    for number in [1, 2] {
        assert_eq!(settled(&site.operator(number).adopt().await.unwrap()), 0);
        let mut ledger = site.open(number).await.unwrap();
        assert!(ledger.view().next() >= 5);
        if number == 1 {
            site.commit(&mut ledger, 9..10).await;
            site.fs.delete("/logs/_aqueduct").await.unwrap();
        }
    }
    assert!(matches!(site.refused(1).await, Change::Other { .. }), "it is asked too");
    site.operator(1).adopt().await.unwrap();
    site.open(1).await.unwrap();
}

/// An end that was cut short by a crash, or a file of another kind, is no wrong alarm.
#[tokio::test]
async fn a_memory_that_was_cut_short_still_knows_what_is_whole() {
    let site = Site::new();
    site.of_five().await;
    let path = Memory::path(&site.directory(1), NAME);
    let len = site.env.disk.stat(&path).unwrap().len;
    for cut in [1, 7, len / 2, len - 3, len] {
        let mode = pipeline::env::OpenMode { write: true, ..Default::default() };
        site.env.disk.open(&path, mode).unwrap().set_len(len - cut).unwrap();
        let ledger = site.open(1).await.unwrap();
        let kept = site.env.disk.stat(&path).unwrap().len;
        assert_eq!((ledger.view().next(), kept), (5, len), "cut by {cut}");
    }
    site.fs.delete(LEDGER).await.unwrap();
    let missing = site.refused(1).await;
    assert_eq!(missing, Change::Missing { generation: 0, entries: 5 });
}
