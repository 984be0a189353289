//! The agents' admin pages, read over a plain socket.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub use support::loopback::free_address;

/// Timeout of an agent's page.
const PATIENCE: Duration = Duration::from_secs(2);
/// Timeout of a Java server, whose first response takes seconds on a busy machine.
const PATIENCE_WITH_JAVA: Duration = Duration::from_secs(10);

/// Returns status and body of `GET path`, or `None` after a timeout.
pub fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    status_and_body(ask(address, path, &[])?)
}

/// Like [`get`], with the timeout of a Java server.
pub fn get_from_java(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    status_and_body(ask_within(PATIENCE_WITH_JAVA, address, path, &[])?)
}

fn status_and_body((head, body): (String, String)) -> Option<(u16, String)> {
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body))
}

/// Returns head and body of `GET path` with additional headers, or `None` after a timeout.
pub fn ask(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Option<(String, String)> {
    ask_within(PATIENCE, address, path, headers)
}

fn ask_within(
    patience: Duration,
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> Option<(String, String)> {
    let mut stream = TcpStream::connect_timeout(&address, patience).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let fixed = format!("Host: {address}\r\nConnection: close\r\n");
    write!(stream, "GET {path} HTTP/1.1\r\n{fixed}{more}\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((format!("{head}\r\n"), body.to_owned()))
}

/// A snapshot of `/metrics`: the value of each series, whose name includes its labels.
#[derive(Debug, Default)]
pub struct Metrics {
    series: BTreeMap<String, f64>,
}

impl Metrics {
    /// Reads the metrics, or returns `None` after a timeout.
    pub fn read(address: SocketAddr) -> Option<Self> {
        let (status, text) = get(address, "/metrics")?;
        (status == 200).then(|| Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let rows = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = rows.filter_map(|line| line.rsplit_once(' '));
        let series = pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
        Self { series: series.collect() }
    }

    /// Returns the value of a series, by its name with all labels.
    pub fn value(&self, series: &str) -> Option<f64> {
        self.series.get(series).copied()
    }

    /// Returns the sum of metric `name` over all labels; `None` before it has a series, which
    /// appears when it first counts something.
    pub fn sum(&self, name: &str) -> Option<f64> {
        let of_name = |series: &str| series.split('{').next() == Some(name);
        let mut values = self.series.iter().filter(|(series, _)| of_name(series)).peekable();
        values.peek()?;
        Some(values.map(|(_, value)| value).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_the_sum_over_its_labels() {
        let text = "# HELP x y\n# TYPE x gauge\nx{channel=\"a b\"} 3\nx{channel=\"c\"} 4\nxy 9\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.sum("x"), Some(7.0));
        assert_eq!(metrics.sum("xy"), Some(9.0));
        assert_eq!(metrics.sum("z"), None);
        assert_eq!(metrics.value("x{channel=\"c\"}"), Some(4.0));
    }
}
