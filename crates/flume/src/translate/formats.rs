//! Serializers of sinks and deserializers of sources.

use pipeline::Settings;
use pipeline::settings::Value;

use super::{Translator, is_utf8, number, plain, text_of, value};
use crate::agent::{Bag, Prop};
use crate::lookup::Text;
use crate::report::Outcome;

/// The largest supported distance of sync markers.
const SYNC_MAX: u64 = 512 << 10;

/// The largest `split_chars` of `spool_dir`.
const LINE_CHARS_MAX: i64 = 4 << 20;

/// Codecs of Hadoop, by short name and by the end of their class.
const CODECS: [(&str, &str); 16] = [
    ("default", "deflate"),
    ("defaultcodec", "deflate"),
    ("deflate", "deflate"),
    ("deflatecodec", "deflate"),
    ("gzip", "gzip"),
    ("gzipcodec", "gzip"),
    ("lz4", "lz4"),
    ("lz4codec", "lz4"),
    ("snappy", "snappy"),
    ("snappycodec", "snappy"),
    ("bzip2", "bzip2"),
    ("bzip2codec", "bzip2"),
    ("zstandard", "zstd"),
    ("zstandardcodec", "zstd"),
    ("zstd", "zstd"),
    ("zstdcodec", "zstd"),
];

