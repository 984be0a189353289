//! A running source, and its clients, which check every reply against the content of the channels.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::{Metrics, SourceReason};
use pipeline::testkit::{build, position_context};
use pipeline::{BuildContext, Env, Source, SourceError};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::channels::Channels;
use super::network::{Network, Side};
use super::protocol::{Config, NEVER, NOTHING, STORED};

pub(crate) const PORT: &str = "192.0.2.1:7";

/// The longest time that a test waits, in paused time.
const LIMIT: Duration = Duration::from_secs(600);

/// Creates the source.
pub(crate) fn source(settings: Value, network: &Arc<Network>) -> (Box<dyn Source>, Metrics) {
    let mut settings = settings;
    settings["listen"] = json!(PORT);
    let env = Env { net: Arc::new(Side(network.clone())), ..env::real() };
    let cx = BuildContext::alone("in", Path::new("unused"), env);
    (build::<Config>(&settings, &cx).expect("valid settings"), cx.metrics)
}

/// A source that runs until it is stopped.
pub(crate) struct Run {
    pub(crate) network: Arc<Network>,
    pub(crate) channels: Arc<Channels>,
    metrics: Metrics,
    stop: CancellationToken,
    running: JoinHandle<Result<(), SourceError>>,
    rules: Arc<Rules>,
}

/// The replies that were given.
#[derive(Default)]
struct Rules {
    broken: Mutex<Vec<String>>,
    /// Lines that must not be stored.
    refused: Mutex<Vec<String>>,
}

impl Run {
    pub(crate) async fn start(channels: Channels, settings: Value) -> Self {
        support::mutants::plant_by_environment();
        let (network, channels) = (Arc::new(Network::default()), Arc::new(channels));
        let (mut source, metrics) = source(settings, &network);
        let stop = CancellationToken::new();
        let context = position_context(channels.clone(), stop.clone());
        source.open(&context).await.expect("the port is free");
        let running = tokio::spawn(async move { source.run(context).await });
        Self { network, channels, metrics, stop, running, rules: Arc::default() }
    }

    pub(crate) fn connect(&self) -> Client {
        self.connect_from("198.51.100.1")
    }

    pub(crate) fn connect_from(&self, host: &str) -> Client {
        let stream = self.network.dial(PORT, host);
        Client { stream, channels: self.channels.clone(), rules: self.rules.clone() }
    }

    pub(crate) fn counted(&self, reason: &'static str) -> u64 {
        let label = SourceReason { source: "in".into(), reason };
        self.metrics.source_anomalies.get_or_create(&label).get()
    }

    pub(crate) fn cancel(&self) {
        self.stop.cancel();
    }

    /// Stops the source, and checks all rules. Returns how long that took.
    pub(crate) async fn stop(self) -> Duration {
        let began = Instant::now();
        self.stop.cancel();
        let ended = timeout(LIMIT, self.running).await.expect("the source stops");
        ended.expect("no panic").expect("no error");
        let (lasted, channels) = (began.elapsed(), self.channels);
        let stored = channels.bodies(0);
        channels.set_full(0, false);
        sleep(LIMIT).await;
        let mut broken = std::mem::take(&mut *lock(&self.rules.broken));
        if channels.bodies(0) != stored {
            broken.push("stored after the end of the source".to_owned());
        }
        let refused = std::mem::take(&mut *lock(&self.rules.refused));
        let is_stored = |line: &String| channels.bodies(0).contains(line);
        broken.extend(refused.into_iter().filter(is_stored).map(|line| format!("stored: {line}")));
        assert_eq!(broken, Vec::<String>::new(), "broken rules");
        lasted
    }
}

/// A client.
pub(crate) struct Client {
    pub(crate) stream: DuplexStream,
    channels: Arc<Channels>,
    rules: Arc<Rules>,
}

impl Client {
    /// Sends a message of these lines.
    pub(crate) async fn send(&mut self, lines: &[&str]) {
        let text = lines.join("\n");
        let length = u32::try_from(text.len()).expect("a short message").to_be_bytes();
        self.stream
            .write_all(&[&length, text.as_bytes()].concat())
            .await
            .expect("an open connection");
    }

    /// Returns the reply to the message of these lines; `None` at the end of the connection.
    pub(crate) async fn reply(&mut self, lines: &[&str]) -> Option<u8> {
        let reply = timeout(LIMIT, self.stream.read_u8()).await.expect("reply or end").ok()?;
        for line in lines {
            match reply {
                STORED if !self.channels.have(line) => {
                    lock(&self.rules.broken).push(format!("acknowledged too early: {line}"));
                }
                NOTHING | NEVER => lock(&self.rules.refused).push((*line).to_owned()),
                _ => {}
            }
        }
        Some(reply)
    }

    /// Sends a message and returns its reply.
    pub(crate) async fn put(&mut self, lines: &[&str]) -> Option<u8> {
        self.send(lines).await;
        self.reply(lines).await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
