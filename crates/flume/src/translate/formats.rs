//! Serializers of sinks and deserializers of sources.

use pipeline::Settings;
use pipeline::settings::Value;

use super::{Translator, plain, value};
use crate::agent::Bag;
use crate::report::Outcome;

/// The largest distance of sync markers that our encoder takes.
const SYNC_MAX: u64 = 512 << 10;

impl Translator<'_> {
    /// The encoder that a serializer becomes; `name` is its key, and its own keys are below it.
    pub(super) fn encoder(&mut self, bag: &mut Bag, name: &str, target: &str) -> Settings {
        let mut own = bag.below(&format!("{name}."));
        let given = bag.take(name);
        if let Some(given) = given {
            own.place = given.place.clone();
            own.props.push(crate::agent::Prop { name: "type".into(), ..given });
        }
        let target = format!("{target}.encoder");
        let (row, mut encoder) = self.component("encoder", Some("text"), &mut own, &target);
        if let Some(prop) = own.take("appendNewline") {
            match prop.text.value.eq_ignore_ascii_case("true") {
                true => self.add(Outcome::Carried, &prop, "a line ends with a line feed"),
                false => {
                    let what = "a line always ends with a line feed: take it off the bodies with \
                                an interceptor `search_replace`, or accept empty lines";
                    self.add(Outcome::Decision, &prop, what);
                }
            }
        }
        if row.is_some_and(|row| row.name == "avro_event") {
            let wanted = value::unsigned(own.value("syncIntervalBytes", "2048000"));
            let bytes = wanted.unwrap_or(SYNC_MAX).clamp(1, SYNC_MAX);
            encoder.set("sync_interval", plain(&value::bytes(bytes), &own.place));
            if let Some(prop) = own.take("syncIntervalBytes") {
                let text = format!("`{target}.sync_interval` is at most 512 KiB");
                self.add(Outcome::Differs, &prop, text);
            }
        }
        self.rest(&own);
        shortened(encoder)
    }

    /// The decoder that a deserializer becomes, and the limits of the source that go with it.
    pub(super) fn decoder(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        let mut own = bag.below("deserializer.");
        if let Some(given) = bag.take("deserializer") {
            own.place = given.place.clone();
            own.props.push(crate::agent::Prop { name: "type".into(), ..given });
        }
        let below = format!("{target}.decoder");
        let (row, decoder) = self.component("decoder", Some("line"), &mut own, &below);
        let limit = match row.map(|row| row.name) {
            Some("line") => Some(("maxLineLength", "2048", "line_max")),
            Some("blob") => Some(("maxBlobLength", "100000000", "file_max")),
            _ => None,
        };
        if let Some((name, default, setting)) = limit {
            match value::unsigned(own.value(name, default)) {
                Ok(bytes) => {
                    settings.set(setting, plain(&value::bytes(bytes), &own.place));
                    if let Some(prop) = own.take(name) {
                        self.carried(&prop, target, setting);
                    }
                }
                Err(problem) => {
                    if let Some(prop) = own.take(name) {
                        self.add(Outcome::Decision, &prop, problem);
                    }
                }
            }
        }
        if let Some(prop) = own.take("schemaType") {
            let what = "the schema is not put into a header";
            self.add(Outcome::Decision, &prop, what);
        }
        self.rest(&own);
        if row.is_none_or(|row| row.name != "line") {
            settings.set("decoder", shortened(decoder));
        }
    }
}

/// A choice without settings of its own is its kind alone.
fn shortened(choice: Settings) -> Settings {
    let kind = match &choice.value {
        Value::Table(entries) if entries.len() == 1 => choice.get("type").cloned(),
        _ => None,
    };
    kind.unwrap_or(choice)
}
