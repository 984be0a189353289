//! The guarantees of every store that commits depend on, as one suite for the tests of each store.
//! A store without directories has the guarantees of [`FileSystem::is_tree`] instead.
#![allow(clippy::unwrap_used)] // A promise that fails is to stop the test, helpers included.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;

use crate::{CreateOptions, FileSystem, FsError};

/// Asserts all guarantees, each in a separate directory below `root`.
///
/// # Panics
/// If one does not hold.
pub async fn keeps_the_promises(fs: Arc<dyn FileSystem>, root: &str) {
    let fs = &*fs;
    a_closed_file_is_whole(fs, root).await;
    create_never_replaces(fs, root).await;
    rename_moves_once_and_never_replaces(fs, root).await;
    of_many_renames_to_one_name_exactly_one_wins(fs, root).await;
    list_is_sorted_and_knows_directories(fs, root).await;
    delete_returns_whether_something_existed(fs, root).await;
    if fs.syncs_open_files() {
        writing_goes_on_after_a_sync(fs, root).await;
    } else {
        a_sync_is_refused(fs, root).await;
    }
    let desk = &format!("{root}/desk");
    if fs.can_concat(desk).await.is_ok() {
        files_become_one_with_all_of_them_or_with_none(fs, root, desk).await;
        a_desk_is_tidied_up_also_where_there_is_none(fs, root, desk).await;
        a_file_takes_the_place_of_another_one(fs, root).await;
    } else {
        rejects_invalid_merges(fs, root, desk).await;
    }
    if fs.is_tree() {
        nothing_is_made_without_its_directory(fs, root).await;
        a_directory_is_renamed_with_what_is_in_it(fs, root).await;
        of_many_directories_that_go_to_one_name_exactly_one_does(fs, root).await;
    } else {
        a_directory_is_there_with_its_files(fs, root).await;
        nothing_is_there_before_it_is_closed(fs, root).await;
        a_rename_that_was_cut_short_is_finished(fs, root).await;
    }
}

/// A new directory for one promise.
async fn fresh(fs: &dyn FileSystem, root: &str, name: &str) -> String {
    let directory = format!("{root}/{name}/a/b");
    fs.mkdirs(&directory).await.unwrap();
    fs.mkdirs(&directory).await.unwrap();
    if fs.is_tree() {
        assert!(fs.stat(&directory).await.unwrap().directory);
    }
    directory
}

async fn put(fs: &dyn FileSystem, path: &str, content: &'static str) {
    let mut writer = fs.create(path, CreateOptions::default()).await.unwrap();
    writer.write(Bytes::from_static(content.as_bytes())).await.unwrap();
    writer.close().await.unwrap();
}

async fn a_closed_file_is_whole(fs: &dyn FileSystem, root: &str) {
    let path = format!("{}/file", fresh(fs, root, "whole").await);
    let mut writer = fs.create(&path, CreateOptions::default()).await.unwrap();
    let mut expected = Vec::new();
    for n in 0..40_u8 {
        let part = vec![n; 7_001];
        expected.extend_from_slice(&part);
        writer.write(part.into()).await.unwrap();
    }
    writer.close().await.unwrap();
    assert_eq!(fs.read(&path).await.unwrap(), expected);
    let stat = fs.stat(&path).await.unwrap();
    assert_eq!((stat.len, stat.directory), (expected.len() as u64, false));
    for (at, bytes) in [(0, 10), (6_990, 100_000), (280_000, 1_000), (280_039, 1)] {
        let part = fs.read_part(&path, at as u64, bytes).await.unwrap();
        assert_eq!(part, expected[at..expected.len().min(at + bytes)], "{at}");
    }
    let missing = format!("{path}-missing");
    assert!(fs.read_part(&missing, 0, 1).await.unwrap_err().is_not_found());

    let empty = format!("{path}-empty");
    fs.create(&empty, CreateOptions::default()).await.unwrap().close().await.unwrap();
    assert_eq!(fs.read(&empty).await.unwrap(), Bytes::new());
}

async fn writing_goes_on_after_a_sync(fs: &dyn FileSystem, root: &str) {
    let path = format!("{}/file", fresh(fs, root, "synced").await);
    let mut writer = fs.create(&path, CreateOptions::default()).await.unwrap();
    writer.write(Bytes::from_static(b"first")).await.unwrap();
    writer.sync().await.unwrap();
    writer.sync().await.unwrap();
    writer.write(Bytes::from_static(b" second")).await.unwrap();
    writer.close().await.unwrap();
    assert_eq!(fs.read(&path).await.unwrap(), "first second");
}

