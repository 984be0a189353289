//! The JMS source: the address of a broker in JNDI, and durable subscriptions.

use pipeline::Settings;
use pipeline::settings::Value;

use super::{Translator, list, put, text_of};
use crate::agent::{Bag, Prop};
use crate::report::Outcome;

/// Prefixes of JNDI classes whose brokers speak AMQP 1.0.
const SPEAK_AMQP: &[&str] = &["org.apache.activemq.", "org.apache.qpid."];

/// Prefixes of OpenWire URLs (ActiveMQ's protocol), and the AMQP scheme for each.
const OPEN_WIRE: &[(&str, &str)] =
    &[("tcp://", "amqp"), ("nio://", "amqp"), ("ssl://", "amqps"), ("nio+ssl://", "amqps")];

/// Returns `true` if only a client of JMS understands these keys: the broker does not speak AMQP
/// 1.0, or its address and names are in JNDI, or a converter is set.
pub(super) fn needs_client(bag: &Bag) -> bool {
    let has =
        |name: &str, fits: fn(&str) -> bool| bag.get(name).is_some_and(|it| !fits(&it.text.value));
    has("initialContextFactory", |it| SPEAK_AMQP.iter().any(|begin| it.starts_with(begin)))
        || has("providerURL", |it| urls(it).is_ok())
        || has("destinationName", |it| !it.contains('?'))
        || has("destinationLocator", |it| it.eq_ignore_ascii_case("CDI"))
        || has("converter.type", |it| it.eq_ignore_ascii_case("DEFAULT"))
        || has("converter.charset", |it| it.eq_ignore_ascii_case("UTF-8"))
}

impl Translator<'_> {
    pub(super) fn jms_source(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        match bag.take("initialContextFactory") {
            None => self.missing(bag, "initialContextFactory"),
            Some(prop) if SPEAK_AMQP.iter().any(|it| prop.text.value.starts_with(it)) => {
                self.add(Outcome::Ignored, &prop, "not needed: this broker supports AMQP 1.0");
            }
            Some(prop) => {
                let what = "the broker needs a connector for AMQP 1.0, which IBM MQ and Solace \
                            have: set `broker.urls` to its address; for a broker without a \
                            connector, keep a Flume agent with an `avro` sink in between";
                self.add(Outcome::Decision, &prop, what);
            }
        }
        self.broker_urls(bag, settings, target);
        match bag.take("destinationName") {
            None => self.missing(bag, "destinationName"),
            Some(prop) => {
                settings.set("address", text_of(&prop));
                match prop.text.value.contains('?') {
                    false => self.carried(&prop, target, "address"),
                    true => {
                        let what = "options after `?` apply only to the client of ActiveMQ: remove \
                                    them";
                        self.add(Outcome::Decision, &prop, what);
                    }
                }
            }
        }
        if let Some(prop) = bag.take("passwordFile") {
            self.password_of_file(&prop, settings, target, "broker.password");
        }
        self.subscription(bag, settings, target);
        // Flume makes headers only of the properties.
        settings.set("jms_headers", Settings::at(Value::List(Vec::new()), bag.place.clone()));
    }

    fn broker_urls(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        let Some(prop) = bag.take("providerURL") else {
            return self.missing(bag, "providerURL");
        };
        let urls = match urls(&prop.text.value) {
            Ok(urls) => urls,
            Err(problem) => return self.add(Outcome::Decision, &prop, problem),
        };
        let named: Vec<&str> = urls.iter().map(|url| &*url.text).collect();
        put(settings, "broker.urls", list(named.iter().copied(), &prop.place));
        match urls.iter().any(|url| url.is_guessed) {
            false => self.carried(&prop, target, "broker.urls"),
            true => {
                let text = format!(
                    "`{target}.broker.urls = {named:?}`: OpenWire is not supported, so this is the \
                     default port of AMQP; check that the broker has an AMQP connector on it \
                     (Artemis also accepts AMQP on 61616)"
                );
                self.add(Outcome::Differs, &prop, text);
            }
        }
    }

    fn subscription(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        let is_durable =
            bag.value("createDurableSubscription", "false").eq_ignore_ascii_case("true");
        let (switch, name) =
            (bag.take("createDurableSubscription"), bag.take("durableSubscriptionName"));
        let named: Vec<&Prop> = switch.iter().chain(&name).collect();
        if !is_durable {
            for prop in named {
                let what = "`createDurableSubscription` is not true";
                self.add(Outcome::Ignored, prop, what);
            }
            return;
        }
        match &name {
            Some(prop) => {
                settings.set("durable_subscription_name", text_of(prop));
                named.iter().for_each(|it| self.carried(it, target, "durable_subscription_name"));
            }
            None => self.missing(bag, "durableSubscriptionName"),
        }
    }
}

