//! The same guarantees on a real HDFS at `AQUEDUCT_TEST_HDFS` (`hdfs://host:port`), which
//! `tests/run` starts.

use std::sync::Arc;

use serde_json::json;
use storage::StoreUrl;
use storage::faults::{Fault, Faulty};
use storage::hdfs::HdfsAccess;

use super::faults::{is_fed, lines_below};
use super::harness::{Collector, deliver, numbered, numbered_lines};

/// Calls from the first write on. They include staging the files, the ledger entry, and the
/// renames.
const CALLS: std::ops::Range<u64> = 12..44;

#[tokio::test]
#[ignore = "needs AQUEDUCT_TEST_HDFS=hdfs://host:port; tests/run starts one"]
async fn a_death_at_any_call_on_a_real_hdfs_loses_and_repeats_nothing() {
    let store = std::env::var("AQUEDUCT_TEST_HDFS").expect("AQUEDUCT_TEST_HDFS names a store");
    let unique = env::real().entropy.next_u64();
    let mut deaths = 0;
    for at in CALLS {
        let url = format!("{store}/sink-{unique:x}/{at}");
        let root = StoreUrl::parse(&url).unwrap();
        let fs = storage_hdfs::open(&root, &HdfsAccess::default(), &env::real()).unwrap();
        let roll = json!({ "idle_max": "50ms" });
        let collector = Collector::new(json!({ "url": format!("{url}/%{{app}}"), "roll": roll }));
        let dying = Arc::new(Faulty::new(fs.clone(), Fault::DiesAfter, at));
        deaths += u64::from(!is_fed(&mut collector.sink_on(dying)).await);
        deliver(&mut collector.sink_on(fs.clone()), &numbered(2)).await;
        assert_eq!(lines_below(&*fs, root.path()).await, numbered_lines(2), "call {at}");
    }
    assert!(deaths > 20, "{deaths} deaths");
    let root = StoreUrl::parse(&format!("{store}/sink-{unique:x}")).unwrap();
    let fs = storage_hdfs::open(&root, &HdfsAccess::default(), &env::real()).unwrap();
    assert!(fs.delete(root.path()).await.unwrap());
}
