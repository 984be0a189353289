//! A digest of a component's configuration, as one number: equal for the same meaning, whatever its
//! lines, so that a changed file shows which components have changed.

use pipeline::settings::{Settings, Value};
use xxhash_rust::xxh3::Xxh3;

use crate::plan::{ChannelPlan, ComponentPlan, GroupPlan, SourcePlan};

impl ComponentPlan {
    /// A stable hash over kind, name and settings. Places in the file and the order of keys are
    /// left out. It is the same in every version of the program, and no protection for a secret.
    pub fn digest(&self) -> u64 {
        let mut hash = Hash::new("component");
        hash.component(self);
        hash.end()
    }
}

impl SourcePlan {
    /// The same for a source with its channels, interceptors and selector.
    pub fn digest(&self) -> u64 {
        let mut hash = Hash::new("source");
        hash.component(&self.component);
        hash.texts(&self.channels);
        hash.texts(&self.optional_channels);
        hash.components(&self.interceptors);
        hash.component(&self.selector);
        hash.end()
    }
}

impl ChannelPlan {
    /// The same for a channel.
    pub fn digest(&self) -> u64 {
        self.component.digest()
    }
}

impl GroupPlan {
    /// The same for a group with its channel, processor and sinks.
    pub fn digest(&self) -> u64 {
        let mut hash = Hash::new("group");
        hash.text(&self.name);
        hash.text(&self.channel);
        hash.component(&self.processor);
        hash.components(&self.sinks);
        hash.end()
    }
}

/// Every part is written with its kind or its length, so that no two plans write the same bytes.
struct Hash(Xxh3);

impl Hash {
    fn new(what: &str) -> Self {
        let mut hash = Self(Xxh3::new());
        hash.text(what);
        hash
    }

    fn end(self) -> u64 {
        self.0.digest()
    }

    fn count(&mut self, count: usize) {
        self.0.update(&(count as u64).to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.update(text.as_bytes());
    }

    fn texts(&mut self, texts: &[String]) {
        self.count(texts.len());
        texts.iter().for_each(|text| self.text(text));
    }

    fn components(&mut self, components: &[ComponentPlan]) {
        self.count(components.len());
        components.iter().for_each(|component| self.component(component));
    }

    fn component(&mut self, component: &ComponentPlan) {
        self.text(&component.kind);
        self.text(&component.name);
        if component.insecure.is_some() {
            self.text("insecure");
        }
        self.settings(&component.settings);
    }

    fn settings(&mut self, settings: &Settings) {
        match &settings.value {
            Value::Flag(flag) => self.0.update(&[b'b', u8::from(*flag)]),
            Value::Integer(number) => {
                self.0.update(b"i");
                self.0.update(&number.to_be_bytes());
            }
            Value::Float(number) => {
                self.0.update(b"f");
                self.0.update(&number.to_bits().to_be_bytes());
            }
            Value::Text(text) => {
                self.0.update(b"t");
                self.text(text);
            }
            Value::List(items) => {
                self.0.update(b"l");
                self.count(items.len());
                items.iter().for_each(|item| self.settings(item));
            }
            Value::Table(entries) => {
                self.0.update(b"m");
                self.count(entries.len());
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_by(|(left, _), (right, _)| left.name.cmp(&right.name));
                for (key, value) in entries {
                    self.text(&key.name);
                    self.settings(value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    //! Method: one configuration, changed in one place at a time.

    use std::path::Path;

    use crate::Plan;

    const TEXT: &str = r#"
[agent]
data_dir = "/d"
[sources.in]
type = "sequence"
count = 5
rate = 1.5
channels = ["main"]
interceptors = [{ type = "host" }]
[channels.main]
type = "memory"
[sinks.out]
type = "logger"
channel = "main"
roll = { age_max = "1m", flag = true }
"#;

    fn plan(text: &str) -> Plan {
        crate::load(Path::new("a.toml"), text, "host").unwrap()
    }

    fn digests(text: &str) -> [u64; 3] {
        let plan = plan(text);
        [plan.sources[0].digest(), plan.channels[0].digest(), plan.groups[0].digest()]
    }

    #[test]
    fn lines_comments_and_the_order_of_keys_do_not_change_it() {
        let moved = TEXT
            .replace("[sinks.out]", "\n# a comment\n[sinks.out]")
            .replace("count = 5\nrate = 1.5", "rate   = 1.5\ncount = 5")
            .replace("age_max = \"1m\", flag = true", "flag = true, age_max = \"1m\"");
        assert_eq!(digests(&moved), digests(TEXT));
    }

    #[test]
    fn each_change_of_a_meaning_changes_only_its_digest() {
        for (changed, from, to) in [
            (0, "count = 5", "count = 6"),
            (0, "count = 5", "count = 5.0"),
            (0, "count = 5", "count = \"5\""),
            (0, "rate = 1.5", "rate = 1.25"),
            (0, "type = \"host\"", "type = \"timestamp\""),
            (0, "interceptors = [{ type = \"host\" }]", ""),
            (0, "count = 5", "count = 5\ninsecure = true"),
            (1, "type = \"memory\"", "type = \"durable\""),
            (2, "type = \"logger\"", "type = \"logger\"\ninsecure = true"),
            (2, "age_max = \"1m\"", "age_max = \"2m\""),
            (2, "flag = true", "flag = false"),
            (2, "roll = {", "rool = {"),
            (2, ", flag = true", ""),
        ] {
            let (before, after) = (digests(TEXT), digests(&TEXT.replace(from, to)));
            for index in 0..3 {
                assert_eq!(before[index] != after[index], index == changed, "{from} → {to}");
            }
        }
    }

    #[test]
    fn it_is_the_same_in_every_version() {
        assert_eq!(plan(TEXT).channels[0].component.digest(), 17_938_555_985_163_110_398);
    }
}
