//! A group settles every batch once, whatever its sinks do.
//!
//! Method: a real memory channel, a real processor and a scripted sink. The script answers each
//! event by its body, and keeps delivered ones. The clock is paused, so back-off costs no time; it
//! runs only in tests with dead letters on a real disk.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use peers::OutletBoard;
use pipeline::component::entry;
use pipeline::{
    Batch, BuildContext, Channel, Component, DedupeScope, Env, ErrorClass, EventRef, Guarantee,
    HeldBack, Letter, Settings, Sink, SinkError,
};
use serde_json::json;
use support::notice;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::*;
use crate::dead_letters::{self, DeadLetters};
use crate::health::Health;

/// The behaviour of a scripted sink, and its record. Shared with the test.
#[derive(Default)]
struct Script {
    /// Opening fails this many times.
    open_failures: Mutex<u32>,
    /// Settles nothing before a flush, as a sink that collects a file.
    collects: bool,
    /// Takes this long for a batch.
    pace: Option<Duration>,
    /// Fails each write, for this reason.
    broken: Option<ErrorClass>,
    /// Soon reports what it has stored, like a sink to the next agent.
    proves: bool,
    /// Maximum number of batches that were written to it and not settled.
    most: Mutex<usize>,
    delivered: Mutex<Vec<String>>,
    closed: Mutex<u32>,
}

fn bodies(batch: &Batch) -> Vec<String> {
    batch.iter().map(|event| String::from_utf8_lossy(event.body()).into_owned()).collect()
}

struct Scripted {
    script: Arc<Script>,
    settled: VecDeque<Settlement>,
    staged: Vec<Taken>,
    woken: Arc<Notify>,
}

