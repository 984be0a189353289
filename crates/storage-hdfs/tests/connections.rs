//! A dropped store keeps no connection. A sink reopens its store after each failure, so a
//! connection that stayed would add up during a long outage.
//!
//! Method: a relay in front of a real NameNode counts the open connections. HDFS takes part when
//! `AQUEDUCT_TEST_HDFS` names one (`hdfs://host:port`), which `tests/run` starts.
#![allow(clippy::unwrap_used)] // A promise that fails is to stop the test, helpers included.
#![allow(clippy::disallowed_methods, reason = "the relay is no part of what is tested")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aqueduct_storage_hdfs::open;
use storage::hdfs::HdfsAccess;
use storage::{CreateOptions, StoreUrl};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// A relay to this address; its own, and how many connections are open.
async fn relay(to: String) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let open = Arc::<AtomicUsize>::default();
    let count = open.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (to, count) = (to.clone(), count.clone());
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                if let Ok(mut server) = TcpStream::connect(to).await {
                    let _either_end = copy_bidirectional(&mut client, &mut server).await;
                }
                count.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (address, open)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs AQUEDUCT_TEST_HDFS=hdfs://host:port; tests/run starts one"]
async fn a_store_that_is_let_go_closes_its_connections() {
    let url = std::env::var("AQUEDUCT_TEST_HDFS").expect("AQUEDUCT_TEST_HDFS names a store");
    let (address, connections) = relay(url.trim_start_matches("hdfs://").to_owned()).await;
    let url = StoreUrl::parse(&format!("hdfs://{address}/connections")).unwrap();
    for round in 0..3 {
        let fs = open(&url, &HdfsAccess::default(), &env::real()).unwrap();
        fs.mkdirs(url.path()).await.unwrap();
        let path = format!("{}/{round}", url.path());
        // With the first file the client begins to renew its leases.
        drop(fs.create(&path, CreateOptions::default()).await.unwrap());
        assert!(connections.load(Ordering::SeqCst) > 0, "it is the relay that is used");
        assert!(fs.delete(&path).await.unwrap());
    }
    for _ in 0..1200 {
        if connections.load(Ordering::SeqCst) == 0 {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("{} connections of stores that are gone", connections.load(Ordering::SeqCst));
}