/// An address of AMQP.
#[derive(Debug, PartialEq, Eq)]
struct Url {
    text: String,
    /// Its port is not from the file.
    is_guessed: bool,
}

/// The addresses of AMQP for a provider's URL: of AMQP itself, or of OpenWire, also with failover.
fn urls(provider: &str) -> Result<Vec<Url>, String> {
    let rest = ["failover:", "fanout:"].iter().find_map(|it| provider.strip_prefix(it));
    let inner = rest.map_or(provider, |rest| {
        let rest = rest.trim_start_matches("//");
        match rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
            Some((inner, _)) => inner,
            None => rest,
        }
    });
    let all = inner.split(',').map(str::trim).filter(|url| !url.is_empty()).map(url);
    let all = all.collect::<Result<Vec<_>, _>>()?;
    match all.is_empty() {
        true => Err("the URL has no broker: set `broker.urls` to its addresses".into()),
        false => Ok(all),
    }
}

fn url(url: &str) -> Result<Url, String> {
    let url = url.split('?').next().unwrap_or(url).trim_end_matches('/');
    if url.starts_with("amqp://") || url.starts_with("amqps://") {
        return Ok(Url { text: url.to_owned(), is_guessed: false });
    }
    let of_scheme = |(begin, scheme): &(&str, &'static str)| {
        Some((url.strip_prefix(begin)?.to_owned(), *scheme))
    };
    let Some((address, scheme)) = OPEN_WIRE.iter().find_map(of_scheme) else {
        return Err(format!(
            "`{url}` is not the address of a broker: set `broker.urls` to the address of its AMQP \
             connector, for example \"amqp://broker-1:5672\""
        ));
    };
    let host = address.rsplit_once(':').map_or(&*address, |(host, _)| host);
    let port = if scheme == "amqps" { 5671 } else { 5672 };
    Ok(Url { text: format!("{scheme}://{host}:{port}"), is_guessed: true })
}

#[cfg(test)]
mod tests {
    use pipeline::settings::Place;

    use super::*;
    use crate::lookup::Text;

    fn texts(provider: &str) -> Result<Vec<String>, String> {
        Ok(urls(provider)?.into_iter().map(|url| url.text).collect())
    }

    #[test]
    fn the_hosts_of_open_wire_are_taken_with_the_port_of_amqp() {
        assert_eq!(texts("tcp://mq:61616").unwrap(), ["amqp://mq:5672"]);
        let both = "failover:(tcp://a:61616,ssl://b:61617?x=y)?randomize=false";
        assert_eq!(texts(both).unwrap(), ["amqp://a:5672", "amqps://b:5671"]);
        assert_eq!(texts("failover://(nio://a:61616)").unwrap(), ["amqp://a:5672"]);
        assert_eq!(texts("failover:tcp://a:1,tcp://b:2").unwrap().len(), 2);
        assert_eq!(texts("amqp://a:5679?amqp.x=1").unwrap(), ["amqp://a:5679"]);
        assert!(!urls("amqp://a:5679").unwrap()[0].is_guessed);
    }

    #[test]
    fn jndi_and_converters_need_a_client() {
        let needs = |name: &str, value: &str| {
            let (key, name) = (name.to_owned(), name.to_owned());
            let place = Place::default();
            let prop = Prop { key, name, text: Text::plain(value), place: place.clone() };
            needs_client(&Bag { path: "a.sources.s".to_owned(), place, props: vec![prop] })
        };
        let ours = "org.apache.activemq.artemis.jndi.ActiveMQInitialContextFactory";
        assert!(!needs("initialContextFactory", ours));
        assert!(needs("initialContextFactory", "com.sun.jndi.fscontext.RefFSContextFactory"));
        assert!(!needs("providerURL", "tcp://mq:61616"));
        assert!(needs("providerURL", "file:///var/mqm/jndi"));
        assert!(needs("destinationName", "ORDERS?consumer.prefetchSize=1"));
        assert!(!needs("destinationLocator", "CDI") && needs("destinationLocator", "JNDI"));
        assert!(needs("converter.type", "com.example.MapConverter"));
        assert!(!needs("converter.charset", "utf-8") && needs("converter.charset", "UTF-16"));
    }

    #[test]
    fn a_directory_or_a_broker_in_the_process_is_refused_with_the_remedy() {
        for provider in ["file:///opt/jndi", "ldap://d/o=x", "vm://localhost", "t3://w:7001", ""] {
            assert!(texts(provider).unwrap_err().contains("`broker.urls`"), "{provider}");
        }
    }
}
