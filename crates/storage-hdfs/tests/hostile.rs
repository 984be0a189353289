//! A server that is not a NameNode cannot make the client allocate memory for an announced length.
//!
//! Method: a listener on loopback announces a long message and sends bytes until the client closes
//! the connection.
#![allow(clippy::unwrap_used)] // A promise that fails is to stop the test, helpers included.
#![allow(clippy::disallowed_methods, reason = "the server is no part of what is tested")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aqueduct_storage_hdfs::open;
use storage::StoreUrl;
use storage::hdfs::HdfsAccess;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// More than the largest response plus the buffers of the sockets.
const FLOOD_BYTES: usize = 192 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_of_4_gib_is_refused_when_it_is_announced() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let most = Arc::<AtomicUsize>::default();
    let seen = most.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = seen.clone();
            tokio::spawn(async move {
                let _call = stream.read(&mut [0; 4096]).await;
                let mut sent = stream.write(&[0xff; 4]).await.unwrap_or(0);
                let block = vec![0; 1 << 20];
                while sent < FLOOD_BYTES {
                    match stream.write(&block).await {
                        Ok(bytes) => sent += bytes,
                        Err(_) => break,
                    }
                }
                seen.fetch_max(sent, Ordering::SeqCst);
            });
        }
    });
    let url = StoreUrl::parse(&format!("hdfs://{address}/hostile")).unwrap();
    let fs = open(&url, &HdfsAccess::default(), &env::real()).unwrap();
    let stat = tokio::time::timeout(Duration::from_secs(60), fs.stat("/hostile")).await;
    assert!(stat.unwrap().is_err());
    drop(fs);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let most = most.load(Ordering::SeqCst);
    assert!((4..64 << 20).contains(&most), "{most} bytes were read");
}