#[derive(Debug, thiserror::Error)]
#[error("scripted failure: {1}")]
struct Failure(ErrorClass, &'static str);

impl pipeline::Classify for Failure {
    fn class(&self) -> ErrorClass {
        self.0
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Sink for Scripted {
    async fn open(&mut self) -> Result<(), SinkError> {
        let mut left = locked(&self.script.open_failures);
        if *left > 0 {
            *left -= 1;
            return Err(Failure(ErrorClass::Transient, "not open").into());
        }
        Ok(())
    }

    async fn write(&mut self, taken: Taken) -> Result<(), SinkError> {
        if let Some(pace) = self.script.pace {
            sleep(pace).await;
        }
        if let Some(class) = self.script.broken {
            return Err(Failure(class, "broken").into());
        }
        self.staged.push(taken);
        let mut most = locked(&self.script.most);
        *most = self.staged.len().max(*most);
        drop(most);
        if !self.script.collects {
            self.flush();
        }
        Ok(())
    }

    async fn settled(&mut self) -> Settlement {
        notice::until(&self.woken, || self.settled.pop_front()).await
    }

    fn flush(&mut self) {
        for Taken { ticket, batch } in self.staged.drain(..) {
            if batch.iter().all(|event| event.body().starts_with(b"held")) {
                let tickets = (ticket..ticket + 1).into();
                let held = HeldBack { bytes: batch.size().bytes, events: 1, refused: true };
                self.settled.push_back(Settlement { tickets, outcome: Outcome::HeldBack(held) });
                continue;
            }
            let is_bad = |event: EventRef<'_>| event.body().starts_with(b"bad");
            let (mut bad, mut good) = (batch.clone(), batch);
            bad.retain(is_bad);
            good.retain(|event| !is_bad(event));
            let whole = good.is_empty();
            if !bad.is_empty() {
                let (reason, detail) = ("bad_event", "it is bad".to_owned());
                let letter = Letter { ticket, events: bad, whole, reason, detail };
                self.settled.push_back(Settlement::refused(letter));
            }
            if !whole {
                locked(&self.script.delivered).extend(bodies(&good));
                let tickets = (ticket..ticket + 1).into();
                self.settled.push_back(Settlement { tickets, outcome: Outcome::Delivered });
            }
        }
        self.woken.notify_one();
    }

    async fn close(&mut self) {
        *locked(&self.script.closed) += 1;
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::BestEffort
    }

    fn dedupe_scope(&self) -> DedupeScope {
        if self.script.proves { DedupeScope::NextAgent } else { DedupeScope::Nothing }
    }
}

struct Bench {
    channel: Arc<dyn Channel>,
    dead_letters: Arc<DeadLetters>,
    metrics: Metrics,
    stop: CancellationToken,
    group: tokio::task::JoinHandle<()>,
    directory: tempfile::TempDir,
    questions: mpsc::Sender<Question>,
    flush: Arc<Notify>,
}

fn built<C: Component>(settings: &serde_json::Value, cx: &BuildContext) -> Box<C::Role> {
    (entry::<C>().build)(&Settings::from_json(settings), cx).unwrap()
}

async fn start(processor: serde_json::Value, scripts: &[Arc<Script>]) -> Bench {
    start_with(processor, scripts, dead_letters::Config::default()).await
}

async fn start_with(
    processor: serde_json::Value,
    scripts: &[Arc<Script>],
    letters: dead_letters::Config,
) -> Bench {
    let sinks = scripts.iter().map(|script| {
        Box::new(Scripted {
            script: script.clone(),
            settled: VecDeque::new(),
            staged: Vec::new(),
            woken: Arc::new(Notify::new()),
        }) as Box<dyn Sink>
    });
    let (sinks, outlet) = (sinks.collect(), OutletBoard::default());
    if scripts.len() == 1 {
        use components::processors::single::Config;
        start_sinks::<Config>(processor, sinks, letters, outlet).await
    } else {
        use components::processors::load_balance::Config;
        start_sinks::<Config>(processor, sinks, letters, outlet).await
    }
}

async fn start_sinks<P: Component<Role = dyn SinkProcessor>>(
    processor: serde_json::Value,
    sinks: Vec<Box<dyn Sink>>,
    letters: dead_letters::Config,
    outlet: OutletBoard,
) -> Bench {
    pipeline::testkit::log_side_by_side();
    let directory = tempfile::tempdir().unwrap();
    let env: Env = env::real();
    let metrics = Metrics::default();
    let cx = BuildContext {
        name: "test".into(),
        directory: directory.path().to_owned(),
        env: env.clone(),
        metrics: metrics.clone(),
        catalogue: pipeline::Catalogue::EMPTY,
        extensions: pipeline::Extensions::default(),
        plain_text: pipeline::PlainText::default(),
    };
    let channel: Arc<dyn Channel> =
        Arc::from(built::<channel::memory::Config>(&json!({ "capacity": "1MiB" }), &cx));
    channel.open().await.unwrap();
    channel.register(&["group".into()]).await.unwrap();
    let names: Vec<String> = (0..sinks.len()).map(|index| format!("sink-{index}")).collect();
    let mut settings = processor;
    settings["sinks"] = json!(names);
    let processor = built::<P>(&settings, &cx);
    let sinks = names.iter().zip(sinks);
    let sinks = sinks.map(|(name, sink)| NamedSink {
        name: name.as_str().into(),
        kind: "scripted".to_owned(),
        letters: &[],
        sink,
    });
    let letters = DeadLetters::new(letters, directory.path(), &env, &metrics);
    let dead_letters = Arc::new(letters);
    let (questions, asked) = mpsc::channel(1);
    let flush = Arc::<Notify>::default();
    let parts = GroupParts {
        name: "group".into(),
        channel: channel.clone(),
        outlet,
        channel_name: "test".into(),
        dead_letters: dead_letters.clone(),
        processor,
        sinks: sinks.collect(),
        metrics: metrics.clone(),
        health: Health::new(env.clock.clone()),
        env,
        passed: Arc::default(),
        tap: crate::tap::Point::default(),
        traces: pipeline::Traces::default(),
        questions: asked,
        flush: flush.clone(),
    };
    let stop = CancellationToken::new();
    let group = tokio::spawn(run(parts, stop.clone(), Duration::from_secs(20)));
    Bench { channel, dead_letters, metrics, stop, group, directory, questions, flush }
}

impl Bench {
    async fn put(&self, body: &str) {
        self.put_batch(Batch::of([body])).await;
    }

    async fn put_batch(&self, batch: Batch) {
        let mut put = self.channel.begin_put(batch.size()).await.unwrap();
        put.put(batch);
        put.commit().await.unwrap();
    }

    async fn put_numbers(&self, count: usize) -> Vec<String> {
        let bodies: Vec<String> = (0..count).map(|number| format!("{number:03}")).collect();
        for body in &bodies {
            self.put(body).await;
        }
        bodies
    }

    /// Waits until every batch is committed.
    async fn empty(&self) {
        let patience = Duration::from_secs(600);
        tokio::time::timeout(patience, async {
            while self.channel.status().events > 0 {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("the channel empties");
    }

    async fn stop(self) -> Arc<dyn Channel> {
        self.stop.cancel();
        self.group.await.unwrap();
        self.channel
    }
}

fn sorted(script: &Script) -> Vec<String> {
    let mut delivered = locked(&script.delivered).clone();
    delivered.sort();
    delivered
}

#[tokio::test(start_paused = true)]
async fn every_batch_is_delivered_once_and_leaves_the_channel() {
    let script = Arc::new(Script::default());
    let bench = start(json!({}), std::slice::from_ref(&script)).await;
    let bodies = bench.put_numbers(50).await;
    bench.empty().await;
    assert_eq!(*locked(&script.delivered), bodies);
    assert!(bench.metrics.text().contains("aqueduct_sink_stored_events_total{sink=\"sink-0\"} 50"));
    bench.stop().await;
    assert_eq!(*locked(&script.closed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_cannot_open_keeps_nothing_and_is_tried_again() {
    let script = Arc::new(Script { open_failures: Mutex::new(5), ..Script::default() });
    let bench = start(json!({}), std::slice::from_ref(&script)).await;
    let bodies = bench.put_numbers(5).await;
    bench.empty().await;
    assert_eq!(sorted(&script), bodies);
    bench.stop().await;
}

/// Five hundred attempts take no longer than the patience of the bench.
#[tokio::test(start_paused = true)]
async fn a_sink_that_cannot_open_is_tried_again_after_backoff_max_at_most() {
    let script = Arc::new(Script { open_failures: Mutex::new(500), ..Script::default() });
    let bench = start(json!({ "backoff_max": "1s" }), std::slice::from_ref(&script)).await;
    let bodies = bench.put_numbers(1).await;
    bench.empty().await;
    assert_eq!(sorted(&script), bodies);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn batches_of_a_broken_sink_go_to_the_others() {
    let good = Arc::new(Script::default());
    let broken = Arc::new(Script { broken: Some(ErrorClass::Transient), ..Script::default() });
    let bench = start(json!({ "sticky": false }), &[broken.clone(), good.clone()]).await;
    let bodies = bench.put_numbers(40).await;
    bench.empty().await;
    assert_eq!(sorted(&good), bodies);
    assert!(locked(&broken.delivered).is_empty());
    bench.stop().await;
}

/// They accept batches and report nothing until a test asks for it.
#[tokio::test(start_paused = true)]
async fn a_sink_that_failed_gets_one_batch_and_no_other_before_that_is_stored() {
    let silent = |open_failures, proves| {
        let open_failures = Mutex::new(open_failures);
        Arc::new(Script { open_failures, proves, collects: true, ..Script::default() })
    };
    for (sink, most) in [(silent(0, true), 20), (silent(1, true), 1), (silent(1, false), 20)] {
        let bench = start(json!({}), std::slice::from_ref(&sink)).await;
        bench.put_numbers(20).await;
        sleep(Duration::from_secs(3_600)).await;
        assert_eq!(*locked(&sink.most), most);
        bench.stop().await;
    }
}

mod asked;
mod equation;
mod flushed;
mod held;
mod letters;
mod logged;
mod turning;

#[tokio::test(start_paused = true)]
async fn members_work_side_by_side() {
    let pace = Some(Duration::from_secs(1));
    let slow: Vec<_> = (0..4).map(|_| Arc::new(Script { pace, ..Script::default() })).collect();
    let bench = start(json!({ "sticky": false }), &slow).await;
    let began = Instant::now();
    let bodies = bench.put_numbers(40).await;
    bench.empty().await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(14), "forty seconds of work by four took {took:?}");
    let mut all: Vec<String> = slow.iter().flat_map(|script| sorted(script)).collect();
    all.sort();
    assert_eq!(all, bodies);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_settles_what_is_staged_and_leaves_the_rest_in_the_channel() {
    let script = Arc::new(Script {
        collects: true,
        pace: Some(Duration::from_secs(1)),
        ..Script::default()
    });
    let bench = start(json!({}), std::slice::from_ref(&script)).await;
    let bodies = bench.put_numbers(30).await;
    sleep(Duration::from_millis(9_500)).await;
    let channel = bench.stop().await;
    let delivered = sorted(&script);
    assert!(!delivered.is_empty() && delivered.len() < bodies.len());
    assert_eq!(channel.status().events as usize, bodies.len() - delivered.len());
    let mut take = channel.begin_take("group");
    let next = take.take().await.unwrap();
    let body = next.batch.iter().next().unwrap().body().to_vec();
    assert_eq!(String::from_utf8(body).unwrap(), bodies[delivered.len()]);
}