async fn a_sync_is_refused(fs: &dyn FileSystem, root: &str) {
    let path = format!("{}/file", fresh(fs, root, "unsynced").await);
    let mut writer = fs.create(&path, CreateOptions::default()).await.unwrap();
    writer.write(Bytes::from_static(b"first")).await.unwrap();
    let error = writer.sync().await.unwrap_err();
    assert!(matches!(error, FsError::Unfit { .. }), "{error:?}");
}

async fn create_never_replaces(fs: &dyn FileSystem, root: &str) {
    let directory = fresh(fs, root, "create").await;
    let path = format!("{directory}/file");
    put(fs, &path, "mine").await;
    let again = fs.create(&path, CreateOptions::default()).await.err().unwrap();
    assert!(again.is_already_exists(), "{again:?}");
    assert_eq!(fs.read(&path).await.unwrap(), "mine");
    let names = ["race", "race"].map(|name| format!("{directory}/{name}"));
    let both = join_all(names.iter().map(|name| fs.create(name, CreateOptions::default()))).await;
    let closed = join_all(both.into_iter().flatten().map(|writer| writer.close())).await;
    assert_eq!(closed.iter().filter(|closed| closed.is_ok()).count(), 1, "{closed:?}");
}

async fn nothing_is_made_without_its_directory(fs: &dyn FileSystem, root: &str) {
    let directory = fresh(fs, root, "missing").await;
    let deep = format!("{directory}/missing/file");
    let error = fs.create(&deep, CreateOptions::default()).await.err().unwrap();
    assert!(error.is_not_found(), "{error:?}");
    assert!(fs.stat(&deep).await.unwrap_err().is_not_found());
    let from = format!("{directory}/from");
    put(fs, &from, "stays").await;
    let astray = fs.rename(&from, &format!("{directory}/missing/to")).await.unwrap_err();
    assert!(astray.is_not_found(), "{astray:?}");
    assert_eq!(fs.read(&from).await.unwrap(), "stays");
}

async fn a_directory_is_there_with_its_files(fs: &dyn FileSystem, root: &str) {
    let directory = fresh(fs, root, "prefix").await;
    assert!(fs.stat(&directory).await.unwrap_err().is_not_found());
    put(fs, &format!("{directory}/deep/file"), "inside").await;
    assert!(fs.stat(&directory).await.unwrap().directory);
    assert!(fs.list(&directory).await.unwrap()[0].directory);
    // Not below it, though the name begins like it.
    assert!(fs.stat(&format!("{directory}/dee")).await.unwrap_err().is_not_found());
    let to = format!("{root}/prefix-moved");
    let error = fs.rename(&directory, &to).await.unwrap_err();
    assert!(matches!(error, FsError::Unfit { .. }), "{error:?}");
    assert!(fs.delete(&directory).await.unwrap());
    assert!(fs.stat(&directory).await.unwrap_err().is_not_found());
}

async fn nothing_is_there_before_it_is_closed(fs: &dyn FileSystem, root: &str) {
    let directory = fresh(fs, root, "closed").await;
    for (name, len) in [("small", 1_000), ("large", 12 << 20)] {
        let path = format!("{directory}/{name}");
        let mut writer = fs.create(&path, CreateOptions::default()).await.unwrap();
        writer.write(vec![7; len].into()).await.unwrap();
        assert!(fs.stat(&path).await.unwrap_err().is_not_found());
        put(fs, &path, "faster").await;
        let error = writer.close().await.unwrap_err();
        assert!(error.is_already_exists(), "{error:?}");
        assert_eq!(fs.read(&path).await.unwrap(), "faster");
    }
}

/// One file of a single put, and one of several parts.
async fn a_rename_that_was_cut_short_is_finished(fs: &dyn FileSystem, root: &str) {
    let directory = fresh(fs, root, "cut").await;
    for (name, len) in [("small", 10), ("large", 11 << 20)] {
        let [from, to] = ["from", "to"].map(|end| format!("{directory}/{name}-{end}"));
        let content: Bytes = (0..len).map(|n: u32| (n % 251) as u8).collect::<Vec<u8>>().into();
        // The state after its caller died between the copy and the deletion.
        for path in [&from, &to] {
            let mut writer = fs.create(path, CreateOptions::default()).await.unwrap();
            writer.write(content.clone()).await.unwrap();
            writer.close().await.unwrap();
        }
        fs.rename(&from, &to).await.unwrap();
        assert!(fs.stat(&from).await.unwrap_err().is_not_found());
        assert_eq!(fs.read(&to).await.unwrap(), content);
        // Another file of the same length is another file.
        let mut other = content.to_vec();
        *other.last_mut().unwrap() ^= 1;
        let mut writer = fs.create(&from, CreateOptions::default()).await.unwrap();
        writer.write(other.into()).await.unwrap();
        writer.close().await.unwrap();
        assert!(fs.rename(&from, &to).await.unwrap_err().is_already_exists());
        assert!(fs.stat(&from).await.is_ok(), "a rename that is refused deletes nothing");
        assert_eq!(fs.read(&to).await.unwrap(), content);
        // It also moves completely to a free name.
        let moved = format!("{to}-moved");
        fs.rename(&to, &moved).await.unwrap();
        assert_eq!(fs.read(&moved).await.unwrap(), content);
        assert!(fs.stat(&to).await.unwrap_err().is_not_found());
    }
}

