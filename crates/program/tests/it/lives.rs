//! One life of an agent resumes where the previous one ended: nothing is lost or repeated.
//!
//! Method: a whole agent runs in a separate runtime, with real files and stores. Dropping the
//! runtime ends its life in the middle of any operation. A failing disk of one channel extends the
//! moment between two channels' commits as long as a test needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use agent::dead_letters::{self, Label};
use channel::testkit::Refusing;
use pipeline::component::entry;
use pipeline::{
    Batch, BuildContext, BuildError, Catalogue, Component, Entry, Env, EventRef, Events, Group,
    Interceptor, Rejects,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::runtime::Runtime;

/// Time limit for the observed progress of a life.
const PATIENCE: Duration = Duration::from_secs(60);

/// Drops the events that begin with `drop`.
#[derive(Deserialize, JsonSchema)]
struct DropMarked {}

impl Component for DropMarked {
    const KIND: &'static str = "drop_marked";
    type Role = dyn Interceptor;
    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        Ok(Box::new(self))
    }
}

impl Interceptor for DropMarked {
    fn intercept(&self, events: &mut Events, _rejects: &mut Rejects) {
        events.retain(|event: EventRef<'_>| !event.body().starts_with(b"drop"));
    }

    fn routing_effect(&self, _header: Option<&str>) -> Option<String> {
        Some("drop* is dropped".to_owned())
    }
}

static WITH_FILTER: &[Entry<dyn Interceptor>] = &[entry::<DropMarked>()];

static FILTERS: Group = Group { interceptors: WITH_FILTER, ..Group::EMPTY };

const CATALOGUE: Catalogue = Catalogue {
    groups: &[
        &components::GROUP,
        &components_files::GROUP,
        &components_grpc::GROUP,
        &components_hdfs::GROUP,
        &FILTERS,
    ],
    unavailable: &[],
};

/// A directory for an agent with one tailed file, and two channels with a store each.
struct Place {
    directory: tempfile::TempDir,
    refuse: Arc<AtomicBool>,
    interceptors: &'static str,
}

impl Place {
    fn new(interceptors: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("in")).unwrap();
        Self { directory, refuse: Arc::new(AtomicBool::new(false)), interceptors }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn append(&self, lines: &[String]) {
        use std::io::Write;
        let path = self.path("in/app.log");
        let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(lines.iter().map(|line| format!("{line}\n")).collect::<String>().as_bytes())
            .unwrap();
    }

    fn configuration(&self) -> String {
        let at = |name: &str| self.path(name).display().to_string();
        let sink = |name: &str| {
            format!(
                "[sinks.{name}]\ntype = \"hdfs\"\nchannel = \"{name}\"\nurl = \"file://{}\"\n\
                 roll = {{ idle_max = \"100ms\" }}\n[channels.{name}]\ntype = \"durable\"\n\
                 capacity = \"64MiB\"\nsegment_bytes = \"1MiB\"\n",
                at(&format!("store-{name}"))
            )
        };
        format!(
            "[agent]\nname = \"test\"\ndata_dir = \"{}\"\n[sources.tail]\ntype = \"tail_dir\"\n\
             paths = [\"{}\"]\nchannels = [\"a\", \"b\"]\ninterceptors = [{}]\n{}{}",
            at("data"),
            at("in/*.log"),
            self.interceptors,
            sink("a"),
            sink("b"),
        )
    }

    /// Starts an agent; it lives until the runtime is taken away.
    fn live(&self) -> Runtime {
        let mut env: Env = env::real();
        env.disk = Arc::new(Refusing {
            disk: env.disk.clone(),
            below: self.path("data/channels/b"),
            refuse: self.refuse.clone(),
            hold: Arc::default(),
        });
        let plan = config::load(Path::new("test.toml"), &self.configuration(), "test").unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap();
        runtime.spawn(async move { program::run(plan, CATALOGUE, env, None).await.unwrap() });
        runtime
    }

