//! Digests of a component's configuration: two that differ in nothing but their place in a file
//! have the same one. A reload keeps what has the digest that it had.

use config::{ChannelPlan, ComponentPlan, GroupPlan, SourcePlan};
use pipeline::Settings;
use pipeline::settings::Value;
use xxhash_rust::xxh3::xxh3_64;

/// Of a source with its interceptors, its selector and its channels.
pub(crate) fn source(plan: &SourcePlan) -> u64 {
    let SourcePlan { component, channels, optional_channels, interceptors, selector } = plan;
    let mut text = Text::default();
    text.component(component);
    text.names(channels);
    text.names(optional_channels);
    interceptors.iter().for_each(|interceptor| text.component(interceptor));
    text.component(selector);
    text.digest()
}

/// Of a channel.
pub(crate) fn channel(plan: &ChannelPlan) -> u64 {
    let mut text = Text::default();
    text.component(&plan.component);
    text.digest()
}

/// Of a group with its processor, its sinks and its channel.
pub(crate) fn group(plan: &GroupPlan) -> u64 {
    let GroupPlan { name, processor, channel, sinks } = plan;
    let mut text = Text::default();
    text.names([name, channel]);
    text.component(processor);
    sinks.iter().for_each(|sink| text.component(sink));
    text.digest()
}

/// What is hashed: each part with its length or its kind before it, so that no two read alike.
#[derive(Default)]
struct Text(Vec<u8>);

impl Text {
    fn component(&mut self, plan: &ComponentPlan) {
        let ComponentPlan { name, kind, kind_line: _, path: _, settings } = plan;
        self.names([name, kind]);
        self.settings(settings);
    }

    fn names<'a>(&mut self, names: impl IntoIterator<Item = &'a String>) {
        names.into_iter().for_each(|name| self.text(name));
        self.0.push(b'.');
    }

    fn text(&mut self, text: &str) {
        self.0.push(b's');
        self.0.extend((text.len() as u64).to_le_bytes());
        self.0.extend(text.as_bytes());
    }

    /// The order of a table means nothing.
    fn settings(&mut self, settings: &Settings) {
        match &settings.value {
            Value::Flag(flag) => self.0.extend([b'b', u8::from(*flag)]),
            Value::Integer(number) => {
                self.0.push(b'i');
                self.0.extend(number.to_le_bytes());
            }
            Value::Float(number) => {
                self.0.push(b'f');
                self.0.extend(number.to_bits().to_le_bytes());
            }
            Value::Text(text) => self.text(text),
            Value::List(items) => {
                self.0.push(b'[');
                items.iter().for_each(|item| self.settings(item));
                self.0.push(b']');
            }
            Value::Table(entries) => {
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
                self.0.push(b'{');
                for (key, value) in entries {
                    self.text(&key.name);
                    self.settings(value);
                }
                self.0.push(b'}');
            }
        }
    }

    fn digest(self) -> u64 {
        xxh3_64(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use config::Plan;

    use super::*;

    const TEXT: &str = r#"
[agent]
data_dir = "/d"
[sources.in]
type = "sequence"
count = 9
size = "10B"
channels = ["main"]
interceptors = [{ type = "static", headers = { a = "1", b = "2" } }]
[channels.main]
type = "durable"
capacity = "64MiB"
[sinks.out]
type = "logger"
channel = "main"
"#;

    fn digests(text: &str) -> [u64; 3] {
        let plan: Plan = config::load(std::path::Path::new("c.toml"), text, "host").unwrap();
        [source(&plan.sources[0]), channel(&plan.channels[0]), group(&plan.groups[0])]
    }

    #[test]
    fn places_and_the_order_of_settings_mean_nothing() {
        let same = digests(TEXT);
        for text in [
            format!("# a comment\n\n{TEXT}"),
            TEXT.replace("count = 9\nsize = \"10B\"", "size = \"10B\"\n\ncount = 9"),
            TEXT.replace("a = \"1\", b = \"2\"", "b = \"2\", a = \"1\""),
            TEXT.replace("data_dir = \"/d\"", "data_dir = \"/e\""),
        ] {
            assert_eq!(digests(&text), same, "{text}");
        }
    }

    #[test]
    fn a_change_changes_the_digest_of_what_it_is_about_alone() {
        let before = digests(TEXT);
        for (from, to, changed) in [
            ("count = 9", "count = 8", 0),
            ("b = \"2\"", "b = \"3\"", 0),
            ("interceptors = [", "interceptors = [{ type = \"host\" }, ", 0),
            ("64MiB", "65MiB", 1),
            ("\"logger\"", "\"discard\"", 2),
        ] {
            let text = TEXT.replacen(from, to, 1);
            assert_ne!(text, TEXT, "{from}");
            let after = digests(&text);
            for (at, name) in ["source", "channel", "group"].iter().enumerate() {
                assert_eq!(after[at] != before[at], at == changed, "{from}: {name}");
            }
        }
    }
}