async fn rename_moves_once_and_never_replaces(fs: &dyn FileSystem, root: &str) {
    let directory = fresh(fs, root, "rename").await;
    let [from, to, other] = ["from", "to", "other"].map(|name| format!("{directory}/{name}"));
    put(fs, &from, "moved").await;
    fs.rename(&from, &to).await.unwrap();
    assert!(fs.stat(&from).await.unwrap_err().is_not_found());
    assert_eq!(fs.read(&to).await.unwrap(), "moved");
    assert!(fs.rename(&from, &to).await.unwrap_err().is_not_found());

    put(fs, &other, "other").await;
    assert!(fs.rename(&other, &to).await.unwrap_err().is_already_exists());
    assert_eq!(fs.read(&to).await.unwrap(), "moved");
    assert_eq!(fs.read(&other).await.unwrap(), "other");
}

async fn files_become_one_with_all_of_them_or_with_none(
    fs: &dyn FileSystem,
    root: &str,
    desk: &str,
) {
    let directory = fresh(fs, root, "concat").await;
    let [target, one, other, missing] =
        ["target", "one", "other", "missing"].map(|name| format!("{directory}/{name}"));
    put(fs, &target, "a").await;
    put(fs, &one, "bb").await;
    put(fs, &other, "ccc").await;
    let outside = format!("{root}/concat/a/outside");
    put(fs, &outside, "d").await;
    for sources in [vec![one.clone(), missing.clone()], vec![one.clone(), outside]] {
        assert!(fs.concat(&target, &sources, desk).await.is_err(), "{sources:?}");
        assert_eq!(fs.read(&target).await.unwrap(), "a");
        assert_eq!(fs.read(&one).await.unwrap(), "bb");
    }
    let only = std::slice::from_ref(&one);
    assert!(fs.concat(&missing, only, desk).await.unwrap_err().is_not_found());
    fs.can_concat_in(&directory, desk).await.unwrap();
    // The order follows the call, not the names.
    let sources = [other.clone(), one.clone()];
    fs.concat(&target, &sources, desk).await.unwrap();
    assert_eq!(fs.read(&target).await.unwrap(), "acccbb");
    assert_eq!(fs.stat(&target).await.unwrap().len, 6);
    assert_eq!(fs.list(&directory).await.unwrap().len(), 1);
    assert!(
        fs.concat(&target, &sources, desk).await.unwrap_err().is_not_found(),
        "it is done once"
    );
    assert_eq!(fs.read(&target).await.unwrap(), "acccbb");
}

async fn a_file_takes_the_place_of_another_one(fs: &dyn FileSystem, root: &str) {
    let directory = fresh(fs, root, "replace").await;
    let [from, to] = ["from", "to"].map(|name| format!("{directory}/{name}"));
    put(fs, &from, "new").await;
    put(fs, &to, "old one").await;
    fs.replace(&from, &to).await.unwrap();
    assert_eq!(fs.read(&to).await.unwrap(), "new");
    assert!(fs.stat(&from).await.unwrap_err().is_not_found());
    assert!(fs.replace(&from, &to).await.unwrap_err().is_not_found());
    assert_eq!(fs.read(&to).await.unwrap(), "new");
}

async fn a_desk_is_tidied_up_also_where_there_is_none(fs: &dyn FileSystem, root: &str, desk: &str) {
    fs.tidy(desk).await.unwrap();
    fs.tidy(&format!("{root}/no-desk")).await.unwrap();
}

