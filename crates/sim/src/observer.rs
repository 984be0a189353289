//! Reads the metrics of every agent like a monitor: over the network, by HTTP.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};
use turmoil::net::TcpStream;

use crate::world::lock;

/// Name of its host.
pub(crate) const HOST: &str = "observer";

/// The latest metrics of all agents.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// By host.
    agents: Mutex<BTreeMap<String, LastReport>>,
}

/// The latest metrics of one agent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LastReport {
    /// Time since the start.
    pub(crate) at: Duration,
    /// Events in its channels.
    pub(crate) events: u64,
    /// Size of its largest channel, in bytes.
    pub(crate) bytes: u64,
    /// Age of the oldest event in its channels.
    pub(crate) oldest: Duration,
    /// Received batches above its limit.
    pub(crate) too_large: u64,
    /// Whether it reports its commit ledger as replaced or restored from an older copy.
    pub(crate) ledger_changed: bool,
}

impl Seen {
    /// Returns the latest metrics of this agent.
    pub(crate) fn of_host(&self, host: &str) -> Option<LastReport> {
        lock(&self.agents).get(host).copied()
    }
}

/// Reads the metrics of all `hosts` for these channels, repeatedly.
pub(crate) async fn watch(hosts: Vec<String>, channels: &[&str], seen: Arc<Seen>) {
    loop {
        for host in &hosts {
            let said = timeout(Duration::from_millis(200), ask(host, channels)).await;
            if let Ok(Some(said)) = said {
                lock(&seen.agents).insert(host.clone(), said);
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn ask(host: &str, channels: &[&str]) -> Option<LastReport> {
    let mut stream = TcpStream::connect((host, 9464)).await.ok()?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let text = |series: &str| answer.lines().find_map(|line| line.strip_prefix(series));
    // Without the dead letters, which wait for an operator.
    let of = |name: &str, channel: &str| text(&format!("{name}{{channel=\"{channel}\"}} "));
    let value = |name: &str, channel: &str| of(name, channel)?.parse::<u64>().ok();
    let mut said = LastReport { at: turmoil::sim_elapsed()?, ..LastReport::default() };
    for channel in channels {
        said.events += value("aqueduct_channel_events", channel)?;
        said.bytes = said.bytes.max(value("aqueduct_channel_bytes", channel)?);
        let oldest = of("aqueduct_channel_oldest_uncommitted_seconds", channel)?.parse().ok()?;
        said.oldest = said.oldest.max(Duration::try_from_secs_f64(oldest).ok()?);
    }
    // Agents without such a source do not have this series.
    let too_large =
        text("aqueduct_source_anomalies_total{source=\"in\",reason=\"put_too_large\"} ");
    said.too_large = too_large.and_then(|count| count.parse().ok()).unwrap_or_default();
    let is_so =
        |line: &str| line.starts_with("aqueduct_sink_ledger_changed{") && line.ends_with(" 1");
    said.ledger_changed = answer.lines().any(is_so);
    Some(said)
}
