//! `aqueduct demo iot`: devices publish readings to an MQTT broker. A collector stores them by the
//! site in their topic and is killed (-9) half-way. The demo compares the stored readings with
//! those that the broker acknowledged.
//!
//! ```text
//!   device-0001 ─┐                      filter RUN/+/+/reading
//!   device-0002 ─┼─► broker ──────────► collector ──────────► RUN/site=site-3/day=…/ files
//!        …       │   keeps the session     ✗ killed, started again         │
//!   device-1000 ─┘   during the kill                                       │
//!        └────────── acknowledged ────── counted against ────── stored ────┘
//! ```
//!
//! Each device is a client with its own connection and client id ([`devices`]). The broker is a
//! mosquitto that the demo starts ([`broker`]), or an external one. The store is a folder or any
//! URL of the sink `hdfs`. [`count`] compares the readings.

mod broker;
mod count;
mod devices;
mod stored;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use components_mqtt::device::Fleet;
use demo::{Agent, DemoError, Folder, Progress, grouped, say_kept, write};
use pipeline::Env;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::loopback::find_free_address;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::OtherError;
use broker::Mosquitto;
use count::{Count, Outcome};
use devices::{Answered, Devices};
use stored::Stored;

/// Interval between checks of agent and store.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How long the killed collector stays down.
const DOWNTIME: Duration = Duration::from_secs(1);
/// Timeout until broker and collector are connected.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Timeout for acknowledged readings, since the last stored reading.
const DELIVERY: Duration = Duration::from_secs(60);
/// File descriptors that a process needs in addition to one per device.
const FILES_MORE: u64 = 200;
/// Number of sites. Consecutive devices belong to different sites.
const SITES: u32 = 10;

const EXAMPLES: &str = "\
Examples:
  aqueduct demo iot                                    1,000 devices, and a mosquitto of its own
  aqueduct demo iot --devices 5000 --readings 10       more devices, each with fewer readings
  aqueduct demo iot --qos 2                            exactly once: none is repeated either
  aqueduct demo iot --store hdfs://namenode:8020/iot   into HDFS, below a folder of this run
  aqueduct demo iot --broker mqtt://broker-1:1883 --insecure   a broker that runs, such as HiveMQ

The exit code is 0 only if every reading that the broker acknowledged is stored in the right place,
and with --qos 2 if none is repeated. With --qos 1, MQTT allows repeats; the demo counts them.";

/// Arguments of the demo with devices.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(super) struct IotArgs {
    /// Devices, each with a connection and a client id of its own
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    devices: u32,

    /// Readings that each device publishes
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    readings: u32,

    /// Quality of service, of the devices and of the collector
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    qos: u8,

    /// A broker that runs: mqtt://, mqtts://, ws:// or wss:// [default: a new mosquitto]
    #[arg(long, value_name = "URL")]
    broker: Option<String>,

    /// Where the files go: a URL of the sink `hdfs`, such as hdfs://… [default: a new folder]
    #[arg(long, value_name = "URL")]
    store: Option<String>,

    /// Send readings over a network without TLS: for a --broker on another host
    #[arg(long, requires = "broker")]
    insecure: bool,

    /// Keep the collector's own data too, not only what it stored and logged
    #[arg(long)]
    keep: bool,
}

/// Runs the demo. Returns whether all acknowledged readings are stored.
pub(super) async fn play(args: &IotArgs) -> Result<bool, OtherError> {
    let mut scene = Scene::set(args)?;
    let result = scene.play().await;
    if result.is_err() {
        say_kept(scene.keep());
    }
    result
}

/// State of the demo.
struct Scene {
    env: Env,
    folder: TempDir,
    /// Part of the names of clients, topics and folders, so that earlier runs are not counted.
    run: String,
    devices: u32,
    readings: u32,
    qos: u8,
    broker: Option<String>,
    store: Option<String>,
    is_insecure: bool,
    keeps_data: bool,
    progress: Progress,
}

/// Progress of the demo.
struct Moment {
    answered: Answered,
    stored: u64,
    files: usize,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Answered { published, acknowledged } = self.answered;
        write!(
            f,
            "published {:>10}   acknowledged {:>10}   stored {:>10} in {} files",
            grouped(published),
            grouped(acknowledged),
            grouped(self.stored),
            self.files
        )
    }
}

/// State of the collector.
enum Life {
    First,
    Away(Instant),
    Second,
}