async fn rejects_invalid_merges(fs: &dyn FileSystem, root: &str, desk: &str) {
    let directory = fresh(fs, root, "unmerged").await;
    let [one, other] = ["one", "other"].map(|name| format!("{directory}/{name}"));
    put(fs, &one, "a").await;
    put(fs, &other, "b").await;
    assert!(fs.concat(&one, std::slice::from_ref(&other), desk).await.is_err());
    assert!(fs.replace(&one, &other).await.is_err());
    assert_eq!(fs.read(&one).await.unwrap(), "a");
    assert_eq!(fs.read(&other).await.unwrap(), "b");
}

async fn a_directory_is_renamed_with_what_is_in_it(fs: &dyn FileSystem, root: &str) {
    let directory = fresh(fs, root, "directories").await;
    let [from, to] = ["from", "to"].map(|name| format!("{directory}/{name}"));
    fs.mkdirs(&format!("{from}/deep")).await.unwrap();
    put(fs, &format!("{from}/deep/file"), "inside").await;
    fs.rename(&from, &to).await.unwrap();
    assert_eq!(fs.read(&format!("{to}/deep/file")).await.unwrap(), "inside");
    fs.mkdirs(&from).await.unwrap();
    assert!(fs.rename(&from, &to).await.unwrap_err().is_already_exists());
    assert!(fs.stat(&format!("{to}/from")).await.unwrap_err().is_not_found());
}

async fn of_many_renames_to_one_name_exactly_one_wins(fs: &dyn FileSystem, root: &str) {
    let directory = fresh(fs, root, "race").await;
    let names: Vec<String> = (0..8).map(|n| format!("{directory}/from-{n}")).collect();
    let racers = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for (name, racer) in names.iter().zip(racers) {
        put(fs, name, racer).await;
    }
    let target = format!("{directory}/won");
    let results = join_all(names.iter().map(|name| fs.rename(name, &target))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let winner = results.iter().position(Result::is_ok).unwrap();
    assert_eq!(fs.read(&target).await.unwrap(), racers[winner]);
    let lost = results.iter().filter_map(|result| result.as_ref().err());
    assert!(lost.into_iter().all(FsError::is_already_exists));
}

/// Each contains a name like its own; otherwise an HDFS gateway would move one into another.
async fn of_many_directories_that_go_to_one_name_exactly_one_does(fs: &dyn FileSystem, root: &str) {
    let directory = fresh(fs, root, "race-of-directories").await;
    let target = format!("{directory}/target");
    let racers = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let names = racers.map(|racer| format!("{directory}/{racer}/same"));
    for (name, racer) in names.iter().zip(racers) {
        fs.mkdirs(name).await.unwrap();
        put(fs, &format!("{name}/same"), racer).await;
    }
    let results = join_all(names.iter().map(|name| fs.rename(name, &target))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    let won = results.iter().position(Result::is_ok).unwrap();
    for ((name, racer), result) in names.iter().zip(racers).zip(&results) {
        let is_winner = racer == racers[won];
        assert!(is_winner || result.as_ref().unwrap_err().is_already_exists(), "{result:?}");
        assert_eq!(fs.stat(name).await.is_ok(), !is_winner, "{name}");
    }
    assert_eq!(fs.list(&target).await.unwrap().len(), 1);
    assert_eq!(fs.read(&format!("{target}/same")).await.unwrap(), racers[won]);
}

async fn list_is_sorted_and_knows_directories(fs: &dyn FileSystem, root: &str) {
    let directory = fresh(fs, root, "list").await;
    put(fs, &format!("{directory}/b"), "b").await;
    put(fs, &format!("{directory}/a"), "a").await;
    fs.mkdirs(&format!("{directory}/c/below")).await.unwrap();
    put(fs, &format!("{directory}/c/below/file"), "c").await;
    let listed = fs.list(&directory).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|l| (l.name.as_str(), l.directory)).collect();
    assert_eq!(listed, [("a", false), ("b", false), ("c", true)]);
    assert!(fs.list(&format!("{directory}/missing")).await.unwrap_err().is_not_found());
}

async fn delete_returns_whether_something_existed(fs: &dyn FileSystem, root: &str) {
    let directory = fresh(fs, root, "delete").await;
    put(fs, &format!("{directory}/file"), "gone soon").await;
    assert!(fs.delete(&format!("{directory}/file")).await.unwrap());
    assert!(!fs.delete(&format!("{directory}/file")).await.unwrap());
    fs.mkdirs(&format!("{directory}/tree/deep")).await.unwrap();
    put(fs, &format!("{directory}/tree/deep/file"), "gone too").await;
    assert!(fs.delete(&format!("{directory}/tree")).await.unwrap());
    assert!(fs.stat(&format!("{directory}/tree/deep/file")).await.unwrap_err().is_not_found());
}