    /// The lines that are visible in a store, in the order of its files.
    fn stored(&self, store: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(store)) else { return Vec::new() };
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.is_file());
        files.sort();
        let text = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect::<String>();
        text.lines().map(String::from).collect()
    }

    /// Returns each letter as `aqueduct dlq` would show it, once the agent has released them.
    fn letters(&self) -> Vec<(Label, Vec<String>)> {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let cx = dead_letters::context(&self.path("data"), &env::real());
            let channel = dead_letters::settings().build(&cx).unwrap();
            let began = Instant::now();
            while let Err(error) = channel.open().await {
                assert!(began.elapsed() < PATIENCE, "{error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            channel.register(&[dead_letters::OPERATOR.into()]).await.unwrap();
            let mut all = Vec::new();
            let text = |event: EventRef<'_>| String::from_utf8(event.body().to_vec()).unwrap();
            let each = |label, events: Batch| all.push((label, events.iter().map(text).collect()));
            dead_letters::letters(&*channel, each).await.unwrap();
            channel.close().await.unwrap();
            all
        })
    }

    fn wait_for(&self, store: &str, lines: usize) {
        let began = Instant::now();
        while self.stored(store).len() < lines {
            assert!(began.elapsed() < PATIENCE, "{store} has {} lines", self.stored(store).len());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn end(runtime: Runtime) {
    // Disk calls under way finish, as they do in a kernel when a process is killed.
    runtime.shutdown_timeout(Duration::from_secs(10));
}

fn numbered(prefix: &str, numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|number| format!("{prefix} {number}")).collect()
}

#[test]
fn kill_between_commits_of_two_channels_loses_and_repeats_nothing() {
    let place = Place::new("");
    place.append(&numbered("line", 0..500));
    let first = place.live();
    place.wait_for("store-a", 500);
    place.wait_for("store-b", 500);
    // From here on `a` commits and `b` cannot.
    place.refuse.store(true, Ordering::SeqCst);
    place.append(&numbered("line", 500..900));
    place.wait_for("store-a", 900);
    assert_eq!(place.stored("store-b").len(), 500);
    end(first);

    place.refuse.store(false, Ordering::SeqCst);
    place.append(&numbered("line", 900..1000));
    let second = place.live();
    place.wait_for("store-b", 1000);
    place.wait_for("store-a", 1000);
    end(second);
    assert_eq!(place.stored("store-a"), numbered("line", 0..1000));
    assert_eq!(place.stored("store-b"), numbered("line", 0..1000));
}

#[test]
fn kill_after_a_batch_filtered_to_nothing_does_not_reread_it() {
    let mut place = Place::new("{ type = \"drop_marked\" }");
    place.append(&numbered("keep", 0..10));
    let first = place.live();
    place.wait_for("store-a", 10);
    place.append(&numbered("drop", 0..300));
    // Only the position records that these were read.
    std::thread::sleep(Duration::from_secs(2));
    end(first);

    // Without the filter, a second reading would store them.
    place.interceptors = "";
    place.append(&numbered("keep", 10..20));
    let second = place.live();
    place.wait_for("store-a", 20);
    place.wait_for("store-b", 20);
    end(second);
    assert_eq!(place.stored("store-a"), numbered("keep", 0..20));
    assert_eq!(place.stored("store-b"), numbered("keep", 0..20));
}

#[test]
fn rejected_event_is_one_letter_even_if_its_batch_is_repeated() {
    let reject = "{ type = \"regex_filter\", regex = \"^keep\", dropped = \"dead_letters\" }";
    let place = Place::new(reject);
    place.append(&numbered("keep", 0..10));
    let first = place.live();
    place.wait_for("store-b", 10);
    // The letter is stored, and then one of the channels refuses the rest of the batch, repeatedly,
    // until the agent dies.
    place.refuse.store(true, Ordering::SeqCst);
    let mixed = [numbered("keep", 10..20), numbered("odd", 0..3), numbered("keep", 20..30)];
    place.append(&mixed.concat());
    place.wait_for("store-a", 30);
    end(first);

    place.refuse.store(false, Ordering::SeqCst);
    let second = place.live();
    place.wait_for("store-b", 30);
    place.wait_for("store-a", 30);
    end(second);
    assert_eq!(place.stored("store-a"), numbered("keep", 0..30));
    assert_eq!(place.stored("store-b"), numbered("keep", 0..30));
    let letters = place.letters();
    let bodies: Vec<&[String]> = letters.iter().map(|(_, bodies)| &**bodies).collect();
    assert_eq!(bodies, [&*numbered("odd", 0..3)]);
    let label = &letters[0].0;
    let from = (&*label.source, &*label.interceptor, &*label.reason);
    assert_eq!(from, ("tail", "regex_filter", "filtered"));
    assert!(label.is_rejected() && !label.whole);
}