impl Scene {
    /// Creates the folder.
    fn set(args: &IotArgs) -> Result<Self, OtherError> {
        let env = env::real();
        let folder = tempfile::Builder::new().prefix("aqueduct-demo-").tempdir();
        let folder = folder.map_err(DemoError::Folder)?;
        let run = format!("iot-{:08x}", env.entropy.next_u64() >> 32);
        Ok(Self {
            env,
            folder,
            run,
            devices: args.devices,
            readings: args.readings,
            qos: args.qos,
            broker: args.broker.clone(),
            store: args.store.clone(),
            is_insecure: args.insecure,
            keeps_data: args.keep,
            progress: Progress::new(),
        })
    }

    /// Keeps the folder for an investigation.
    fn keep(&mut self) -> &Path {
        self.folder.disable_cleanup(true);
        self.folder.path()
    }

    /// Plays the demo. Returns whether all acknowledged readings are stored.
    async fn play(&mut self) -> Result<bool, OtherError> {
        allow_files(u64::from(self.devices) + FILES_MORE)?;
        let root = self.folder.path().to_owned();
        let (address, with_tls, _mosquitto) = match &self.broker {
            Some(url) => {
                let (address, with_tls) = broker::address(url);
                (address, with_tls, None)
            }
            None => {
                let mosquitto = Mosquitto::start(&self.env, &root).await?;
                self.progress.say(&format!("running mosquitto (pid {})", mosquitto.pid()));
                (mosquitto.address().to_owned(), false, Some(mosquitto))
            }
        };
        let fleet = Fleet::new(&address, with_tls, &self.env);
        let fleet = fleet.map_err(|error| OtherError::Broker(error.to_string()))?;
        let mut collector = self.collector(&address, with_tls)?;
        collector.start()?;
        collector.ready(&self.env).await?;
        self.until_subscribed(&mut collector).await?;
        let (name, pid) = (collector.name, collector.pid());
        self.progress.say(&format!("running {name} (pid {pid}), subscribed to {}", self.filter()));
        let begin = Instant::now();
        let mut devices = Devices::new(self.devices, self.readings, self.qos == 2);
        devices.connect(fleet, &self.run).await?;
        self.progress.say(&format!(
            "{} devices are connected, each by a connection of its own",
            grouped(self.devices.into())
        ));
        devices.publish(&self.run);
        let mut stored = Stored::new(self.store_url(), &self.env);
        let mut count = Count::new(self.devices, self.readings);
        let arrived = self.watch(&devices, &mut collector, &mut stored, &mut count).await?;
        let elapsed = begin.elapsed();
        devices.end().await;
        collector.stop(&self.env).await?;
        stored.count_new_lines(&mut count).await?;
        let outcome = count.outcome(&devices.answered_by_device());
        self.report(&outcome, devices.failure(), stored.files(), arrived, elapsed)
    }

    fn filter(&self) -> String {
        format!("{}/+/+/reading", self.run)
    }

    /// Returns the store URL of this run, without a trailing `/`.
    fn store_url(&self) -> String {
        let store = match &self.store {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("file://{}/store", self.folder.path().display()),
        };
        format!("{store}/{}", self.run)
    }

    /// Starts the collector, with a configuration like a user's.
    fn collector(&self, address: &str, with_tls: bool) -> Result<Agent, OtherError> {
        let folder = Folder { root: self.folder.path().to_owned(), env: self.env.clone() };
        let admin = find_free_address().map_err(DemoError::Port)?.to_string();
        let (run, qos, filter) = (&self.run, self.qos, self.filter());
        let data = folder.root.join("data/collector");
        let insecure = if self.is_insecure { "insecure = true\n" } else { "" };
        let tls = if with_tls { ", tls = {}" } else { "" };
        let text = format!(
            "[agent]\nname = \"collector\"\ndata_dir = {:?}\nadmin = \"{admin}\"\n\n\
             [sources.devices]\ntype = \"mqtt\"\nchannels = [\"main\"]\n\
             filters = [\"{filter}\"]\ntopic_patterns = [\"{run}/+site/+device/reading\"]\n\
             qos = {qos}\nsession_expiry = \"10m\"\n{insecure}\
             broker = {{ address = {address:?}, client_id = \"{run}\"{tls} }}\n\n\
             [channels.main]\ntype = \"durable\"\ncapacity = \"1GiB\"\n\n\
             [sinks.store]\ntype = \"hdfs\"\nchannel = \"main\"\n\
             url = {:?}\n# Files become visible this soon, so that the demo is over soon.\n\
             roll = {{ age_max = \"1s\" }}\n",
            data.display().to_string(),
            format!("{}/site=%{{site}}/day=%Y-%m-%d", self.store_url()),
        );
        Ok(folder.configured("collector", "collector", &admin, &text)?)
    }

