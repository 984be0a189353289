//! The devices: each a client with a connection of its own, which publishes a reading, waits for
//! the broker to answer for it, and publishes the next one at its time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use components_mqtt::device::{Device, Fleet};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::OtherError;
use super::count::{device_name, line, site_name};

/// Between two readings of a device, where the broker answers in time: at most so long, and all
/// readings within so long.
const INTERVAL_MAX: Duration = Duration::from_millis(250);
const PUBLISHING: Duration = Duration::from_secs(5);
/// Connections that are being made at once: a listener has a short queue.
const CONNECTING: usize = 50;
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What was published, and what of it the broker has acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) published: u64,
    pub(super) acknowledged: u64,
}

#[derive(Default)]
struct Counters {
    published: AtomicU64,
    acknowledged: AtomicU64,
}

/// All devices of a run.
pub(super) struct Devices {
    readings: u32,
    exactly_once: bool,
    /// Those that are connected and publish nothing yet.
    connected: Vec<(u32, Device)>,
    counters: Arc<[Counters]>,
    publishing: JoinSet<()>,
    /// Devices that are at their end.
    ended: Arc<AtomicU64>,
    /// Why the first one stopped early, if one did.
    failure: Arc<Mutex<Option<String>>>,
}

impl Devices {
    pub(super) fn new(devices: u32, readings: u32, exactly_once: bool) -> Self {
        Self {
            readings,
            exactly_once,
            connected: Vec::new(),
            counters: (0..devices).map(|_| Counters::default()).collect(),
            publishing: JoinSet::new(),
            ended: Arc::default(),
            failure: Arc::default(),
        }
    }

    /// Connects all of them, under client ids that begin with `run`.
    pub(super) async fn connect(&mut self, fleet: Fleet, run: &str) -> Result<(), OtherError> {
        let (fleet, places) = (Arc::new(fleet), Arc::new(Semaphore::new(CONNECTING)));
        let mut connecting = JoinSet::new();
        for device in (1..).take(self.counters.len()) {
            let (fleet, places) = (fleet.clone(), places.clone());
            let client_id = format!("{run}-{}", device_name(device));
            connecting.spawn(async move {
                let _place = places.acquire().await;
                (device, fleet.connect(&client_id).await)
            });
        }
        while let Some(connected) = connecting.join_next().await {
            let Ok((device, connected)) = connected else { continue };
            let failed = |error| OtherError::Device { device: device_name(device), source: error };
            self.connected.push((device, connected.map_err(failed)?));
        }
        Ok(())
    }

    /// All begin to publish, on topics below `run`, spread over the time between two readings.
    pub(super) fn publish(&mut self, run: &str) {
        let interval = INTERVAL_MAX.min(PUBLISHING / self.readings);
        let (begin, devices) = (Instant::now(), self.counters.len());
        for (device, mut connection) in self.connected.drain(..) {
            let topic = format!("{run}/{}/{}/reading", site_name(device), device_name(device));
            let (counters, place) = (self.counters.clone(), device as usize - 1);
            let (ended, failure) = (self.ended.clone(), self.failure.clone());
            let (readings, exactly_once) = (self.readings, self.exactly_once);
            let offset = interval.mul_f64(place as f64 / devices as f64);
            self.publishing.spawn(async move {
                for reading in 1..=readings {
                    sleep_until(begin + offset + interval * (reading - 1)).await;
                    let body = Bytes::from(line(device, reading));
                    counters[place].published.fetch_add(1, Relaxed);
                    if let Err(error) = connection.publish(&topic, body, exactly_once).await {
                        let text = format!("{}: {}", device_name(device), agent::chain(&error));
                        let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                        failure.get_or_insert(text);
                        ended.fetch_add(1, Relaxed);
                        return;
                    }
                    counters[place].acknowledged.fetch_add(1, Relaxed);
                }
                ended.fetch_add(1, Relaxed);
                connection.close(GOODBYE).await;
            });
        }
    }

    /// Whether no device publishes any more.
    pub(super) fn is_over(&self) -> bool {
        self.ended.load(Relaxed) >= self.counters.len() as u64
    }

    /// Waits until all have said goodbye.
    pub(super) async fn end(&mut self) {
        while self.publishing.join_next().await.is_some() {}
    }

    /// Why the first device stopped that did so early.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sums over all devices.
    pub(super) fn answered(&self) -> Answered {
        self.answered_by_device().iter().fold(Answered::default(), |sum, it| Answered {
            published: sum.published + it.published,
            acknowledged: sum.acknowledged + it.acknowledged,
        })
    }

    /// Each device in its place.
    pub(super) fn answered_by_device(&self) -> Vec<Answered> {
        let answered = |it: &Counters| {
            // In this order: what is acknowledged was published.
            let acknowledged = it.acknowledged.load(Relaxed);
            Answered { published: it.published.load(Relaxed), acknowledged }
        };
        self.counters.iter().map(answered).collect()
    }
}
