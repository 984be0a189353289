//! Sources of lines and messages over a network: `netcat` and syslog, with Flume's limits.

use pipeline::Settings;
use pipeline::settings::Value;

use super::{Translator, flag, is_utf8, list, number, plain, text_of, value};
use crate::agent::Bag;
use crate::report::Outcome;

/// Maximum bytes of a character that Flume counts as one.
const CHAR_BYTES: u64 = 3;

/// Maximum size of a line or message.
const LINE_MAX: u64 = 16 << 20;

/// The largest size of a datagram. Flume does not apply `eventSize`, and reads 2,048 bytes.
const DATAGRAM_MAX: u64 = 64 << 10;

/// The smallest `eventSize` that Flume uses.
const MESSAGE_MIN: u64 = 10;

impl Translator<'_> {
    /// Translates the charset of connections. Flume makes UTF-8 of the text, too.
    pub(super) fn encoding(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        let Some(prop) = bag.take("encoding") else { return };
        if is_utf8(&prop.text.value) {
            return self.add(Outcome::Carried, &prop, "bodies keep the bytes that came");
        }
        settings.set("charset", text_of(&prop));
        self.carried(&prop, target, "charset");
    }

    /// Translates lines of `netcat`: a limit in characters, and a CR belongs to its line.
    pub(super) fn netcat_lines(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        let prop = bag.take("max-line-length");
        let place = prop.as_ref().map_or(&bag.place, |prop| &prop.place).clone();
        let chars = value::unsigned(prop.as_ref().map_or("512", |prop| &prop.text.value));
        let chars = match (chars, &prop) {
            (Ok(chars), Some(prop)) => {
                self.carried(prop, target, "framing.chars_max");
                chars
            }
            (Ok(chars), None) => chars,
            (Err(problem), Some(prop)) => return self.add(Outcome::Decision, prop, problem),
            (Err(_), None) => return,
        };
        let chars = chars.clamp(1, u64::from(u32::MAX));
        let mut framing = Settings::at(Value::Table(Vec::new()), place.clone());
        framing.set("type", plain("lines", &place));
        framing.set("keep_cr", flag(true, &place));
        framing.set("chars_max", number(chars as i64, &place));
        settings.set("framing", framing);
        // The limit in bytes never applies first.
        let bytes = chars.saturating_mul(CHAR_BYTES).min(LINE_MAX);
        settings.set("line_max", plain(&value::bytes(bytes), &place));
    }

    /// Translates the messages of a syslog source.
    pub(super) fn syslog(
        &mut self,
        row: &str,
        bag: &mut Bag,
        settings: &mut Settings,
        target: &str,
    ) {
        let place = bag.place.clone();
        // The headers of `multiport_syslogtcp` are `Priority` and `Version`.
        if row != "multiport_syslogtcp" {
            settings.set("layout", plain("flume", &place));
            let path = bag.path.clone();
            if let Some(zone) = self.host_zone((&path, &place), "dates without a zone") {
                settings.set("offset", plain(&zone, &place));
            }
        }
        let most = match row {
            "syslogudp" => Some(DATAGRAM_MAX),
            _ => {
                let mut framing = Settings::at(Value::Table(Vec::new()), place.clone());
                framing.set("type", plain("lines", &place));
                framing.set("keep_cr", flag(true, &place));
                framing.set("split", flag(true, &place));
                settings.set("framing", framing);
                self.message_max(bag, target)
            }
        };
        if let Some(most) = most {
            settings.set("message_max", plain(&value::bytes(most), &place));
        }
        self.keep_fields(bag, settings, target);
        self.host_header(bag, settings);
    }

    /// Translates the header for the name of the sender's host, which Flume asks the DNS for.
    fn host_header(&mut self, bag: &mut Bag, settings: &mut Settings) {
        let Some(prop) = bag.take("clientHostnameHeader") else { return };
        if settings.get("client_header").is_some() {
            let what = "host names are not looked up: remove the key and use `clientIPHeader`, \
                        which contains the address";
            return self.add(Outcome::Decision, &prop, what);
        }
        settings.set("client_header", text_of(&prop));
        let text = "`client_header`: contains the address of the client, because host names are \
                    not looked up";
        self.add(Outcome::Differs, &prop, text);
    }

    fn message_max(&mut self, bag: &mut Bag, target: &str) -> Option<u64> {
        let Some(prop) = bag.take("eventSize") else { return Some(2_500) };
        match value::unsigned(&prop.text.value) {
            Ok(bytes) => {
                self.carried(&prop, target, "message_max");
                Some(bytes.clamp(MESSAGE_MIN, LINE_MAX))
            }
            Err(problem) => {
                self.add(Outcome::Decision, &prop, problem);
                None
            }
        }
    }

    /// `bind` in a syslog source is a slip for `host`.
    pub(super) fn bind_for_host(&mut self, bag: &mut Bag) {
        let Some(mut prop) = bag.take("bind") else { return };
        if bag.get("host").is_some() {
            return self.add(Outcome::Ignored, &prop, "no effect: `host` sets the address");
        }
        let text = "used as `host`; Flume ignores `bind` and listens on all addresses";
        self.add(Outcome::Differs, &prop, text);
        prop.name = "host".to_owned();
        bag.props.push(prop);
    }

    pub(super) fn ports(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        let charsets = bag.below("charset.");
        for prop in &charsets.props {
            let name = prop.name.clone();
            let mut own = Bag { props: vec![prop.clone()], ..charsets.clone() };
            self.charset(&mut own, &name, true);
        }
        let host = bag.take("host");
        let Some(ports) = bag.take("ports") else {
            self.missing(bag, "ports");
            return;
        };
        let name = host.as_ref().map_or("0.0.0.0", |it| it.text.value.as_str());
        let ports_of = ports.text.value.split_whitespace();
        let all: Vec<String> = ports_of.map(|port| format!("tcp://{name}:{port}")).collect();
        settings.set("listen", list(all.iter().map(String::as_str), &ports.place));
        for prop in host.iter().chain([&ports]) {
            self.carried(prop, target, "listen");
        }
    }

    fn keep_fields(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        let Some(prop) = bag.take("keepFields") else { return };
        let wanted = prop.text.value.trim().to_lowercase();
        let keep = match wanted.as_str() {
            "none" | "false" => flag(false, &prop.place),
            "all" | "true" => flag(true, &prop.place),
            // Flume looks for the names anywhere in the text.
            _ => {
                let fields = ["priority", "version", "timestamp", "hostname"];
                list(fields.into_iter().filter(|field| wanted.contains(field)), &prop.place)
            }
        };
        settings.set("keep_fields", keep);
        self.carried(&prop, target, "keep_fields");
    }
}
