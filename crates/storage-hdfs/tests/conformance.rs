//! HDFS keeps the guarantees of a store.
//!
//! Method: the suite `storage::conformance`, in a separate directory. `AQUEDUCT_TEST_HDFS` names
//! the HDFS (`hdfs://host:port`), which `tests/run` starts; without it the test is ignored.
#![allow(clippy::unwrap_used)] // A promise that fails is to stop the test, helpers included.

use aqueduct_storage_hdfs::open;
use storage::StoreUrl;
use storage::conformance::keeps_the_promises;
use storage::hdfs::HdfsAccess;

#[tokio::test]
#[ignore = "needs AQUEDUCT_TEST_HDFS=hdfs://host:port; tests/run starts one"]
async fn hdfs_keeps_the_promises() {
    let url = std::env::var("AQUEDUCT_TEST_HDFS").expect("AQUEDUCT_TEST_HDFS names a store");
    let unique = env::real().entropy.next_u64();
    let url = StoreUrl::parse(&format!("{url}/conformance-{unique:x}")).unwrap();
    let fs = open(&url, &HdfsAccess::default(), &env::real()).unwrap();
    keeps_the_promises(fs.clone(), url.path()).await;
    assert!(fs.delete(url.path()).await.unwrap());
}
