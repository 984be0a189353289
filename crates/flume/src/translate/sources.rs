//! Sources: addresses, and other translations that a row cannot express.

use pipeline::Settings;
use pipeline::settings::Value;

use super::tls::Side;
use super::{Made, Translator, channels, flag, list, number, plain, text_of, value};
use crate::agent::{Bag, Named, Prop};
use crate::lookup::Text;
use crate::report::Outcome;

/// Events of a batch of a source that has no such key in Flume.
const BATCH_EVENTS: i64 = 1_000;

/// The largest `body_max` of the source `http`.
const BODY_MAX: u64 = 1 << 30;

/// The default of `in_flight_max`, which is at least `body_max`.
const IN_FLIGHT_MAX: u64 = 64 << 20;

/// The stream of Flume's Twitter source, a sample of all posts, in the successor interface.
const X_SAMPLE: &str = "https://api.x.com/2/tweets/sample/stream";

impl Translator<'_> {
    pub(super) fn sources(&mut self, all: Vec<Named>, made: &[Made]) -> Vec<Made> {
        let mut sources = Vec::new();
        for Named { name, mut bag } in all {
            let target = format!("sources.{name}");
            let place = bag.place.clone();
            let way = self.way(&mut bag, &target);
            let (row, mut settings) = self.component("source", None, &mut bag, &target);
            let row = row.map_or("", |row| row.name);
            let parts = match row {
                "taildir" => self.taildir(&name, &mut bag, settings, &target),
                _ => {
                    self.source(row, &mut bag, &mut settings, &target);
                    vec![Made { name, place, settings }]
                }
            };
            self.rest(&bag);
            for mut part in parts {
                self.plain_text(&mut part.settings, &part.place, &bag.path);
                way.put(&mut part.settings);
                self.clamp(&mut part, &way.channels(), made);
                sources.push(part);
            }
        }
        sources
    }

    fn source(&mut self, row: &str, bag: &mut Bag, settings: &mut Settings, target: &str) {
        match row {
            "avro" | "thrift" | "netcat" | "netcatudp" | "http" => {
                let bind = if row == "http" { "0.0.0.0" } else { "*" };
                if let Some(listen) = self.address(bag, ("bind", bind), target, "listen") {
                    settings.set("listen", listen);
                }
            }
            "syslogtcp" | "syslogudp" => {
                let scheme = if row == "syslogtcp" { "tcp" } else { "udp" };
                self.bind_for_host(bag);
                if let Some(listen) = self.address(bag, ("host", "0.0.0.0"), target, "listen") {
                    let listen = with_scheme(scheme, listen);
                    settings.set("listen", Settings::list([listen]));
                }
                self.syslog(row, bag, settings, target);
            }
            "multiport_syslogtcp" => {
                self.bind_for_host(bag);
                self.ports(bag, settings, target);
                self.syslog(row, bag, settings, target);
            }
            _ => {}
        }
        if matches!(row, "avro" | "thrift" | "http" | "syslogtcp" | "multiport_syslogtcp") {
            self.tls(bag, settings, target, Side::Server);
        }
        match row {
            "http" => self.handler(bag, settings, target),
            "exec" => self.charset(bag, "charset", true),
            "netcat" => {
                self.encoding(bag, settings, target);
                self.netcat_lines(bag, settings, target);
            }
            "avro" => self.ip_filter(bag, settings, target),
            "stress" => self.stress(bag, settings, target),
            "kafka" => self.kafka_source(bag, settings, target),
            "jms" => self.jms_source(bag, settings, target),
            "twitter" => {
                settings.set("preset", plain("x", &bag.place));
                settings.set("url", plain(X_SAMPLE, &bag.place));
            }
            "spooldir" => {
                self.decoder(bag, settings, target);
                self.tracking(bag, settings, target);
                for (switch, key, default, setting) in [
                    ("fileHeader", "fileHeaderKey", "file", "file_header"),
                    ("basenameHeader", "basenameHeaderKey", "basename", "basename_header"),
                ] {
                    self.named_header(bag, settings, (switch, key, default), target, setting);
                }
            }
            _ => {}
        }
    }

    /// Translates how a file of a spooling directory is marked after reading; a deleted file is not
    /// marked.
    fn tracking(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        let Some(prop) = bag.take("trackingPolicy") else { return };
        let is = |text: &str| prop.text.value.eq_ignore_ascii_case(text);
        let deletes = matches!(
            settings.get("delete_policy").map(|policy| &policy.value),
            Some(Value::Text(policy)) if policy == "immediate"
        );
        if is("rename") {
            self.carried(&prop, target, "tracking_policy");
        } else if !is("tracker_dir") {
            self.add(Outcome::Decision, &prop, "must be `rename` or `tracker_dir`");
        } else if deletes {
            self.add(Outcome::Ignored, &prop, "not needed: files are deleted after reading");
        } else {
            settings.set("tracking_policy", plain("position", &prop.place));
            let text = format!(
                "`{target}.tracking_policy = \"position\"`: positions in the channels replace the \
                 marker files"
            );
            self.add(Outcome::Differs, &prop, text);
        }
    }

    /// Returns a host and a port as one address; `None` if a key is missing, which is reported.
    pub(super) fn address(
        &mut self,
        bag: &mut Bag,
        (host, default): (&str, &str),
        target: &str,
        setting: &str,
    ) -> Option<Settings> {
        let name = bag.take(host);
        let port = bag.take("port");
        if name.is_none() && default == "*" {
            self.missing(bag, host);
        }
        let Some(port) = port else {
            self.missing(bag, "port");
            if let Some(prop) = name {
                self.add(Outcome::Ignored, &prop, "`port` is missing; add it");
            }
            return None;
        };
        let host = match &name {
            Some(prop) => prop.text.clone(),
            None if default == "*" => return None,
            None => Text::plain(default),
        };
        // An IPv6 address contains colons.
        let host = host.map(|it| match it.contains(':') && !it.contains(['[', '{']) {
            true => format!("[{it}]"),
            false => it.to_owned(),
        });
        let whole = joined(&host, &port.text);
        for prop in name.iter().chain([&port]) {
            self.carried(prop, target, setting);
        }
        Some(value::text(&whole, &port.place))
    }

    fn handler(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        let own = bag.below("handler.");
        let Some(prop) = bag.take("handler") else {
            for prop in &own.props {
                self.add(
                    Outcome::Ignored,
                    prop,
                    "no effect: the JSON handler does not have this key; remove it",
                );
            }
            return;
        };
        let class = prop.text.value.to_lowercase();
        let decoder = match class.rsplit('.').next().unwrap_or_default() {
            "jsonhandler" | "json" => "json",
            // The one in Flume's core makes headers of the query, the other one does not.
            "blobhandler" if class.contains("morphline") => "blob",
            "blobhandler" => {
                settings.set("query_headers", flag(true, &prop.place));
                "blob"
            }
            _ => {
                let what = "custom handlers are not supported: set `decoder`, or send JSON";
                for prop in own.props.iter().chain([&prop]) {
                    self.add(Outcome::Decision, prop, what);
                }
                return;
            }
        };
        settings.set("decoder", plain(decoder, &prop.place));
        self.carried(&prop, target, "decoder");
        for prop in &own.props {
            match (prop.name.as_str(), value::unsigned(&prop.text.value)) {
                _ if decoder == "json" => {
                    self.add(
                        Outcome::Ignored,
                        prop,
                        "no effect: the JSON handler does not have this key; remove it",
                    );
                }
                ("maxBlobLength", Ok(bytes)) => {
                    let body_max = bytes.min(BODY_MAX);
                    let bytes_max = plain(&value::bytes(body_max), &prop.place);
                    if body_max > IN_FLIGHT_MAX {
                        settings.set("in_flight_max", bytes_max.clone());
                    }
                    settings.set("body_max", bytes_max);
                    match bytes > BODY_MAX {
                        true => self.add(Outcome::Differs, prop, "bodies are limited to 1 GiB"),
                        false => self.carried(prop, target, "body_max"),
                    }
                }
                ("mandatoryParameters", _) => {
                    let what = "query parameters are not checked: remove the key";
                    self.add(Outcome::Decision, prop, what);
                }
                _ => self.add(
                    Outcome::Unknown,
                    prop,
                    "no effect: the handler does not have this key; remove it",
                ),
            }
        }
    }

    fn ip_filter(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        let is_on = Self::is_on(bag, "ipFilter");
        let switch = bag.take("ipFilter");
        let rules = bag.take("ipFilterRules");
        for prop in switch.iter().chain(&rules) {
            match is_on {
                true => self.carried(prop, target, "ip_filter"),
                false => self.add(
                    Outcome::Ignored,
                    prop,
                    "no effect: `ipFilter` is not true; remove the key",
                ),
            }
        }
        if let Some(rules) = rules.filter(|_| is_on) {
            let all = rules.text.value.split(',').map(str::trim);
            settings.set("ip_filter", list(all, &rules.place));
        }
    }

    fn stress(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        for (name, setting) in [
            ("maxSuccessfulEvents", "max_successful_events"),
            ("maxTotalEvents", "max_total_events"),
            ("maxEventsPerSecond", "rate"),
        ] {
            let Some(prop) = bag.take(name) else { continue };
            match value::count(&prop.text.value) {
                Ok(count) if count > 0 => {
                    settings.set(setting, number(count, &prop.place));
                    self.carried(&prop, target, setting);
                }
                Ok(_) => self.add(Outcome::Carried, &prop, "no limit"),
                Err(problem) => self.add(Outcome::Decision, &prop, problem),
            }
        }
    }

    /// Translates a header that a switch enables, and whose name is another key.
    fn named_header(
        &mut self,
        bag: &mut Bag,
        settings: &mut Settings,
        (switch, key, default): (&str, &str, &str),
        target: &str,
        setting: &str,
    ) {
        let is_on = Self::is_on(bag, switch);
        let (switched, named) = (bag.take(switch), bag.take(key));
        if is_on {
            let place = switched.as_ref().map_or(&bag.place, |it| &it.place).clone();
            let name = named.as_ref().map_or_else(|| plain(default, &place), text_of);
            settings.set(setting, name);
        }
        for prop in switched.iter().chain(&named) {
            match is_on {
                true => self.carried(prop, target, setting),
                false => self.add(Outcome::Ignored, prop, format!("`{switch}` is not true")),
            }
        }
    }

    /// A batch fits each channel of its source.
    fn clamp(&mut self, source: &mut Made, names: &[String], made: &[Made]) {
        let of_source = made.iter().filter(|it| names.contains(&it.name));
        let Some(most) = of_source.filter_map(|it| channels::events_max(&it.settings)).min() else {
            return;
        };
        let setting = match source.settings.get("type").map(|it| &it.value) {
            Some(Value::Text(kind)) => match kind.as_str() {
                "kafka" | "syslog" | "tail_dir" | "sequence" | "exec" | "spool_dir" | "stress"
                | "process" => "batch_events",
                "amqp" => "credit",
                _ => return,
            },
            _ => return,
        };
        let (events, place) = match source.settings.get(setting) {
            Some(Settings { value: Value::Integer(events), place, .. }) => (*events, place.clone()),
            _ => (BATCH_EVENTS, source.place.clone()),
        };
        if events > most {
            source.settings.set(setting, number(most, &place));
            let key = format!("sources.{}.{setting}", source.name);
            let text = format!("lowered to {most}, because a batch must fit into the channel");
            self.report.add(Outcome::Differs, &place, &key, text);
        }
    }
}

/// `host:port`, with the references of both.
fn joined(host: &Text, port: &Text) -> Text {
    let written = |it: &Text| it.written.clone().unwrap_or_else(|| it.value.clone());
    let has_reference = host.written.is_some() || port.written.is_some();
    Text {
        value: format!("{}:{}", host.value, port.value),
        written: has_reference.then(|| format!("{}:{}", written(host), written(port))),
        unset: host.unset.clone().or_else(|| port.unset.clone()),
    }
}

fn with_scheme(scheme: &str, address: Settings) -> Settings {
    let Settings { value, place, written } = address;
    let Value::Text(text) = value else { unreachable!("an address is text") };
    let written = written.map(|it| format!("{scheme}://{it}").into());
    Settings { value: Value::Text(format!("{scheme}://{text}")), place, written }
}

/// Returns a prop for a whole component.
pub(super) fn of_component(bag: &Bag) -> Prop {
    let (key, place) = (bag.path.clone(), bag.place.clone());
    Prop { key, name: String::new(), text: Text::default(), place }
}
