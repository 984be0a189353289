//! Every store keeps the same promises: what a commit rests on holds whatever the URL says.
//!
//! Method: one suite, run in a directory of its own on each store. HDFS takes part when
//! `AQUEDUCT_TEST_HDFS` names one (`hdfs://host:port`), which `tests/run` starts; without it that
//! test is shown as ignored.
#![allow(clippy::unwrap_used)] // A promise that fails is to stop the test, helpers included.

use std::sync::Arc;

use aqueduct_storage::hdfs::HdfsAccess;
use aqueduct_storage::local::Local;
use aqueduct_storage::memory::Memory;
use aqueduct_storage::{CreateOptions, FileSystem, FsError, StoreUrl};
use bytes::Bytes;
use futures::future::join_all;

#[tokio::test]
async fn memory_keeps_the_promises() {
    keeps_the_promises(Arc::new(Memory::new()), "/root").await;
}

#[tokio::test]
async fn local_keeps_the_promises() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    keeps_the_promises(Arc::new(Local::new(env::real())), root.to_str().unwrap()).await;
}

#[tokio::test]
#[ignore = "needs AQUEDUCT_TEST_HDFS=hdfs://host:port; tests/run starts one"]
async fn hdfs_keeps_the_promises() {
    let url = std::env::var("AQUEDUCT_TEST_HDFS").expect("AQUEDUCT_TEST_HDFS names a store");
    let unique = env::real().entropy.next_u64();
    let url = StoreUrl::parse(&format!("{url}/conformance-{unique:x}")).unwrap();
    let fs = url.connect(&HdfsAccess::default(), &env::real()).unwrap();
    keeps_the_promises(fs.clone(), url.path()).await;
    assert!(fs.delete(url.path()).await.unwrap());
}

async fn keeps_the_promises(fs: Arc<dyn FileSystem>, root: &str) {
    let fs = &*fs;
    a_closed_file_is_whole(fs, root).await;
    writing_goes_on_after_a_sync(fs, root).await;
    create_never_replaces_and_makes_no_directory(fs, root).await;
    rename_moves_once_and_never_replaces(fs, root).await;
    a_directory_is_renamed_with_what_is_in_it(fs, root).await;
    of_many_renames_to_one_name_exactly_one_wins(fs, root).await;
    list_is_sorted_and_knows_directories(fs, root).await;
    delete_says_whether_there_was_anything(fs, root).await;
}

/// A new directory for one promise.
async fn fresh(fs: &dyn FileSystem, root: &str, name: &str) -> String {
    let directory = format!("{root}/{name}/a/b");
    fs.mkdirs(&directory).await.unwrap();
    fs.mkdirs(&directory).await.unwrap();
    assert!(fs.stat(&directory).await.unwrap().directory);
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

async fn create_never_replaces_and_makes_no_directory(fs: &dyn FileSystem, root: &str) {
    let directory = fresh(fs, root, "create").await;
    let path = format!("{directory}/file");
    put(fs, &path, "mine").await;
    let again = fs.create(&path, CreateOptions::default()).await.err().unwrap();
    assert!(again.is_already_exists(), "{again:?}");
    assert_eq!(fs.read(&path).await.unwrap(), "mine");
    let deep = format!("{directory}/missing/file");
    let error = fs.create(&deep, CreateOptions::default()).await.err().unwrap();
    assert!(error.is_not_found(), "{error:?}");
    assert!(fs.stat(&deep).await.unwrap_err().is_not_found());
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
    let astray = fs.rename(&other, &format!("{directory}/missing/to")).await.unwrap_err();
    assert!(astray.is_not_found(), "{astray:?}");
    assert_eq!(fs.read(&other).await.unwrap(), "other");
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
    for name in &names {
        put(fs, name, "racer").await;
    }
    let target = format!("{directory}/won");
    let results = join_all(names.iter().map(|name| fs.rename(name, &target))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let lost = results.iter().filter_map(|result| result.as_ref().err());
    assert!(lost.into_iter().all(FsError::is_already_exists));
}

async fn list_is_sorted_and_knows_directories(fs: &dyn FileSystem, root: &str) {
    let directory = fresh(fs, root, "list").await;
    put(fs, &format!("{directory}/b"), "b").await;
    put(fs, &format!("{directory}/a"), "a").await;
    fs.mkdirs(&format!("{directory}/c/below")).await.unwrap();
    let listed = fs.list(&directory).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|l| (l.name.as_str(), l.directory)).collect();
    assert_eq!(listed, [("a", false), ("b", false), ("c", true)]);
    assert!(fs.list(&format!("{directory}/missing")).await.unwrap_err().is_not_found());
}

async fn delete_says_whether_there_was_anything(fs: &dyn FileSystem, root: &str) {
    let directory = fresh(fs, root, "delete").await;
    put(fs, &format!("{directory}/file"), "gone soon").await;
    assert!(fs.delete(&format!("{directory}/file")).await.unwrap());
    assert!(!fs.delete(&format!("{directory}/file")).await.unwrap());
    fs.mkdirs(&format!("{directory}/tree/deep")).await.unwrap();
    put(fs, &format!("{directory}/tree/deep/file"), "gone too").await;
    assert!(fs.delete(&format!("{directory}/tree")).await.unwrap());
    assert!(fs.stat(&format!("{directory}/tree/deep/file")).await.unwrap_err().is_not_found());
}
