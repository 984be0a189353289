//! Measures how fast Kafka's own tool writes to a topic.

use std::process::Command;

use super::Kafka;
use crate::flume::jars_of;

/// The jars to download.
const TOOLS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kafka/tools.xml"));

impl Kafka {
    /// Makes Kafka's `kafka-producer-perf-test` write this many messages of this size to the topic.
    /// Returns the messages per second.
    ///
    /// # Panics
    ///
    /// When it fails, or its output is unknown.
    pub fn measure(&self, topic: &str, messages: usize, bytes: usize, properties: &[&str]) -> f64 {
        let mut java = Command::new("java");
        java.arg("-Xmx512m").arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn").arg("-cp");
        java.arg(format!("{}/*", jars_of("kafka-tools-4.4.0", TOOLS).display()));
        java.args(["org.apache.kafka.tools.ProducerPerformance", "--topic", topic]);
        java.args(["--num-records", &messages.to_string(), "--throughput", "-1"]);
        java.args(["--record-size", &bytes.to_string(), "--producer-props"]);
        java.arg(format!("bootstrap.servers={}", self.address)).args(properties);
        let output = java.output().expect("java runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let rate = said.lines().last().and_then(|line| line.split(' ').nth(3)?.parse().ok());
        let problem = || format!("{said}{}", String::from_utf8_lossy(&output.stderr));
        rate.filter(|_| output.status.success()).unwrap_or_else(|| panic!("{}", problem()))
    }
}
