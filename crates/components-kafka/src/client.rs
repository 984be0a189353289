//! The client: its settings, validated without a connection, and its log lines.

use std::collections::BTreeMap;
use std::error::Error;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crypto::Outside;
use pipeline::{BuildContext, BuildError, Secret};
use rdkafka::ClientConfig;
use rdkafka::client::{Client, ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{DeliveryResult, ProducerContext};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;
use web::oauth::OAuth;

use crate::kerberos;
use crate::token::{self, Tokens};

/// Reports brokers that are used in plain text.
pub(crate) fn name_plain_text(config: &ClientConfig, cx: &BuildContext) {
    if is_tls(config) {
        return;
    }
    for broker in config.get("bootstrap.servers").unwrap_or_default().split(',') {
        let remedy = "set `\"security.protocol\"` to `\"ssl\"` or `\"sasl_ssl\"` in `properties`";
        cx.plain_text.speaks("brokers", broker, remedy);
    }
}

fn is_tls(config: &ClientConfig) -> bool {
    let protocol = config.get("security.protocol").unwrap_or_default();
    ["ssl", "sasl_ssl"].iter().any(|it| protocol.eq_ignore_ascii_case(it))
}

/// Producer properties that have their own settings, or that guarantees depend on.
pub(crate) const OF_PRODUCERS: &[&str] = &[
    "acks",
    "request.required.acks",
    "enable.idempotence",
    "transactional.id",
    "transaction.timeout.ms",
    "group.id",
    "isolation.level",
    "enable.auto.commit",
    "compression.type",
    "compression.codec",
    "message.max.bytes",
    "batch.size",
    "linger.ms",
    "queue.buffering.max.ms",
    "message.timeout.ms",
    "delivery.timeout.ms",
];

/// Settings of the access to brokers. A component reads them as a part of its own
/// ([`PART`](pipeline::settings::PART)).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Access")]
pub(crate) struct Settings {
    /// File with the token that authenticates this client at the brokers (SASL/OAUTHBEARER),
    /// readable for the user of this process. It is read again before the token expires, and once a
    /// minute.
    #[serde(default)]
    token_file: Option<PathBuf>,
    /// OAuth 2 client credentials that fetch the token (KIP-768), instead of `token_file`. The
    /// token is renewed after half of its lifetime.
    #[serde(default)]
    oauth: Option<OAuth>,
    /// Further properties of the client, librdkafka, such as `security.protocol`.
    #[serde(default)]
    properties: BTreeMap<String, String>,
    /// Further properties whose values are never shown, such as `sasl.password`.
    #[serde(default)]
    secret_properties: BTreeMap<String, Secret>,
}

impl Settings {
    /// Returns the tokens for the brokers. Reads nothing yet.
    ///
    /// # Errors
    /// The settings conflict.
    pub(crate) fn tokens(&self, cx: &BuildContext) -> Result<Option<Tokens>, BuildError> {
        Tokens::from_settings(self.token_file.clone(), self.oauth.clone(), cx)
    }
}

/// Returns the configuration of a client: brokers, settings of the component, and properties of the
/// operator.
///
/// # Errors
/// No broker is named; or a property is in `own`, unknown, rejected by this build, or conflicts
/// with a token.
pub(crate) fn configure(
    brokers: &[String],
    settings: &Settings,
    token: Option<&Tokens>,
    own: &[(&str, String)],
    fixed: &[&[&str]],
) -> Result<ClientConfig, BuildError> {
    if brokers.is_empty() || brokers.iter().any(|broker| broker.trim().is_empty()) {
        let problem = "must have at least one broker and no empty one; write for example \
                       [\"broker-1:9092\"]";
        return Err(BuildError::invalid("brokers", problem));
    }
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers.join(","));
    config.set_log_level(RDKafkaLogLevel::Info);
    for (name, value) in own {
        config.set(*name, value);
    }
    let shown = settings.properties.iter();
    let shown = shown.map(|(name, value)| ("properties", name, &**value));
    let hidden = settings.secret_properties.iter();
    let hidden = hidden.map(|(name, value)| ("secret_properties", name, value.expose()));
    for (table, name, value) in shown.chain(hidden) {
        let setting = format!("{table}.{name}");
        if name == "bootstrap.servers" || fixed.iter().any(|names| names.contains(&&**name)) {
            let problem = "must be removed: another setting of this component controls it, or its \
                           value is fixed";
            return Err(BuildError::invalid(setting, problem));
        }
        if table == "properties" && (name.contains("password") || name == "ssl.key.pem") {
            let problem = "is a secret: move it to `secret_properties`, whose values are never \
                           shown";
            return Err(BuildError::invalid(setting, problem));
        }
        if let Some(problem) = lacking(name, value, token.is_some()) {
            return Err(BuildError::invalid(setting, problem));
        }
        config.set(name, value);
        // The client's error text may contain the value.
        if config.create_native_config().is_err() {
            let problem = "the Kafka client (librdkafka) rejects this property or its value; see \
                           CONFIGURATION.md of librdkafka";
            return Err(BuildError::invalid(setting, problem));
        }
    }
    if let Some(token) = token {
        prove_by_token(&mut config, token.setting())?;
    }
    refuse_outside(&config)?;
    kerberos::prepare(&mut config)?;
    // The statically linked library does not know where this host keeps its certificate
    // authorities.
    if is_tls(&config) && AUTHORITIES.iter().all(|name| config.get(name).is_none()) {
        config.set(AUTHORITIES[0], "probe");
    }
    Ok(config)
}

