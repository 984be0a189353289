//! Sinks: translations that a row cannot express.

use pipeline::Settings;

use super::tls::Side;
use super::{Made, Translator, number, plain, value};
use crate::agent::{Bag, Named, Prop};
use crate::report::Outcome;

/// A sink with the channel that Flume's file names for it.
pub(super) struct Drain {
    pub(super) made: Made,
    pub(super) channel: Option<Prop>,
    /// The sink's whole key.
    pub(super) key: String,
}

impl Translator<'_> {
    pub(super) fn sink(&mut self, Named { name, mut bag }: Named) -> Drain {
        let target = format!("sinks.{name}");
        let place = bag.place.clone();
        let channel = bag.take("channel").or_else(|| self.channels_of_a_sink(&mut bag));
        match &channel {
            Some(prop) => self.carried(prop, &target, "channel"),
            None => self.missing(&bag, "channel"),
        }
        let (row, mut settings) = self.component("sink", None, &mut bag, &target);
        match row.map(|row| row.name) {
            Some("hdfs") => self.hdfs(&mut bag, &mut settings, &target),
            Some("hbase" | "hbase2" | "asynchbase") => {
                self.hbase_sink(&mut bag, &mut settings, &target);
            }
            Some("kafka") => self.kafka_sink(&mut bag, &mut settings, &target),
            Some("avro" | "thrift") => {
                if let Some(address) = self.address(&mut bag, ("hostname", "*"), &target, "address")
                {
                    settings.set("address", address);
                }
                self.tls(&mut bag, &mut settings, &target, Side::Client);
                for key in ["reset-connection-interval", "connection-reset-interval"] {
                    self.reconnect(&mut bag, &mut settings, (key, &target));
                }
            }
            Some("file_roll") => self.file_roll(&mut bag, &mut settings, &target),
            Some("http") => {
                // Flume sends the body of one event, and the answer is about this one.
                settings.set("events_max", number(1, &place));
                settings.set("encoder", plain("text", &place));
                settings.set("in_order", super::flag(true, &place));
            }
            _ => {}
        }
        self.rest(&bag);
        self.plain_text(&mut settings, &place, &bag.path);
        let key = bag.path.clone();
        Drain { made: Made { name, place, settings }, channel, key }
    }

    /// Translates how long a connection is used, in seconds; 0 is forever.
    fn reconnect(&mut self, bag: &mut Bag, settings: &mut Settings, (key, target): (&str, &str)) {
        let Some(prop) = bag.take(key) else { return };
        match value::unsigned(&prop.text.value) {
            Ok(0) => self.add(Outcome::Carried, &prop, "no limit"),
            Ok(seconds) => {
                settings.set("reconnect_after", plain(&value::seconds(seconds), &prop.place));
                self.carried(&prop, target, "reconnect_after");
            }
            Err(problem) => self.add(Outcome::Decision, &prop, problem),
        }
    }

    /// Translates a directory of this host. As in Flume, a relative one is below the working
    /// directory.
    fn directory(&mut self, prop: &Prop, settings: &mut Settings, target: &str) {
        let path = &prop.text.value;
        let is_relative = !path.starts_with('/') && !path.starts_with("${");
        let here = self.world.variable("PWD").filter(|_| is_relative);
        let Some(here) = here else {
            settings.set("directory", super::text_of(prop));
            return self.carried(prop, target, "directory");
        };
        let here = here.trim_end_matches('/').to_owned();
        let whole = prop.text.map(|path| format!("{here}/{}", path.trim_start_matches("./")));
        let text = format!("relative to the working directory: `{}`", whole.value);
        self.add(Outcome::Differs, prop, text);
        settings.set("directory", value::text(&whole, &prop.place));
    }

    /// `channels` in a sink is a slip for `channel`.
    fn channels_of_a_sink(&mut self, bag: &mut Bag) -> Option<Prop> {
        let prop = bag.take("channels")?;
        let what = "a sink must have one `channel`; Flume skips a sink with `channels`";
        self.add(Outcome::Decision, &prop, what);
        Some(prop)
    }

    fn file_roll(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        match bag.take("sink.directory") {
            Some(prop) => self.directory(&prop, settings, target),
            None => self.missing(bag, "sink.directory"),
        }
        if let Some(prop) = bag.take("sink.pathManager") {
            match prop.text.value.eq_ignore_ascii_case("DEFAULT") {
                true => {
                    self.add(Outcome::Carried, &prop, "file names contain milliseconds since 1970");
                }
                false => {
                    let text = "file names contain milliseconds since 1970 instead of a date";
                    self.add(Outcome::Differs, &prop, text);
                }
            }
        }
        let encoder = self.encoder(bag, "sink.serializer", target);
        settings.set("encoder", encoder);
        // Flume's names have no extension unless one is set.
        if settings.get("extension").is_none() {
            settings.set("extension", plain("", &bag.place));
        }
    }
}
