//! The client: its settings, checked without a connection, and its
//! log lines.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pipeline::{BuildContext, BuildError, Secret};
use rdkafka::ClientConfig;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult};

/// Names the brokers, which are spoken with in plain text.
pub(crate) fn name_plain_text(brokers: &[String], cx: &BuildContext) {
    for broker in brokers {
        let remedy = "there is no TLS to Kafka here: let a tunnel encrypt";
        cx.plain_text.speaks("brokers", broker, remedy);
    }
}

/// The configuration of a client: brokers, what the component sets itself, then what the operator
/// sets.
///
/// # Errors
/// No broker is named, or a property is one of `own`, unknown, or refused by this build.
pub(crate) fn configure(
    brokers: &[String],
    properties: &BTreeMap<String, String>,
    secrets: &BTreeMap<String, Secret>,
    own: &[(&str, String)],
    fixed: &[&str],
) -> Result<ClientConfig, BuildError> {
    if brokers.is_empty() || brokers.iter().any(|broker| broker.trim().is_empty()) {
        let problem = "name at least one broker, such as \"broker-1:9092\"";
        return Err(BuildError::invalid("brokers", problem));
    }
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers.join(","));
    config.set_log_level(RDKafkaLogLevel::Info);
    for (name, value) in own {
        config.set(*name, value);
    }
    let shown = properties.iter().map(|(name, value)| ("properties", name, &**value));
    let hidden = secrets.iter().map(|(name, value)| ("secret_properties", name, value.expose()));
    for (table, name, value) in shown.chain(hidden) {
        let setting = format!("{table}.{name}");
        if name == "bootstrap.servers" || fixed.contains(&&**name) {
            let problem = "it has a setting of its own or is fixed; leave it out";
            return Err(BuildError::invalid(setting, problem));
        }
        if table == "properties" && name.contains("password") {
            let problem = "it is a secret; write it in `secret_properties`, which is never shown";
            return Err(BuildError::invalid(setting, problem));
        }
        if let Some(problem) = lacking(name, value) {
            return Err(BuildError::invalid(setting, problem));
        }
        config.set(name, value);
        // The text of the client's error may show the value.
        if config.create_native_config().is_err() {
            let problem = "the client does not know this property or does not take its value; its \
                           properties are listed at librdkafka, and this build has no TLS and no \
                           Kerberos";
            return Err(BuildError::invalid(setting, problem));
        }
    }
    Ok(config)
}

/// What this build lacks of a value that the client takes until it is started.
fn lacking(name: &str, value: &str) -> Option<&'static str> {
    let is = |other: &str| value.eq_ignore_ascii_case(other);
    match name {
        "security.protocol" if !is("plaintext") && !is("sasl_plaintext") => Some(
            "this build has no TLS: `plaintext` or `sasl_plaintext`; let TLS end in front of the \
             brokers",
        ),
        "sasl.mechanism" | "sasl.mechanisms" if !is("PLAIN") => {
            Some("this build has `PLAIN` alone: SCRAM and Kerberos need other libraries")
        }
        _ => None,
    }
}

/// Asks a broker for something small, and connects for it: of a topic that each cluster has, so
/// that the answer does not list all. Blocks.
pub(crate) fn reach<C: ClientContext>(client: &Client<C>, limit: Duration) -> KafkaResult<()> {
    client.fetch_metadata(Some("__consumer_offsets"), limit).map(drop)
}

/// A line of the client's log.
pub(crate) fn log(component: &Arc<str>, level: RDKafkaLogLevel, facility: &str, text: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning => tracing::warn!(%component, facility, "kafka: {text}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(%component, facility, "kafka: {text}");
        }
        RDKafkaLogLevel::Debug => tracing::debug!(%component, facility, "kafka: {text}"),
    }
}

/// An error of the whole client.
pub(crate) fn log_error(component: &Arc<str>, error: &KafkaError, text: &str) {
    tracing::debug!(%component, %error, "kafka: {text}");
}