/// Rejects settings in a FIPS build that would use the client's own cryptographic library.
fn refuse_outside(config: &ClientConfig) -> Result<(), BuildError> {
    let refuse = |what, property| {
        crypto::allow(what).map_err(|refused| {
            BuildError::invalid(format!("properties.{property}"), refused.to_string())
        })
    };
    if is_tls(config) {
        refuse(Outside::KafkaTls, "security.protocol")?;
    }
    for property in ["sasl.mechanism", "sasl.mechanisms"] {
        let mechanism = config.get(property).unwrap_or_default().to_ascii_uppercase();
        if mechanism.starts_with("SCRAM") {
            refuse(Outside::KafkaScram, property)?;
        }
    }
    Ok(())
}

/// Properties that name the certificate authorities of the brokers.
const AUTHORITIES: [&str; 2] = ["ssl.ca.location", "ssl.ca.pem"];

/// Returns why a value cannot work in this build although the client accepts it.
fn lacking(name: &str, value: &str, has_token: bool) -> Option<&'static str> {
    const MECHANISMS: [&str; 4] = [kerberos::GSSAPI, "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
    if name.starts_with("sasl.oauthbearer.") || name == "enable.sasl.oauthbearer.unsecure.jwt" {
        return Some(
            "not supported in this build: remove it, and set `token_file` or `oauth` to provide \
             tokens",
        );
    }
    if !matches!(name, "sasl.mechanism" | "sasl.mechanisms") {
        return kerberos::lacking(name);
    }
    match (value.eq_ignore_ascii_case(OAUTH), has_token) {
        (true, true) => None,
        (true, false) => Some("OAUTHBEARER needs a token: set `token_file` or `oauth`"),
        (false, true) => Some(
            "must be `OAUTHBEARER` with `token_file` or `oauth`: remove one of the two settings",
        ),
        (false, false) => (!MECHANISMS.iter().any(|it| value.eq_ignore_ascii_case(it))).then_some(
            "must be `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`, `GSSAPI`, or `OAUTHBEARER` with \
             `token_file` or `oauth`",
        ),
    }
}

/// The SASL mechanism for tokens.
const OAUTH: &str = "OAUTHBEARER";

/// Sets the properties for a token: SASL, with TLS unless the operator disables it.
fn prove_by_token(config: &mut ClientConfig, setting: &str) -> Result<(), BuildError> {
    let protocol = config.get("security.protocol").unwrap_or("sasl_ssl").to_owned();
    if !["sasl_ssl", "sasl_plaintext"].iter().any(|it| protocol.eq_ignore_ascii_case(it)) {
        let problem = "a token needs SASL: remove `\"security.protocol\"` from `properties`, or \
                       set it to `\"sasl_ssl\"`";
        return Err(BuildError::invalid(setting, problem));
    }
    config.set("security.protocol", protocol);
    config.set("sasl.mechanism", OAUTH);
    Ok(())
}

