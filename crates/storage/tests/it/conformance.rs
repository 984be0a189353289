//! Every store keeps the same promises: what a commit rests on holds whatever the URL says.
//!
//! Method: one suite, `storage::conformance`, run in a directory of its own on each store. HDFS
//! takes part when `AQUEDUCT_TEST_HDFS` names one (`hdfs://host:port`), which `tests/run`
//! starts; without it that test is shown as ignored.
#![allow(clippy::unwrap_used)] // A promise that fails is to stop the test, helpers included.

use std::sync::Arc;

use aqueduct_storage::StoreUrl;
use aqueduct_storage::conformance::keeps_the_promises;
use aqueduct_storage::hdfs::HdfsAccess;
use aqueduct_storage::local::Local;
use aqueduct_storage::memory::Memory;
use aqueduct_storage::objects::Objects;

#[tokio::test]
async fn memory_keeps_the_promises() {
    keeps_the_promises(Arc::new(Memory::new()), "/root").await;
}

#[tokio::test]
async fn what_stands_for_an_object_store_keeps_the_promises() {
    keeps_the_promises(Arc::new(Objects::over(Arc::new(Memory::new()))), "/root").await;
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
