//! `/tap` shows events by the requested conditions and rate, and counts those that it does not
//! show.

use agent::status::TapMessage;
use agent::tap::Point;
use pipeline::Batch;

use super::super::tap::READERS_MAX;
use super::events::Reader;
use super::*;

/// An agent with the channel `main`, and its tap.
fn tapped() -> (Bench, Point) {
    let handle = channel(&OutletBoard::default());
    let point = handle.boards.tap.clone();
    let channels = [("main".into(), Arc::new(handle))].into();
    (bench_of(Running::new(Parts { channels, ..Parts::default() })), point)
}

impl Reader {
    async fn message(&mut self) -> TapMessage {
        let event = self.until("\n\n").await;
        let (_, json) = event.split_once("data: ").unwrap();
        serde_json::from_str(json.trim_end()).unwrap()
    }

    /// The next message with events, and their bodies.
    async fn bodies(&mut self) -> (TapMessage, Vec<String>) {
        loop {
            let message = self.message().await;
            if !message.events.is_empty() {
                let bodies = message.events.iter().map(|it| it.event.text.clone().unwrap());
                let bodies = bodies.collect();
                return (message, bodies);
            }
        }
    }
}

/// `where=` of this text.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[tokio::test(start_paused = true)]
async fn events_are_shown_by_conditions_and_rate_and_the_others_are_counted() {
    let (bench, point) = tapped();
    assert!(!point.is_watched());
    let condition = escaped(r#"{"matches": "^a"}"#);
    let page = format!("/tap?channel=main&where={condition}&rate=2");
    let mut reader = Reader::of_page(&bench, &page).await;
    assert_eq!(reader.message().await, TapMessage::default(), "at once, so that it is known");
    assert!(point.is_watched());
    point.pass(&Batch::of(["a1", "b1", "a2", "a3", "<b>"]));
    let (message, bodies) = reader.bodies().await;
    assert_eq!(bodies, ["a1", "a2"]);
    assert_eq!((message.passed, message.matched, message.shown), (5, 3, 2));
    // The rate limits the number of events even after a pause.
    tokio::time::sleep(Duration::from_secs(5)).await;
    point.pass(&Batch::of(["a4", "a5", "a6"]));
    let (message, bodies) = reader.bodies().await;
    assert_eq!(bodies, ["a4", "a5"]);
    assert_eq!((message.passed, message.matched, message.shown, message.missed), (8, 6, 4, 0));
    drop(reader);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!point.is_watched(), "without a reader nothing is done");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_read_misses_events_and_is_cut_off() {
    let (bench, point) = tapped();
    let mut reader = Reader::of_page(&bench, "/tap?channel=main&rate=400").await;
    reader.message().await;
    // Events are never blocked: this is a plain call.
    for _ in 0..1_000 {
        point.pass(&Batch::of([&*"x".repeat(1_000)]));
    }
    let message = loop {
        let message = reader.message().await;
        if message.missed > 0 {
            break message;
        }
    };
    assert_eq!(message.passed + message.missed, 1_000);
    for _ in 0..100 {
        point.pass(&Batch::of([&*"x".repeat(1_000)]));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(!point.is_watched(), "its pipe is full");
}

#[tokio::test(start_paused = true)]
async fn tap_follows_a_restarted_part_and_ends_when_it_is_removed() {
    let (bench, _) = tapped();
    let mut reader = Reader::of_page(&bench, "/tap?channel=main").await;
    reader.message().await;
    let handle = channel(&OutletBoard::default());
    let point = handle.boards.tap.clone();
    bench
        .pages
        .monitor
        .running
        .change(|parts| parts.channels.insert("main".into(), Arc::new(handle)));
    tokio::time::sleep(Duration::from_secs(2)).await;
    point.pass(&Batch::of(["new"]));
    assert_eq!(reader.bodies().await.1, ["new"]);
    bench.pages.monitor.running.change(|parts| parts.channels.clear());
    let gone = loop {
        if let Some(gone) = reader.message().await.gone {
            break gone;
        }
    };
    assert_eq!(gone, "`main` no longer exists; a reload removed it");
    reader.end().await;
}

#[tokio::test(start_paused = true)]
async fn invalid_taps_are_refused_with_the_reason() {
    let (bench, _) = tapped();
    let pattern = escaped(r#"[{"matches": "("}]"#);
    for (query, status, said) in [
        ("", "400", "name a place: ?source=, ?channel= or ?sink="),
        ("?channel=mian", "404", "`main`"),
        ("?sink=main", "404", "`main`"),
        ("?channel=main&source=a", "400", "name only one of"),
        ("?channel=main&rate=0", "400", "1 to 400"),
        ("?channel=main&rate=401", "400", "1 to 400"),
        ("?channel=main&limit=1", "400", "`limit`"),
        ("?channel=main&where=x", "400", "`where`"),
        ("?channel=main&where=%ff", "400", "UTF-8"),
        (&*format!("?channel=main&where={pattern}"), "400", "matches"),
    ] {
        let answer = bench.get(&format!("/tap{query}")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{query}: {answer}");
        assert!(answer.contains(said), "{query}: {answer}");
    }
    let mut readers = Vec::new();
    for _ in 0..READERS_MAX {
        readers.push(Reader::of_page(&bench, "/tap?channel=main").await);
    }
    assert!(bench.get("/tap?channel=main").await.starts_with("HTTP/1.1 503"));
    drop(readers);
    tokio::time::sleep(Duration::from_secs(3)).await;
    Reader::of_page(&bench, "/tap?channel=main").await.message().await;
}
