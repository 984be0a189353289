//! Tests of turns and their ends. Method: a loopback server responds as the test says, and a test
//! channel stores bodies.

use std::path::Path;
use std::sync::Mutex;

use async_trait::async_trait;
use pipeline::testkit::{build, position_context};
use pipeline::{
    Batch, BatchSize, BuildContext, Intake, IntakeError, Permit, PositionIntake, Unreserved,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::*;

#[test]
fn a_larger_number_and_a_later_time_are_behind_others() {
    assert!(is_after("10", "9") && !is_after("9", "10") && !is_after("9", "9"));
    assert!(is_after("2026-01-02T00:00:00Z", "2026-01-01T23:00:00Z"));
    assert!(is_after("98765432109876543210", "98765432109876543209"));
}

/// The stored bodies.
#[derive(Default)]
struct Stored(Mutex<Vec<String>>);

#[async_trait]
impl Intake for Stored {
    async fn accept(&self, batch: Batch) -> Result<(), IntakeError> {
        let bodies = batch.iter().map(|it| String::from_utf8(it.body().to_vec()).unwrap());
        self.0.lock().unwrap().extend(bodies);
        Ok(())
    }

    async fn reserve(&self, _: BatchSize) -> Result<Box<dyn Permit + '_>, IntakeError> {
        Ok(Box::new(Unreserved(self)))
    }

    fn batch_bytes_max(&self) -> Option<u64> {
        None
    }
}

#[async_trait]
impl PositionIntake for Stored {
    fn positions(&self, _: &str) -> Vec<Vec<(Bytes, Bytes)>> {
        vec![Vec::new()]
    }

    async fn accept_into(&self, batch: Batch, _: &[usize]) -> Result<(), IntakeError> {
        self.accept(batch).await
    }

    fn stores_in_turn(&self) -> bool {
        true
    }
}

/// Starts a server that responds to a request line with a page. Returns its URL, and the request
/// lines.
async fn server(
    page: impl Fn(&str) -> Value + Send + 'static,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = env::real().net.listen("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/list", listener.local_address());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let lines = asked.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = Vec::new();
            loop {
                let mut piece = [0; 4096];
                match stream.read(&mut piece).await {
                    Ok(0) | Err(_) => break,
                    Ok(bytes) => read.extend_from_slice(&piece[..bytes]),
                }
                if !read.ends_with(b"\r\n\r\n") {
                    continue;
                }
                let line = String::from_utf8_lossy(&read).lines().next().unwrap().to_owned();
                read.clear();
                let body = page(&line).to_string();
                lines.lock().unwrap().push(line);
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).await.unwrap();
            }
        }
    });
    (url, asked)
}

/// Returns the bodies of one turn, and the number of its requests.
async fn turn(page: impl Fn(&str) -> Value + Send + 'static) -> (Vec<String>, usize) {
    let (url, asked) = server(page).await;
    let context = BuildContext::alone("in", Path::new("unused"), env::real());
    let settings = json!({
        "url": url, "interval": "1h", "items": "/data", "next": "/next", "next_parameter": "token",
    });
    let mut source = build::<Config>(&settings, &context).unwrap();
    let (stored, stop) = (Arc::new(Stored::default()), CancellationToken::new());
    let cx = position_context(stored.clone(), stop.clone());
    let running = tokio::spawn(async move {
        source.open(&cx).await.unwrap();
        source.run(cx).await.unwrap();
    });
    let has_stored = async {
        while stored.0.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), has_stored).await.expect("events are stored");
    stop.cancel();
    running.await.unwrap();
    let (bodies, asked) = (stored.0.lock().unwrap().clone(), asked.lock().unwrap().len());
    (bodies, asked)
}

#[tokio::test]
async fn stops_if_a_server_ignores_the_parameter_of_the_next_page() {
    let turn = turn(|_| json!({ "data": [1, 2], "next": "same" })).await;
    assert_eq!(turn, (vec!["1".to_owned(), "2".to_owned()], 2));
}

#[tokio::test]
async fn a_list_ends_at_a_page_that_names_itself_or_an_earlier_one() {
    // The last page of some servers has its own token, for the next call.
    let own = |line: &str| match line.contains("token=b") {
        true => json!({ "data": [2], "next": "b" }),
        false => json!({ "data": [1], "next": "b" }),
    };
    assert_eq!(turn(own).await, (vec!["1".to_owned(), "2".to_owned()], 2));
    let circle = |line: &str| match (line.contains("token=a"), line.contains("token=b")) {
        (true, _) => json!({ "data": [2], "next": "b" }),
        (_, true) => json!({ "data": [3], "next": "a" }),
        _ => json!({ "data": [1], "next": "a" }),
    };
    let (bodies, asked) = turn(circle).await;
    assert_eq!((bodies, asked), (["1", "2", "3"].map(str::to_owned).to_vec(), 3));
}