impl Translator<'_> {
    /// The encoder that a serializer becomes; `name` is its key, and its own keys are below it.
    pub(super) fn encoder(&mut self, bag: &mut Bag, name: &str, target: &str) -> Settings {
        let mut own = bag.below(&format!("{name}."));
        let given = bag.take(name);
        let kind = given.clone();
        if let Some(given) = given {
            own.place = given.place.clone();
            own.props.push(Prop { name: "type".into(), ..given });
        }
        let target = format!("{target}.encoder");
        let (row, mut encoder) = self.component("encoder", Some("text"), &mut own, &target);
        let name = row.map_or("", |row| row.name);
        if name == "avro_schema" {
            match own.take("schemaURL") {
                Some(prop) => self.schema(&prop, &mut encoder, &target),
                None => {
                    let text = format!(
                        "the schemas behind URLs in the header `flume.avro.schema.url` are not \
                         fetched: list the schema of each URL in `[{target}.schemas]`. Schemas in \
                         `flume.avro.schema.literal` are supported"
                    );
                    kind.into_iter().for_each(|kind| self.add(Outcome::Differs, &kind, &*text));
                }
            }
        }
        if matches!(name, "avro_event" | "avro_schema") {
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

    /// Translates the schema of an Avro file, which is read if it is a file of this host.
    fn schema(&mut self, prop: &Prop, encoder: &mut Settings, target: &str) {
        let url = &prop.text.value;
        let path = url.strip_prefix("file://").or_else(|| url.strip_prefix("file:"));
        let Some(path) = path.filter(|path| path.starts_with('/')) else {
            let what = format!(
                "schemas are not fetched: copy the file to each host, and set `schema = \
                 \"${{file:/etc/app.avsc}}\"` in `[{target}]`"
            );
            return self.add(Outcome::Decision, prop, what);
        };
        match self.world.file(path).and_then(|bytes| {
            String::from_utf8(bytes)
                .map_err(|_| format!("{path} is not UTF-8; convert the schema to UTF-8"))
        }) {
            Ok(value) => {
                let written = Some(format!("${{file:{path}}}"));
                let text = Text { value, written, unset: None };
                encoder.set("schema", value::text(&text, &prop.place));
                self.carried(prop, target, "schema");
            }
            Err(problem) => {
                self.add(
                    Outcome::Decision,
                    prop,
                    format!(
                        "cannot read the schema: {problem}; copy the file to this host, or set \
                         `schema` of the encoder"
                    ),
                );
            }
        }
    }

    /// Translates the encoder of a sequence file, which Flume compresses by blocks if a codec is
    /// set.
    pub(super) fn sequence_file(
        &mut self,
        bag: &mut Bag,
        codec: Option<&Prop>,
        written: Option<&Prop>,
        target: &str,
    ) -> Settings {
        let place = codec.or(written).map_or(&bag.place, |prop| &prop.place).clone();
        let target = format!("{target}.encoder");
        let mut encoder = Settings::at(Value::Table(Vec::new()), place.clone());
        encoder.set("type", plain("sequence_file", &place));
        if let Some(prop) = written {
            let wanted = prop.text.value.to_lowercase();
            match wanted.as_str() {
                "writable" | "text" => {
                    encoder.set("write_format", plain(&wanted, &prop.place));
                    self.carried(prop, &target, "write_format");
                }
                _ => {
                    let what = "must be `Writable` or `Text`; custom classes are not supported";
                    self.add(Outcome::Decision, prop, what);
                }
            }
        }
        if let Some(prop) = codec {
            encoder.set("compression", plain("block", &prop.place));
            self.codec(prop, &mut encoder, &target);
        }
        let mut unused = bag.below("serializer.").props;
        unused.extend(bag.take("serializer"));
        for prop in unused {
            self.add(
                Outcome::Ignored,
                &prop,
                "no effect: a sequence file has no serializer; remove the key",
            );
        }
        shortened(encoder)
    }

    /// The codec of files, or of the blocks of a sequence file.
    pub(super) fn codec(&mut self, prop: &Prop, settings: &mut Settings, target: &str) {
        let wanted = prop.text.value.rsplit('.').next().unwrap_or_default().to_lowercase();
        let ours = CODECS.iter().find(|(name, _)| *name == wanted).map(|(_, kind)| *kind);
        match ours {
            Some(kind) if self.world.has("codec", kind) => {
                settings.set("codec", plain(kind, &prop.place));
                self.carried(prop, target, "codec");
            }
            _ => {
                settings.set("codec", text_of(prop));
                let what = format!(
                    "the codec `{}` is not supported: use `gzip` or `zstd`",
                    prop.text.value
                );
                self.add(Outcome::Decision, prop, what);
            }
        }
    }

    /// The decoder that a deserializer becomes, and the limits of the source that go with it.
    pub(super) fn decoder(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        let mut own = bag.below("deserializer.");
        if let Some(given) = bag.take("deserializer") {
            own.place = given.place.clone();
            own.props.push(Prop { name: "type".into(), ..given });
        }
        let below = format!("{target}.decoder");
        let (row, decoder) = self.component("decoder", Some("line"), &mut own, &below);
        let row = row.map(|row| row.name);
        if row == Some("line") {
            self.split_lines(&mut own, settings, target);
        }
        let limit = match row {
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
        self.charset_of_files(bag, settings, target, matches!(row, Some("line") | None));
        if let Some(prop) = own.take("outputCharset") {
            match is_utf8(&prop.text.value) {
                true => self.add(Outcome::Carried, &prop, "bodies are UTF-8"),
                false => {
                    let what = "bodies become UTF-8 and are not encoded in this charset: change \
                                the readers of the data, or use UTF-8";
                    self.add(Outcome::Decision, &prop, what);
                }
            }
        }
        self.rest(&own);
        if row != Some("line") {
            settings.set("decoder", shortened(decoder));
        }
    }

    /// Translates lines of files: the rest of a long line is further events.
    fn split_lines(&mut self, own: &mut Bag, settings: &mut Settings, target: &str) {
        let prop = own.take("maxLineLength");
        let place = prop.as_ref().map_or(&own.place, |prop| &prop.place).clone();
        match value::unsigned(prop.as_ref().map_or("2048", |prop| &prop.text.value)) {
            Ok(chars) => {
                let most = i64::try_from(chars).unwrap_or(i64::MAX).clamp(1, LINE_CHARS_MAX);
                settings.set("split_chars", number(most, &place));
                if let Some(prop) = prop {
                    self.carried(&prop, target, "split_chars");
                }
            }
            Err(problem) => {
                prop.into_iter().for_each(|prop| self.add(Outcome::Decision, &prop, &*problem));
            }
        }
    }

    /// The charset of files of text.
    fn charset_of_files(
        &mut self,
        bag: &mut Bag,
        settings: &mut Settings,
        target: &str,
        is_text: bool,
    ) {
        let Some(prop) = bag.take("inputCharset") else { return };
        if !is_text {
            let why = "no effect: the deserializer reads bytes, as in Flume";
            return self.add(Outcome::Ignored, &prop, why);
        }
        settings.set("charset", text_of(&prop));
        self.carried(&prop, target, "charset");
    }
}

/// A choice without settings is only its kind.
fn shortened(choice: Settings) -> Settings {
    let kind = match &choice.value {
        Value::Table(entries) if entries.len() == 1 => choice.get("type").cloned(),
        _ => None,
    };
    kind.unwrap_or(choice)
}
