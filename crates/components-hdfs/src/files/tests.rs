//! Every record arrives once, whatever happens to the source, with real files.
//!
//! Method: the test channel stores events and positions in one write, like real ones. The source is
//! dropped in the middle of its work, after a chosen number of puts.

#![allow(
    clippy::disallowed_methods,
    reason = "a test stands outside the world that `Env` is, and its files are real ones"
)]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kit::testkit::channels::Channels;
use kit::testkit::narrow::Narrow;
use pipeline::testkit::{build, position_context};
use pipeline::{BuildContext, Catalogue, Group, SourceError};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Config;

mod parts;

/// Returns a build context with all decoders.
fn context() -> BuildContext {
    static OF_TESTS: Group = Group { decoders: parts::DECODERS, ..Group::EMPTY };
    const GROUPS: &[&Group] = &[&formats::GROUP, &crate::GROUP, &OF_TESTS];
    let catalogue = Catalogue { groups: GROUPS, ..Catalogue::EMPTY };
    BuildContext { catalogue, ..BuildContext::alone("in", Path::new("/d"), env::real()) }
}

/// A directory of files, and a channel.
struct Site {
    folder: tempfile::TempDir,
    channels: Arc<Channels>,
}

impl Site {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), channels: Arc::new(Channels::new(1)) }
    }

    fn put(&self, name: &str, content: &[u8]) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Runs the source until it ends, or for this many puts. Returns how it ended.
    async fn live(&self, settings: &Value, puts: usize) -> Option<Result<(), SourceError>> {
        let mut all = json!({
            "url": format!("file://{}", self.folder.path().display()),
            "batch_bytes": "20B",
        });
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let cx = context();
        let mut source = build::<Config>(&all, &cx).unwrap();
        let life = Arc::new(Narrow::new(self.channels.clone(), puts));
        let cx = position_context(life.clone(), CancellationToken::new());
        if let Err(error) = source.open(&cx).await {
            return Some(Err(error));
        }
        let stuck = async {
            while life.has_room() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        tokio::select! {
            biased;
            ended = source.run(cx) => Some(ended),
            () = stuck => None,
        }
    }

    async fn ends(&self, settings: &Value) -> Result<(), SourceError> {
        let ended = timeout(Duration::from_secs(60), self.live(settings, 1_000_000)).await;
        ended.unwrap().expect("there is room")
    }

    async fn problem(&self, settings: &Value) -> String {
        self.ends(settings).await.unwrap_err().message
    }

    fn bodies(&self) -> Vec<String> {
        self.channels.bodies(0)
    }
}

fn lines(from: usize, to: usize) -> String {
    (from..to).map(|number| format!("line {number}\n")).collect()
}

