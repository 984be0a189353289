//! HDFS by HTTP has the guarantees of a store, whatever happens to its answers.
//!
//! Method: the real HDFS of `tests/run`, or a test's own with an HttpFS, which must have the same
//! guarantees. Some requests go through a relay, which loses the answer or the request, or stays
//! silent; then the test asks the store for its contents. The counters of a DataNode show what it
//! has synced.
#![allow(clippy::unwrap_used)] // A promise that fails is to stop the test, helpers included.

#[path = "../../storage-objects/tests/relay/mod.rs"]
#[allow(dead_code, reason = "it does more to a server of S3")]
mod relay;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_storage_webhdfs::{Access, open};
use aqueduct_tests::hdfs::Hdfs;
use aqueduct_tests::{http, wait};
use futures::future::join_all;
use pipeline::{Classify, ErrorClass};
use relay::{Mood, Relay};
use storage::conformance::keeps_the_promises;
use storage::hdfs::HdfsAccess;
use storage::{CreateOptions, FileSystem, FsError, StoreUrl};

fn store(at: SocketAddr) -> Arc<dyn FileSystem> {
    store_of(at, &HdfsAccess::default())
}

fn store_of(at: SocketAddr, hdfs: &HdfsAccess) -> Arc<dyn FileSystem> {
    opened(at, hdfs, &Access::default())
}

/// A gateway with the statement that its DataNodes sync files on close.
fn gateway_of(at: SocketAddr, hdfs: &HdfsAccess) -> Arc<dyn FileSystem> {
    opened(at, hdfs, &Access { synconclose: true, ..Access::default() })
}

fn opened(at: SocketAddr, hdfs: &HdfsAccess, access: &Access) -> Arc<dyn FileSystem> {
    let url = StoreUrl::parse(&format!("webhdfs://{at}/logs")).unwrap();
    open(&url, hdfs, access, &env::real()).unwrap()
}

/// A directory of this test's own.
async fn fresh(fs: &dyn FileSystem) -> String {
    let root = format!("/webhdfs-{:x}", env::real().entropy.next_u64());
    fs.mkdirs(&root).await.unwrap();
    root
}

async fn put(fs: &dyn FileSystem, path: &str, content: Vec<u8>) -> Result<(), FsError> {
    let mut writer = fs.create(path, CreateOptions::default()).await?;
    writer.write(content.into()).await?;
    writer.close().await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs HDFS: tests/run"]
async fn webhdfs_keeps_the_promises() {
    let fs = store(Hdfs::shared().web_address());
    let root = fresh(&*fs).await;
    keeps_the_promises(fs.clone(), &root).await;
    assert!(fs.delete(&root).await.unwrap());
}

/// Names of files have `%XX` where a header has other bytes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs HDFS: tests/run"]
async fn each_byte_of_a_name_means_itself() {
    names_mean_themselves(&*store(Hdfs::shared().web_address())).await;
}

async fn names_mean_themselves(fs: &dyn FileSystem) {
    let root = fresh(fs).await;
    for name in ["a%2Fb", "a+b c", "host=é;x&y", "100%"] {
        let [from, to] = ["from", "to"].map(|end| format!("{root}/{name}-{end}"));
        put(fs, &from, b"content".to_vec()).await.unwrap();
        fs.rename(&from, &to).await.unwrap();
        assert_eq!(fs.read(&to).await.unwrap(), "content", "{to}");
        let listed = fs.list(&root).await.unwrap();
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!(listed[0].name, format!("{name}-to"));
        assert!(fs.delete(&to).await.unwrap(), "{to}");
    }
    assert!(fs.delete(&root).await.unwrap());
}

/// More names than a NameNode lists per call.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs HDFS: tests/run"]
async fn a_large_directory_is_listed_whole() {
    const NAMES: usize = 1_050;
    let fs = store(Hdfs::shared().web_address());
    let root = fresh(&*fs).await;
    let names: Vec<String> = (0..NAMES).map(|n| format!("{root}/{n:04}")).collect();
    for some in names.chunks(32) {
        for made in join_all(some.iter().map(|name| fs.mkdirs(name))).await {
            made.unwrap();
        }
    }
    let listed = fs.list(&root).await.unwrap();
    let listed: Vec<String> = listed.iter().map(|it| format!("{root}/{}", it.name)).collect();
    assert!(listed == names, "{} of {NAMES}", listed.len());
    assert!(fs.delete(&root).await.unwrap());
}

/// Returns how often the only DataNode has synced a file. Its counters are some seconds old.
fn synced(hdfs: &Hdfs) -> Option<u64> {
    let number = |text: &str, before: &str| -> Option<u64> {
        let (_, rest) = text.split_once(before)?;
        let rest = rest.trim_start_matches([' ', ':']);
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let jmx = |at: SocketAddr, bean: &str| {
        Some(http::get(at, &format!("/jmx?qry=Hadoop:service={bean}"))?.1)
    };
    let nodes = jmx(hdfs.web_address(), "NameNode,name=NameNodeInfo")?;
    let port = number(&nodes, r#"infoAddr\":\"127.0.0.1:"#)?;
    let datanode = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).ok()?));
    number(&jmx(datanode, "DataNode,name=DataNodeActivity-*")?, r#""FsyncCount""#)
}

/// Without a sync, an answered close only means that the bytes are in the page cache.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs HDFS: tests/run"]
async fn each_file_is_synced_when_it_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let mut hdfs = Hdfs::configured(folder.path());
    tokio::task::block_in_place(|| hdfs.start());
    files_are_synced(&*store(hdfs.web_address()), &hdfs).await;
    tokio::task::block_in_place(|| hdfs.stop());
}

