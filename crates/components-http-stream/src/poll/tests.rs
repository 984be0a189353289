//! Tests of turns and their ends. Method: a loopback server responds as the test says.

use std::path::Path;
use std::sync::Mutex;

use kit::testkit::channels::Channels;
use kit::testkit::sinks;
use pipeline::BuildContext;
use pipeline::testkit::{build, position_context};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use super::*;

#[test]
fn a_larger_number_and_a_later_time_are_behind_others() {
    assert!(is_after("10", "9") && !is_after("9", "10") && !is_after("9", "9"));
    assert!(is_after("2026-01-02T00:00:00Z", "2026-01-01T23:00:00Z"));
    assert!(is_after("98765432109876543210", "98765432109876543209"));
}

/// Starts a server that responds to a request line with a page. Returns its URL, and the request
/// lines.
async fn server(
    page: impl Fn(&str) -> Value + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (lines, page) = (asked.clone(), Arc::new(page));
    let (address, _) = sinks::server(move |mut stream| {
        let (lines, page) = (lines.clone(), page.clone());
        async move {
            while let Some((head, _)) = sinks::http_request(&mut *stream).await {
                let line = head.lines().next().unwrap().to_owned();
                let body = page(&line).to_string();
                lines.lock().unwrap().push(line);
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let url = format!("http://{address}/list");
    (url, asked)
}

/// Returns the bodies of one turn, and the number of its requests.
async fn turn(page: impl Fn(&str) -> Value + Send + Sync + 'static) -> (Vec<String>, usize) {
    let (url, asked) = server(page).await;
    let context = BuildContext::alone("in", Path::new("unused"), env::real());
    let settings = json!({
        "url": url, "interval": "1h", "items": "/data", "next": "/next", "next_parameter": "token",
    });
    let mut source = build::<Config>(&settings, &context).unwrap();
    let (stored, stop) = (Arc::new(Channels::new(1)), CancellationToken::new());
    let cx = position_context(stored.clone(), stop.clone());
    let running = tokio::spawn(async move {
        source.open(&cx).await.unwrap();
        source.run(cx).await.unwrap();
    });
    stored.wait_for_events(1).await;
    stop.cancel();
    running.await.unwrap();
    let (bodies, asked) = (stored.bodies(0), asked.lock().unwrap().len());
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
