//! `/status/events`: live for its readers, and nothing without them.

use super::super::feed::READERS_MAX;
use super::*;

/// A reader of a stream.
pub(super) struct Reader {
    stream: DuplexStream,
    text: String,
}

impl Reader {
    async fn of(bench: &Bench) -> Self {
        Self::of_page(bench, "/status/events").await
    }

    pub(super) async fn of_page(bench: &Bench, page: &str) -> Self {
        let mut stream = bench.client();
        let request = format!("GET {page} HTTP/1.1\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reader = Self { stream, text: String::new() };
        let head = reader.until("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("\r\ncontent-type: text/event-stream\r\n"), "{head}");
        reader
    }

    /// All up to this.
    pub(super) async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.text.find(end) {
                let rest = self.text.split_off(at + end.len());
                return std::mem::replace(&mut self.text, rest);
            }
            let mut bytes = [0; 1024];
            let read = self.stream.read(&mut bytes).await.unwrap();
            assert!(read > 0, "the stream has ended: {}", self.text);
            self.text += str::from_utf8(&bytes[..read]).unwrap();
        }
    }

    /// Reads on until the agent ends the stream.
    pub(super) async fn end(mut self) {
        let mut bytes = [0; 1024];
        while !self.text.ends_with("0\r\n\r\n") {
            let read = self.stream.read(&mut bytes).await.unwrap();
            self.text += str::from_utf8(&bytes[..read]).unwrap();
        }
    }

    async fn snapshot(&mut self) -> Snapshot {
        let event = self.until("\n\n").await;
        let (_, json) = event.split_once("data: ").unwrap();
        serde_json::from_str(json.trim_end()).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn readers_get_the_same_snapshot_a_second_and_without_one_nothing_is_done() {
    let bench = bench();
    assert!(!bench.pages.live.feed.is_at_work());
    let (mut one, mut other) = (Reader::of(&bench).await, Reader::of(&bench).await);
    // Both have read up to the same one.
    let (mut first, second) = (one.snapshot().await, other.snapshot().await);
    while first.uptime_seconds < second.uptime_seconds {
        first = one.snapshot().await;
    }
    let began = Instant::now();
    for _ in 0..5 {
        let (first, second) = tokio::join!(one.snapshot(), other.snapshot());
        assert_eq!(first, second, "one is gathered for all");
    }
    let took = began.elapsed();
    assert!((4..=5).contains(&took.as_secs()), "{took:?}");
    drop(one);
    other.snapshot().await;
    assert!(bench.pages.live.feed.is_at_work());
    drop(other);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!bench.pages.live.feed.is_at_work());
    // And again.
    Reader::of(&bench).await.snapshot().await;
}

#[tokio::test(start_paused = true)]
async fn readers_are_bounded_and_one_that_does_not_read_is_cut_off() {
    let bench = bench();
    let mut readers = Vec::new();
    for _ in 0..READERS_MAX {
        readers.push(Reader::of(&bench).await);
    }
    // A reader that is served would never end.
    let refused = tokio::time::timeout(Duration::from_secs(5), bench.get("/status/events")).await;
    let refused = refused.expect("an answer that ends");
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(bench.get("/livez").await.starts_with("HTTP/1.1 200"));
    // None of them reads: their pipes fill, and their places become free again.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!bench.pages.live.feed.is_at_work());
    Reader::of(&bench).await.snapshot().await;
}

#[tokio::test(start_paused = true)]
async fn the_stream_ends_with_the_listener() {
    let bench = bench();
    let mut reader = Reader::of(&bench).await;
    reader.snapshot().await;
    let Bench { admin, pages, .. } = bench;
    drop(admin);
    let mut rest = String::new();
    reader.stream.read_to_string(&mut rest).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!pages.live.feed.is_at_work());
}

#[tokio::test(start_paused = true)]
async fn a_failure_stays_in_the_bulletin_after_it_is_over() {
    let bench = bench();
    let source = bench.health.add_source(&"in".into());
    let text = "<script>alert(1)</script>\n\u{202e}\"><img src=x onerror=alert(1)>";
    source.failed(text, ErrorClass::Transient, Duration::from_secs(1));
    source.failed(text, ErrorClass::Transient, Duration::from_secs(1));
    bench.health.source_opened(&source);
    let snapshot = Reader::of(&bench).await.snapshot().await;
    assert!(snapshot.ready);
    let notice = &snapshot.bulletin[0];
    assert_eq!((&*notice.role, &*notice.name, notice.times), ("source", "in", 2));
    assert_eq!(notice.text, text, "as it came: the page shows it as text");
}
