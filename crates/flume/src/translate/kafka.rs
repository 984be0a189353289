//! Kafka's source and sink: topics, and the properties of the client.

use pipeline::Settings;

use super::jaas::{Login, OAUTH_MODULE, entry, login};
use super::value::put_in;
use super::{Translator, flag, list, plain, text_of};
use crate::agent::{Bag, Prop};
use crate::report::Outcome;

/// Properties that Java's client and ours have by one name and with one meaning.
const SAME: &[&str] = &[
    "check.crcs",
    "client.id",
    "client.rack",
    "connections.max.idle.ms",
    "fetch.max.bytes",
    "fetch.min.bytes",
    "heartbeat.interval.ms",
    "isolation.level",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "metadata.max.age.ms",
    "partitioner",
    "receive.buffer.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retry.backoff.ms",
    "sasl.kerberos.service.name",
    "security.protocol",
    "send.buffer.bytes",
    "session.timeout.ms",
];

/// Properties of Java's clients that only tune them, and those of consumers and producers of Kafka
/// 0.8, which Java's client ignores.
const WITHOUT_EFFECT: &[&str] = &[
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "batch.num.messages",
    "buffer.memory",
    "consumer.timeout.ms",
    "fetch.max.wait.ms",
    "max.block.ms",
    "max.in.flight.requests.per.connection",
    "max.poll.records",
    "metadata.fetch.timeout.ms",
    "timeout.ms",
    "zookeeper.connect",
    "zookeeper.connection.timeout.ms",
    "zookeeper.session.timeout.ms",
    "zookeeper.sync.time.ms",
];