fn expected(to: usize) -> Vec<String> {
    lines(0, to).lines().map(str::to_owned).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn each_line_is_stored_once_in_order_however_often_the_agent_dies() {
    for puts in 1..4 {
        let site = Site::new();
        site.put("a/1.txt", lines(0, 10).as_bytes());
        site.put("a/2.gz", &gzip(&lines(10, 20)));
        site.put("a/3", b"");
        site.put("b", &zstd::encode_all(lines(20, 30).as_bytes(), 1).unwrap());
        site.put("_aqueduct/x", b"hidden");
        site.put("c/.crc", b"hidden");
        let mut lives = 0;
        loop {
            lives += 1;
            assert!(lives < 60, "it does not get on: {:?}", site.bodies());
            match site.live(&json!({}), puts).await {
                None => {}
                Some(ended) => break ended.unwrap(),
            }
        }
        assert!(lives > 2, "{lives}");
        assert_eq!(site.bodies(), expected(30), "{puts} puts a life");
        site.ends(&json!({})).await.unwrap();
        assert_eq!(site.bodies(), expected(30), "it was complete");
        site.put("d", lines(30, 35).as_bytes());
        site.ends(&json!({})).await.unwrap();
        assert_eq!(site.bodies(), expected(35), "a new file stands behind the others");
    }
}

#[tokio::test]
async fn a_large_file_is_read_part_by_part() {
    let site = Site::new();
    let text = lines(0, 1_000_000);
    assert!(text.len() > 2 * super::content::PART_BYTES);
    site.put("a", text.as_bytes());
    let settings = json!({ "batch_bytes": "1MiB" });
    assert!(site.live(&settings, 3).await.is_none());
    site.ends(&settings).await.unwrap();
    assert!(site.bodies() == expected(1_000_000));
}

#[tokio::test]
async fn a_file_that_is_not_what_it_was_is_an_error_that_names_it() {
    let site = Site::new();
    site.put("a", lines(0, 10).as_bytes());
    assert!(site.live(&json!({}), 2).await.is_none());
    let stored = site.bodies();
    site.put("a", lines(5, 20).as_bytes());
    let problem = site.problem(&json!({})).await;
    assert!(problem.contains("/a changed"), "{problem}");
    site.put("b", b"");
    fs::remove_file(site.folder.path().join("a")).unwrap();
    let problem = site.problem(&json!({})).await;
    assert!(problem.contains("/a was read in part and no longer exists"), "{problem}");
    assert_eq!(site.bodies(), stored);
}

#[tokio::test]
async fn reports_a_new_file_that_sorts_before_read_ones() {
    let site = Site::new();
    site.put("b", lines(0, 3).as_bytes());
    site.ends(&json!({})).await.unwrap();
    site.put("a", b"new\n");
    let problem = site.problem(&json!({})).await;
    assert!(problem.contains("were added or removed") && problem.contains("/b"), "{problem}");
}

#[tokio::test]
async fn stores_events_before_damage_and_names_the_file() {
    let site = Site::new();
    let damaged = gzip(&lines(0, 100_000));
    site.put("a.gz", &damaged[..damaged.len() - 20]);
    let problem = site.problem(&json!({ "batch_bytes": "10KiB" })).await;
    assert!(problem.contains("/a.gz after the first"), "{problem}");
    let stored = site.bodies();
    assert!(!stored.is_empty() && stored == expected(stored.len()), "{}", stored.len());
    let missing = json!({ "url": format!("file://{}/no", site.folder.path().display()) });
    let other = Site::new();
    let problem = other.problem(&missing).await;
    assert!(problem.contains("/no does not exist"), "{problem}");
}

#[tokio::test]
async fn records_go_on_where_they_were_and_a_decoder_of_messages_is_refused() {
    let site = Site::new();
    site.put("a", b"1,\"a\nb\"\n2,c\n3,\n");
    let decoder = json!({ "type": "delimited", "fields": ["id", "v"], "quote": "\"" });
    let settings = json!({ "decoder": decoder });
    assert!(site.live(&settings, 1).await.is_none());
    site.ends(&settings).await.unwrap();
    let expected = [r#"{"id":"1","v":"a\nb"}"#, r#"{"id":"2","v":"c"}"#, r#"{"id":"3","v":null}"#];
    assert_eq!(site.bodies(), expected);
    let cx = context();
    let all = json!({ "url": "file:///d", "decoder": "json" });
    let problem = build::<Config>(&all, &cx).err().unwrap().to_string();
    assert!(problem.contains("`delimited`"), "{problem}");
}

#[tokio::test]
async fn channel_that_is_behind_gets_the_missing_events_only() {
    let site = Site::new();
    let channels = Arc::new(Channels::new(2));
    let run = || {
        let url = format!("file://{}", site.folder.path().display());
        let all = json!({ "url": url, "batch_bytes": "20B" });
        let mut source = build::<Config>(&all, &context()).unwrap();
        let cx = position_context(channels.clone(), CancellationToken::new());
        tokio::spawn(async move {
            source.open(&cx).await?;
            source.run(cx).await
        })
    };
    let files = [lines(0, 10).into_bytes(), gzip(&lines(10, 20)), lines(20, 30).into_bytes()];
    for (number, content) in files.iter().enumerate() {
        site.put(&format!("a/{number}"), content);
        channels.refuse(1, 1000);
        let killed = run();
        while channels.bodies(0).len() == channels.bodies(1).len() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        killed.abort();
        let _ = killed.await;
        channels.refuse(1, 0);
        run().await.unwrap().unwrap();
        for channel in 0..2 {
            assert_eq!(channels.bodies(channel), expected(10 * (number + 1)), "{channel}");
        }
    }
}