/// Files of an empty store are synced.
async fn files_are_synced(fs: &dyn FileSystem, hdfs: &Hdfs) {
    const FILES: u8 = 5;
    let root = fresh(fs).await;
    for n in 0..FILES {
        put(fs, &format!("{root}/{n}"), vec![n; 100_000]).await.unwrap();
    }
    tokio::task::block_in_place(|| {
        wait::until("a sync of each file", Duration::from_secs(60), || {
            synced(hdfs).filter(|syncs| *syncs >= u64::from(FILES))
        });
    });
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs HDFS: tests/run"]
async fn owner_and_rights_are_those_that_are_set() {
    let hdfs = Hdfs::shared();
    rights_are_as_set(&*store_of(hdfs.web_address(), &of_logs()), hdfs).await;
}

fn of_logs() -> HdfsAccess {
    HdfsAccess {
        proxy_user: Some("logs".into()),
        file_mode: 0o664,
        directory_mode: 0o775,
        ..HdfsAccess::default()
    }
}

async fn rights_are_as_set(fs: &dyn FileSystem, hdfs: &Hdfs) {
    let root = fresh(fs).await;
    put(fs, &format!("{root}/file"), vec![1]).await.unwrap();
    let listing =
        tokio::task::block_in_place(|| hdfs.fs(&["-ls", "-d", &root, &format!("{root}/file")]));
    let listing = String::from_utf8(listing).unwrap();
    let mut lines = listing.lines().filter(|line| line.contains(&root));
    let mut expect = |rights: &str| {
        let line = lines.next().unwrap_or_default();
        assert!(line.starts_with(rights) && line.contains(" logs "), "{listing}");
    };
    expect("drwxrwxr-x");
    expect("-rw-rw-r--");
    assert!(fs.delete(&root).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs HDFS: tests/run"]
async fn a_rename_whose_answer_is_lost_is_known_by_looking() {
    let relay = Relay::before(Hdfs::shared().web_address()).await;
    lost_answers_are_looked_for(&*store(relay.address()), &relay).await;
}

async fn lost_answers_are_looked_for(fs: &dyn FileSystem, relay: &Relay) {
    let root = fresh(fs).await;
    for mood in [Mood::LosesAnswer, Mood::LosesRequest] {
        let [from, to] = ["from", "to"].map(|end| format!("{root}/{mood:?}-{end}"));
        put(fs, &from, b"content".to_vec()).await.unwrap();
        relay.mood_of(mood, |head| head.contains("op=RENAME"));
        let error = fs.rename(&from, &to).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Indeterminate, "{error:?}");
        let is_done = mood == Mood::LosesAnswer;
        assert_eq!(fs.stat(&to).await.is_ok(), is_done, "{mood:?}");
        assert_eq!(fs.stat(&from).await.is_ok(), !is_done, "{mood:?}");
        relay.mood_of(Mood::Passes, |_| false);
        match fs.rename(&from, &to).await {
            Ok(()) => assert!(!is_done),
            Err(error) => assert!(is_done && error.is_not_found(), "{error:?}"),
        }
        assert_eq!(fs.read(&to).await.unwrap(), "content");
    }
    assert!(fs.delete(&root).await.unwrap());
}

/// If a process dies, or gives a file up, the file exists at most in part.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs HDFS: tests/run"]
async fn a_file_that_is_given_up_does_not_hold_its_name() {
    files_that_are_given_up_are_deleted(&*store(Hdfs::shared().web_address())).await;
}

async fn files_that_are_given_up_are_deleted(fs: &dyn FileSystem) {
    let root = fresh(fs).await;
    let path = format!("{root}/file");
    let mut writer = fs.create(&path, CreateOptions::default()).await.unwrap();
    writer.write(vec![1; 300_000].into()).await.unwrap();
    drop(writer);
    // Its call reaches the NameNode through a DataNode, which may take some time.
    for _ in 0..100 {
        if fs.stat(&path).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    fs.delete(&path).await.unwrap();
    put(fs, &path, b"another".to_vec()).await.unwrap();
    assert_eq!(fs.read(&path).await.unwrap(), "another");
    assert!(fs.delete(&root).await.unwrap());
}

/// A silent NameNode delays one call only.
#[tokio::test]
#[ignore = "needs HDFS: tests/run"]
async fn a_silent_namenode_ends_no_call_late() {
    let relay = Relay::before(Hdfs::shared().web_address()).await;
    let fs = store(relay.address());
    assert!(fs.rename("/none", "/elsewhere").await.unwrap_err().is_not_found());
    relay.mood_of(Mood::Silent, |_| true);
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let error = fs.rename("/none", "/elsewhere").await.unwrap_err();
    assert!(matches!(error, FsError::Timeout { .. }), "{error:?}");
    assert_eq!(error.class(), ErrorClass::Indeterminate);
    assert!(began.elapsed().as_secs() <= 16, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs HDFS: tests/run"]
async fn names_a_server_without_webhdfs_with_the_remedy() {
    let rpc = Hdfs::shared().url().strip_prefix("hdfs://").unwrap().parse().unwrap();
    let error = store(rpc).stat("/").await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Blocked, "{error:?}");
    assert!(format!("{error:?}").contains("dfs.namenode.http-address"), "{error:?}");
    let nowhere = store(SocketAddr::from(([127, 0, 0, 1], 1)));
    let error = nowhere.rename("/a", "/b").await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient, "nothing was asked: {error:?}");
}

/// An HDFS with an HttpFS that answers.
fn with_httpfs(folder: &Path) -> Hdfs {
    let mut hdfs = Hdfs::configured_with(folder, &["--httpfs"]);
    hdfs.start();
    let root = "/webhdfs/v1/?op=GETFILESTATUS&user.name=logs";
    wait::until("HttpFS to answer", Duration::from_secs(60), || {
        http::get(hdfs.httpfs_address(), root).filter(|(status, _)| *status == 200)
    });
    hdfs
}

/// Without a sync the ends of files would only be in page caches.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs HDFS: tests/run"]
async fn httpfs_is_refused_and_keeps_the_promises_where_closed_files_are_synced() {
    let folder = tempfile::tempdir().unwrap();
    let mut hdfs = tokio::task::block_in_place(|| with_httpfs(folder.path()));
    it_is_refused_before_anything_is_written(&hdfs).await;
    let at = hdfs.httpfs_address();
    let fs = gateway_of(at, &HdfsAccess::default());
    files_are_synced(&*fs, &hdfs).await;
    let root = fresh(&*fs).await;
    keeps_the_promises(fs.clone(), &root).await;
    names_mean_themselves(&*fs).await;
    rights_are_as_set(&*gateway_of(at, &of_logs()), &hdfs).await;
    files_that_are_given_up_are_deleted(&*fs).await;
    let relay = Relay::before(at).await;
    let relayed = gateway_of(relay.address(), &HdfsAccess::default());
    lost_answers_are_looked_for(&*relayed, &relay).await;
    reads_stored_files_with_any_synconclose_setting(&hdfs).await;
    tokio::task::block_in_place(|| hdfs.stop());
}

async fn it_is_refused_before_anything_is_written(hdfs: &Hdfs) {
    let fs = store(hdfs.httpfs_address());
    fs.mkdirs("/logs/one").await.unwrap();
    fs.mkdirs("/logs/other").await.unwrap();
    let created = fs.create("/logs/file", CreateOptions::default()).await.err().unwrap();
    let renamed = fs.rename("/logs/one", "/logs/other").await.unwrap_err();
    for error in [created, renamed] {
        assert!(matches!(error, FsError::Unfit { .. }), "{error:?}");
        assert!(format!("{error:?}").contains("webhdfs.synconclose"), "{error:?}");
    }
    let straight = store(hdfs.web_address());
    let names = straight.list("/logs").await.unwrap();
    let names: Vec<&str> = names.iter().map(|listed| &*listed.name).collect();
    assert_eq!(names, ["one", "other"]);
    // The NameNode itself refuses it.
    let error = straight.rename("/logs/one", "/logs/other").await.unwrap_err();
    assert!(error.is_already_exists(), "{error:?}");
}

async fn reads_stored_files_with_any_synconclose_setting(hdfs: &Hdfs) {
    let fs = store(hdfs.httpfs_address());
    // The statement has no effect with a NameNode.
    let straight = gateway_of(hdfs.web_address(), &HdfsAccess::default());
    put(&*straight, "/logs/file", vec![7; 100_000]).await.unwrap();
    assert_eq!(fs.read("/logs/file").await.unwrap(), vec![7; 100_000]);
    assert_eq!(fs.read_part("/logs/file", 99_990, 100).await.unwrap(), vec![7; 10]);
}