/// Connects with a small request: for one topic, so that the response does not list all. Blocks.
pub(crate) fn reach<C: ClientContext>(client: &Client<C>, limit: Duration) -> KafkaResult<()> {
    client.fetch_metadata(Some("__consumer_offsets"), limit).map(drop)
}

/// Why a client cannot use a broker, from its log: certificate, login, or network.
#[derive(Debug, Default)]
pub(crate) struct BrokerFailure(Mutex<Option<String>>);

impl BrokerFailure {
    /// The facility of such log lines.
    const FACILITY: &'static str = "FAIL";

    fn note(&self, facility: &str, text: &str) {
        if facility == Self::FACILITY {
            // The prefix is the name of a client thread.
            let text = text.split_once("]: ").map_or(text, |(_, behind)| behind);
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.to_owned());
        }
    }

    /// Returns the last one, as a suffix for a message.
    pub(crate) fn last(&self) -> String {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map(|text| format!("; last error of the client: {text}")).unwrap_or_default()
    }
}

/// Polls a consumer without partitions so that it delivers its errors and log lines. Blocks
/// briefly.
pub(crate) fn poll_events<C: ConsumerContext>(consumer: &BaseConsumer<C>) {
    let until = Instant::now() + EVENTS_TIMEOUT;
    while Instant::now() < until {
        // Each error also has a log line.
        let _ = consumer.poll(EVENTS_TIMEOUT);
    }
}

/// Timeout for pending errors and log lines.
const EVENTS_TIMEOUT: Duration = Duration::from_millis(50);

/// Logs a line of the client's log.
pub(crate) fn log(
    (component, trouble): (&Arc<str>, &BrokerFailure),
    level: RDKafkaLogLevel,
    facility: &str,
    text: &str,
) {
    let helps = kerberos::rejected_hint(text).map(|helps| format!("; {helps}")).unwrap_or_default();
    trouble.note(facility, &format!("{text}{helps}"));
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning => {
            tracing::warn!(%component, facility, "the Kafka client (librdkafka) logs: \
                                                  {text}{helps}");
        }
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(%component, facility, "the Kafka client (librdkafka) logs: {text}");
        }
        RDKafkaLogLevel::Debug => {
            tracing::debug!(%component, facility, "the Kafka client (librdkafka) logs: {text}");
        }
    }
}

/// Logs an error of the client.
pub(crate) fn log_error(component: &Arc<str>, error: &KafkaError, text: &str) {
    tracing::debug!(%component, %error, "the Kafka client (librdkafka) logs: {text}");
}

/// The result of a message, for the batch that it belongs to.
pub(crate) trait Delivery: Send + Sync + 'static {
    /// Records the result.
    fn delivered(self, result: &DeliveryResult<'_>);
}

/// Callbacks of a producer and its consumers.
pub(crate) struct Context<D> {
    pub(crate) name: Arc<str>,
    pub(crate) token: Option<Tokens>,
    pub(crate) broker_failure: BrokerFailure,
    delivery: PhantomData<D>,
}

impl<D> Context<D> {
    pub(crate) fn new(name: Arc<str>, token: Option<Tokens>) -> Self {
        Self { name, token, broker_failure: BrokerFailure::default(), delivery: PhantomData }
    }
}

impl<D: Delivery> ClientContext for Context<D> {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log((&self.name, &self.broker_failure), level, facility, text);
    }

    fn error(&self, error: KafkaError, text: &str) {
        log_error(&self.name, &error, text);
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        token::answer(self.token.as_ref(), &self.name)
    }
}

impl<D: Delivery> ConsumerContext for Context<D> {}

impl<D: Delivery> ProducerContext for Context<D> {
    type DeliveryOpaque = Box<D>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivery: Box<D>) {
        delivery.delivered(result);
    }
}