    /// Waits for the subscription: readings published earlier reach no one.
    async fn until_subscribed(&self, collector: &mut Agent) -> Result<(), OtherError> {
        let since = Instant::now();
        while !collector.log_end(&self.env).contains("subscribed") {
            collector.must_run(&self.env)?;
            if since.elapsed() > CONNECT_TIMEOUT {
                return Err(OtherError::NotSubscribed { log: collector.log_end(&self.env) });
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Waits until all acknowledged readings are stored, and kills the collector half-way. Returns
    /// whether all arrived in time.
    async fn watch(
        &mut self,
        devices: &Devices,
        collector: &mut Agent,
        stored: &mut Stored,
        count: &mut Count,
    ) -> Result<bool, OtherError> {
        let all = u64::from(self.devices) * u64::from(self.readings);
        let (begin, mut moved) = (Instant::now(), Instant::now());
        let (mut before, mut life) = (0, Life::First);
        loop {
            sleep(POLL_INTERVAL).await;
            collector.must_run(&self.env)?;
            stored.count_new_lines(count).await?;
            let answered = devices.answered();
            let moment = Moment { answered, stored: count.stored(), files: stored.files() };
            self.progress.show(begin.elapsed(), &moment);
            let seconds = begin.elapsed().as_secs_f64();
            life = match life {
                Life::First if answered.acknowledged >= all / 2 || devices.is_over() => {
                    let pid = collector.pid();
                    collector.kill();
                    let held = grouped(answered.acknowledged.saturating_sub(count.stored()));
                    self.progress.say(&format!(
                        "{seconds:>5.1} s  kill -9 {pid} (collector): {held} acknowledged readings \
                         are in no visible file yet"
                    ));
                    Life::Away(Instant::now())
                }
                Life::Away(since) if since.elapsed() > DOWNTIME => {
                    collector.start()?;
                    let pid = collector.pid();
                    self.progress
                        .say(&format!("{seconds:>5.1} s  restarted collector (pid {pid})"));
                    Life::Second
                }
                life => life,
            };
            if count.stored() > before || !devices.is_over() || !matches!(life, Life::Second) {
                (before, moved) = (count.stored(), Instant::now());
            }
            let is_over = devices.is_over() && matches!(life, Life::Second);
            if is_over && count.outcome(&devices.answered_by_device()).missing() == 0 {
                return Ok(true);
            }
            if moved.elapsed() > DELIVERY {
                return Ok(false);
            }
        }
    }

    /// Prints the result and removes the folders that are no longer needed.
    fn report(
        &mut self,
        outcome: &Outcome,
        failure: Option<String>,
        files: usize,
        arrived: bool,
        elapsed: Duration,
    ) -> Result<bool, OtherError> {
        let is_right = arrived && outcome.is_right(self.qos == 2);
        self.folder.disable_cleanup(true);
        let root = self.folder.path();
        let table = root.join("devices.csv");
        write(&self.env, &table, outcome.table().as_bytes())?;
        let data = root.join("data");
        if is_right && !self.keeps_data && self.env.disk.stat(&data).is_ok() {
            let removed = self.env.disk.remove_dir_all(&data);
            removed.map_err(|source| DemoError::File { path: data, source })?;
        }
        let mut text = format!("\n{outcome}");
        let seconds = elapsed.as_secs_f64();
        let rate = grouped((outcome.stored() as f64 / seconds) as u64);
        text += &format!(
            "rate         {rate:>12} readings/s, from first connection to last of {files} files\n"
        );
        if let Some(failure) = failure {
            text += &format!("a device stopped: {failure}\n");
        }
        if outcome.missing() > 0 && self.broker.is_some() {
            text += "a broker may keep a limited number of messages for a disconnected client: \
                     raise its limit (`max_queued_messages` of mosquitto, `max-queue-size` of \
                     HiveMQ)\n";
        }
        text += match is_right {
            true => "every reading that the broker acknowledged is stored where it belongs\n",
            false => "NOT every reading arrived as it should\n",
        };
        text += &format!(
            "by device:  {}\nthe files:  {}\nremove it all with: rm -r {}",
            table.display(),
            self.store_url(),
            root.display()
        );
        self.progress.say(&text);
        Ok(is_right)
    }
}

/// Raises the limit of open files for this process and its children.
fn allow_files(wanted: u64) -> Result<(), OtherError> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    if maximum.is_some_and(|maximum| maximum < wanted) {
        return Err(OtherError::OpenFiles { wanted, allowed: maximum.unwrap_or_default() });
    }
    let raised = Rlimit { current: Some(wanted), maximum };
    let allowed = current.unwrap_or_default();
    setrlimit(Resource::Nofile, raised).map_err(|_| OtherError::OpenFiles { wanted, allowed })
}