/// SASL mechanisms that both clients support.
const MECHANISMS: &[&str] = &[KERBEROS, "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// SASL's default mechanism.
const KERBEROS: &str = "GSSAPI";

/// Java's settings for renewing tickets.
const RENEWAL: &[&str] = &[
    "sasl.kerberos.kinit.cmd",
    "sasl.kerberos.min.time.before.relogin",
    "sasl.kerberos.ticket.renew.jitter",
    "sasl.kerberos.ticket.renew.window.factor",
];

/// The mechanism of tokens, if they are fetched, and Java's settings for making or fetching them.
const OAUTH: &str = "OAUTHBEARER";
const TOKEN_URL: &str = "sasl.oauthbearer.token.endpoint.url";
const FETCHING: &str = "OAuthBearerLoginCallbackHandler";
const HANDLERS: &[&str] = &["sasl.login.callback.handler.class", "sasl.login.class"];
const TOKEN: &str = "a token login needs the URL of the token server and a login module with \
                     `clientId` and `clientSecret`: set the table `oauth`, or set `token_file` to \
                     a file whose token is replaced before it expires";

/// Constructs of Java's regular expressions that POSIX does not have.
const JAVA_ONLY: &[&str] = &["\\d", "\\D", "\\p", "\\b", "\\Q", "(?", "*?", "+?", "??", "&&"];

impl Translator<'_> {
    pub(super) fn kafka_source(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        self.brokers(bag, settings, target, &[]);
        self.topics(bag, settings, target);
        let group = self.first(bag, target, &["kafka.consumer.group.id", "groupId"], "group");
        let named = group.as_ref().map_or_else(|| plain("flume", &bag.place), text_of);
        settings.set("group", named);
        // Another word is refused by the source itself.
        let reset = bag.take("kafka.consumer.auto.offset.reset");
        let place = reset.as_ref().map_or(&bag.place, |prop| &prop.place).clone();
        settings.set("start", plain("latest", &place));
        if let Some(prop) = reset {
            settings.set("start", text_of(&prop));
            self.carried(&prop, target, "start");
        }
        self.topic_header(bag, settings, target, "setTopicHeader");
        if settings.get("topic_header").is_none() {
            settings.set("topic_header", plain("", &bag.place));
        }
        for prop in bag.below("header.").props {
            put_in(settings, "headers", &prop.name, text_of(&prop));
            self.carried(&prop, target, "headers");
        }
        self.properties(bag, settings, target, "kafka.consumer.");
    }

    pub(super) fn kafka_sink(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        self.brokers(bag, settings, target, &["brokerList"]);
        let topic = self.first(bag, target, &["kafka.topic", "topic"], "topic");
        if let Some(prop) = topic.as_ref().filter(|prop| prop.text.value.contains("%{")) {
            let what = "escapes in a topic are not supported: set `topic_header` to the header, \
                        and `topic` to the topic of events without it";
            self.add(Outcome::Decision, prop, what);
        }
        let named = || plain("default-flume-topic", &bag.place);
        settings.set("topic", topic.as_ref().map_or_else(named, text_of));
        self.topic_header(bag, settings, target, "allowTopicOverride");
        for prop in bag.below("header.").props {
            // Flume names the event's header first, and the message's second.
            put_in(settings, "headers", &prop.text.value, plain(&prop.name, &prop.place));
            self.carried(&prop, target, "headers");
        }
        if let Some(prop) = bag.take("kafka.producer.transactional.id") {
            settings.set("exactly_once", flag(true, &prop.place));
            self.carried(&prop, target, "exactly_once");
        }
        self.properties(bag, settings, target, "kafka.producer.");
    }

    pub(super) fn brokers(
        &mut self,
        bag: &mut Bag,
        settings: &mut Settings,
        target: &str,
        old: &[&str],
    ) {
        let names: Vec<&str> = ["kafka.bootstrap.servers"].iter().chain(old).copied().collect();
        let found: Vec<Prop> = names.iter().filter_map(|name| bag.take(name)).collect();
        let zookeeper = bag.take("zookeeperConnect");
        let Some(prop) = found.first() else {
            let Some(zookeeper) = zookeeper else { return self.missing(bag, names[0]) };
            let what = "brokers cannot be looked up in ZooKeeper: list them in \
                        `kafka.bootstrap.servers`";
            return self.add(Outcome::Decision, &zookeeper, what);
        };
        settings.set("brokers", words(prop));
        found.iter().for_each(|prop| self.carried(prop, target, "brokers"));
        if let Some(prop) = zookeeper {
            self.add(
                Outcome::Ignored,
                &prop,
                "not needed: the brokers are listed, and offsets are in Kafka",
            );
        }
    }

    /// Translates the first of these keys that exists into this setting; the others have no effect.
    pub(super) fn first(
        &mut self,
        bag: &mut Bag,
        target: &str,
        names: &[&str],
        setting: &str,
    ) -> Option<Prop> {
        let mut found = names.iter().filter_map(|name| bag.take(name)).collect::<Vec<_>>();
        for prop in found.iter().skip(1) {
            self.add(Outcome::Ignored, prop, format!("`{}` is there", names[0]));
        }
        found.truncate(1);
        let prop = found.pop()?;
        self.carried(&prop, target, setting);
        Some(prop)
    }

    fn topics(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        let (pattern, names) = (bag.take("kafka.topics.regex"), bag.take("kafka.topics"));
        let old = bag.take("topic");
        let others: Vec<&Prop> = match (&pattern, &names) {
            (Some(_), _) => names.iter().chain(&old).collect(),
            (None, Some(_)) => old.iter().collect(),
            (None, None) => Vec::new(),
        };
        others.into_iter().for_each(|prop| {
            self.add(Outcome::Ignored, prop, "no effect: another topic key applies; remove this");
        });
        if let Some(prop) = pattern {
            // Flume's has to match the whole name.
            let whole = format!("^({})$", prop.text.value);
            settings.set("topics", list([&*whole], &prop.place));
            match JAVA_ONLY.iter().find(|part| prop.text.value.contains(**part)) {
                None => self.carried(&prop, target, "topics"),
                Some(part) => {
                    let what = format!(
                        "`{part}` is supported only in Java: write a POSIX extended regular \
                         expression"
                    );
                    self.add(Outcome::Decision, &prop, what);
                }
            }
        } else if let Some(prop) = names.or(old) {
            settings.set("topics", words(&prop));
            self.carried(&prop, target, "topics");
        } else {
            self.missing(bag, "kafka.topics");
        }
    }

    /// The header with the topic, unless its switch is off.
    fn topic_header(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str, switch: &str) {
        let is_on = bag.value(switch, "true").eq_ignore_ascii_case("true");
        let (switched, named) = (bag.take(switch), bag.take("topicHeader"));
        if is_on {
            let name = named.as_ref().map_or_else(|| plain("topic", &bag.place), text_of);
            settings.set("topic_header", name);
        }
        if let Some(prop) = &switched {
            self.carried(prop, target, "topic_header");
        }
        if let Some(prop) = &named {
            match is_on {
                true => self.carried(prop, target, "topic_header"),
                false => self.add(Outcome::Ignored, prop, format!("`{switch}` is not true")),
            }
        }
    }

    /// Translates the properties that Flume passes to the Java client.
    pub(super) fn properties(
        &mut self,
        bag: &mut Bag,
        settings: &mut Settings,
        target: &str,
        prefix: &str,
    ) {
        let props = bag.below(prefix).props;
        self.login_file(&props, settings, target);
        for prop in self.token_server(props, settings, target) {
            let (name, value) = (&*prop.name, prop.text.value.to_uppercase());
            if RENEWAL.contains(&name) {
                self.add(
                    Outcome::Ignored,
                    &prop,
                    "not needed: tickets are renewed with the keytab",
                );
                continue;
            }
            let problem = match name {
                _ if SAME.contains(&name) => None,
                "sasl.mechanism" if MECHANISMS.contains(&&*value) => None,
                "sasl.mechanism" if value == OAUTH => Some(TOKEN),
                "sasl.mechanism" => Some(
                    "not supported: use `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`, `GSSAPI` or \
                     `OAUTHBEARER`",
                ),
                "sasl.jaas.config" if prop.text.value.contains(OAUTH_MODULE) => Some(TOKEN),
                _ if name.starts_with("sasl.oauthbearer.") || HANDLERS.contains(&name) => {
                    Some(TOKEN)
                }
                "sasl.jaas.config" => match login(&prop.text.value) {
                    Some(login) => {
                        self.login(&prop, &login, settings, target);
                        continue;
                    }
                    None => Some(
                        "the login is not translated: set `sasl.username` in `properties` and \
                         `sasl.password` in `secret_properties`; for Kerberos set \
                         `sasl.kerberos.principal` and `sasl.kerberos.keytab` in `properties`",
                    ),
                },
                _ if name.starts_with("ssl.") => Some(
                    "Java key stores are not supported: convert them to PEM and set \
                     `ssl.ca.location` (truststore), `ssl.certificate.location` and \
                     `ssl.key.location` (keystore)",
                ),
                _ if name.ends_with(".class") || name.ends_with(".classes") => Some(
                    "Java classes are not supported: remove the key if the events are correct \
                     without it",
                ),
                _ if WITHOUT_EFFECT.contains(&name) => {
                    self.add(Outcome::Ignored, &prop, "no effect in Aqueduct; remove the key");
                    continue;
                }
                _ => {
                    let text = "no effect: librdkafka does not have this property; the Java client \
                                also ignores unknown properties";
                    self.add(Outcome::Differs, &prop, text);
                    continue;
                }
            };
            match problem {
                None => {
                    put_in(settings, "properties", name, text_of(&prop));
                    self.carried(&prop, target, "properties");
                }
                Some(problem) => self.add(Outcome::Decision, &prop, problem),
            }
        }
    }

    /// Translates tokens that are fetched with client credentials; removes their keys, if these are
    /// complete.
    fn token_server(
        &mut self,
        props: Vec<Prop>,
        settings: &mut Settings,
        target: &str,
    ) -> Vec<Prop> {
        let named = |name: &str| props.iter().find(|prop| prop.name == name);
        let (Some(url), Some(jaas)) = (named(TOKEN_URL), named("sasl.jaas.config")) else {
            return props;
        };
        let Some(Login::Client { id, secret, scope }) = login(&jaas.text.value) else {
            return props;
        };
        put_in(settings, "oauth", "url", text_of(url));
        let of_client =
            [("client_id", Some(id)), ("client_secret", Some(secret)), ("scope", scope)];
        for (name, value) in of_client {
            if let Some(value) = value {
                put_in(settings, "oauth", name, plain(value, &jaas.place));
            }
        }
        let mut others = Vec::new();
        for prop in props {
            match &*prop.name {
                TOKEN_URL | "sasl.jaas.config" => self.carried(&prop, target, "oauth"),
                "sasl.mechanism" if prop.text.value.eq_ignore_ascii_case(OAUTH) => {
                    self.carried(&prop, target, "oauth");
                }
                name if HANDLERS.contains(&name) && prop.text.value.ends_with(FETCHING) => {
                    self.add(
                        Outcome::Ignored,
                        &prop,
                        "not needed: the agent fetches tokens without a Java class",
                    );
                }
                _ => others.push(prop),
            }
        }
        others
    }

    /// Handles a login module in a separate file, which Java reads for clients without
    /// `sasl.jaas.config`.
    fn login_file(&mut self, props: &[Prop], settings: &mut Settings, target: &str) {
        let named = |name: &str| props.iter().find(|prop| prop.name == name);
        let is = |prop: &Prop, what: &str| prop.text.value.to_uppercase().starts_with(what);
        let Some(protocol) = named("security.protocol").filter(|prop| is(prop, "SASL")) else {
            return;
        };
        if named("sasl.jaas.config").is_some() {
            return;
        }
        let path = self.world.system("java.security.auth.login.config");
        let file = path.and_then(|path| self.world.file(&path).ok());
        let file = file.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        if let Some(login) = entry(&file, "KafkaClient").and_then(login) {
            return self.login(protocol, &login, settings, target);
        }
        if named("sasl.mechanism").is_none_or(|prop| is(prop, KERBEROS)) {
            let what = "principal and keytab are in a file of Java: name it by \
                        `-Djava.security.auth.login.config=FILE`, or write them as \
                        `sasl.kerberos.principal` and `sasl.kerberos.keytab` in `properties`";
            self.add(Outcome::Decision, protocol, what);
        }
    }

    /// Translates a login module into properties of the client.
    fn login(&mut self, prop: &Prop, login: &Login<'_>, settings: &mut Settings, target: &str) {
        let put = |settings: &mut Settings, table: &str, name: &str, value: &str| {
            put_in(settings, table, name, plain(value, &prop.place));
        };
        let (table, service) = match *login {
            Login::User { user, password } => {
                put(settings, "properties", "sasl.username", user);
                put(settings, "secret_properties", "sasl.password", password);
                ("secret_properties", None)
            }
            Login::Keytab { principal, keytab, service } => {
                put(settings, "properties", "sasl.kerberos.principal", principal);
                put(settings, "properties", "sasl.kerberos.keytab", keytab);
                ("properties", service)
            }
            Login::Cache { service } => ("properties", service),
            // Without a URL it is incomplete.
            Login::Client { .. } => return self.add(Outcome::Decision, prop, TOKEN),
        };
        if let Some(service) = service {
            put(settings, "properties", "sasl.kerberos.service.name", service);
        }
        self.carried(prop, target, table);
    }
}

/// Names with commas between them.
fn words(prop: &Prop) -> Settings {
    let all = prop.text.value.split(',').map(str::trim).filter(|name| !name.is_empty());
    list(all, &prop.place)
}
