//! The costs of many collectors that commit to one dataset, and of an entry that names many
//! origins.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_ledger::{Committed, Entry, Kind, StagedFile, Token};
use pipeline::{Epoch, KeySet, Origin};
use storage::hdfs::HdfsAccess;
use storage::memory::Memory;
use storage::{FileSystem, StoreUrl};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::harness::{author, open_at, roll_at, whole};

/// Largest allowed entry, whatever the collectors have received since the one before.
const ENTRY_MAX: usize = 256 << 10;
/// Of the time from a roll's end until its files are visible, for 99 of 100 rolls.
const COMMIT_MAX: Duration = Duration::from_secs(1);

#[test]
fn an_entry_of_ten_thousand_origins_fits_256_kib() {
    let mut keys = KeySet::default();
    for n in 0..10_000_u128 {
        // Spread, as random origins are; an edge of a year, in its fortieth life.
        let origin =
            Origin((n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).to_be_bytes());
        keys.insert_set(origin, Epoch(40), &(1_000_000 + n as u64..1_000_900 + n as u64).into());
    }
    let file = StagedFile {
        temp: format!("stage/{0}/{0}/{0}.0", Token([7; 16])),
        target: "2026-11-20/collector-1-store-12345-0.log".into(),
        len: 127 << 20,
        crc: u32::MAX,
        events: 1_000_000,
        shares: Vec::new(),
    };
    let kind = Kind::Commit { keys, files: vec![file] };
    let entry = Entry { index: 12_345, author: author(1), attempt: Token([9; 16]), kind };
    let bytes = entry.encode().len();
    assert!((200_000..=ENTRY_MAX).contains(&bytes), "{bytes} bytes");
    assert_eq!(Entry::decode(entry.encode(), 12_345).unwrap(), entry);
}

/// Runs `collectors` that roll about every `period`; returns the sorted durations of their commits.
async fn crowd(
    store: impl Fn() -> Arc<dyn FileSystem>,
    prefix: &str,
    collectors: u8,
    period: Duration,
    rolls: u64,
) -> Vec<Duration> {
    let mut all = JoinSet::new();
    for number in 0..collectors {
        let (fs, prefix) = (store(), prefix.to_owned());
        all.spawn(async move {
            let entropy = env::real().entropy;
            let mut ledger = open_at(fs.clone(), &prefix, number).await.unwrap();
            // They all started together; the spread of ±20 % takes them apart.
            let mut took = Vec::new();
            for n in 0..rolls {
                let spread = 0.8 + 0.4 * (entropy.next_u64() % 1_000_000) as f64 / 1e6;
                sleep(period.mul_f64(spread)).await;
                let first = (u64::from(number) * rolls + n) * 10;
                let keys: Range<u64> = first..first + 10;
                let roll = roll_at(&*fs, &prefix, number, keys).await;
                let began = Instant::now();
                let committed = ledger.commit(roll, whole()).await.unwrap();
                took.push(began.elapsed());
                assert!(matches!(committed, Committed::Published(_)));
                ledger.compact().await.unwrap();
            }
            took
        });
    }
    let mut took: Vec<Duration> = all.join_all().await.into_iter().flatten().collect();
    took.sort_unstable();
    took
}

fn quantile(sorted: &[Duration], hundredths: usize) -> Duration {
    sorted[(sorted.len() - 1) * hundredths / 100]
}

/// A call to the store takes 5 ms here; a NameNode on a busy machine answers in 2 to 3.
#[tokio::test(start_paused = true)]
async fn a_hundred_collectors_that_roll_every_30_s_commit_within_a_second() {
    let store = Memory::new();
    let slow = || Arc::new(store.with_latency(Duration::from_millis(5))) as Arc<dyn FileSystem>;
    let took = crowd(slow, "/logs", 100, Duration::from_secs(30), 15).await;
    let (median, late) = (quantile(&took, 50), quantile(&took, 99));
    assert!(late <= COMMIT_MAX, "half within {median:?}, 99 of 100 within {late:?}");
    let visible = store.files().keys().filter(|path| path.starts_with("/logs/day/")).count();
    assert_eq!(visible, 1_500);
}

/// The commit rate of a hundred collectors, from twenty, on a real NameNode. The duration depends
/// on the load of the machine, so it is printed and not compared with a limit.
#[tokio::test]
#[ignore = "needs AQUEDUCT_TEST_HDFS=hdfs://host:port; tests/run starts one"]
#[allow(clippy::print_stdout)] // The figures are in docs/measurements.
async fn twenty_committers_on_a_real_namenode_publish_every_roll_once() {
    let store = std::env::var("AQUEDUCT_TEST_HDFS").expect("AQUEDUCT_TEST_HDFS names a store");
    let unique = env::real().entropy.next_u64();
    let url = StoreUrl::parse(&format!("{store}/crowd-{unique:x}")).unwrap();
    let connect = || storage_hdfs::open(&url, &HdfsAccess::default(), &env::real()).unwrap();
    let took = crowd(connect, url.path(), 20, Duration::from_secs(6), 4).await;
    let [median, late, last] = [50, 99, 100].map(|hundredths| quantile(&took, hundredths));
    println!("{} commits: median {median:?}, p99 {late:?}, longest {last:?}", took.len());
    let visible = connect().list(&format!("{}/day", url.path())).await.unwrap();
    assert_eq!(visible.len(), took.len());
    assert!(connect().delete(url.path()).await.unwrap());
}
