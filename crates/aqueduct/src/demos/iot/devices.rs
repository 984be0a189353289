//! The devices. Each client publishes a reading over its own connection, waits for the
//! acknowledgement, and publishes the next one when it is due.

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

/// Maximum interval between two readings of a device, and maximum time for all readings, if the
/// broker answers in time.
const INTERVAL_MAX: Duration = Duration::from_millis(250);
const PUBLISHING: Duration = Duration::from_secs(5);
/// Concurrent connection attempts: a listener has a short queue.
const CONNECTING: usize = 50;
/// Timeout of a disconnect.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Published and acknowledged readings.
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
    /// Connected devices that do not publish yet.
    connected: Vec<(u32, Device)>,
    counters: Arc<[Counters]>,
    publishing: JoinSet<()>,
    /// Devices that have finished.
    ended: Arc<AtomicU64>,
    /// Why the first device stopped early, if one did.
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

    /// Connects all devices, with client ids that begin with `run`.
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

    /// Starts all devices on topics below `run`, spread over one interval.
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
                connection.close(DISCONNECT_TIMEOUT).await;
            });
        }
    }

    /// Returns whether all devices have finished.
    pub(super) fn is_over(&self) -> bool {
        self.ended.load(Relaxed) >= self.counters.len() as u64
    }

    /// Waits until all devices have disconnected.
    pub(super) async fn end(&mut self) {
        while self.publishing.join_next().await.is_some() {}
    }

    /// Returns why the first device stopped early, if one did.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the sums over all devices.
    pub(super) fn answered(&self) -> Answered {
        self.answered_by_device().iter().fold(Answered::default(), |sum, it| Answered {
            published: sum.published + it.published,
            acknowledged: sum.acknowledged + it.acknowledged,
        })
    }

    /// Returns the counters of each device.
    pub(super) fn answered_by_device(&self) -> Vec<Answered> {
        let answered = |it: &Counters| {
            // Load in this order, so that acknowledged ≤ published.
            let acknowledged = it.acknowledged.load(Relaxed);
            Answered { published: it.published.load(Relaxed), acknowledged }
        };
        self.counters.iter().map(answered).collect()
    }
}
